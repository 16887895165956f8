# SPDX-License-Identifier: Apache-2.0
"""The profile directory from the command line: what goes in comes out, what did not change is not read, what is left out is told."""
import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry
import tree

SETTLE_S = 0.25  # a file must have rested for a tick of the clock to be known by its times


class Directory(ferry.Case):
    def setUp(self):
        super().setUp()
        self.src = self.dir / "src"
        self.src.mkdir()
        self.url = self.repository()

    def save(self, *words, code=0, src=None, settle=True, **options):
        if settle:
            time.sleep(SETTLE_S)
        return self.ferry("backup", "--repo", self.url, "--node", "t", "--profile", "directory", "--dir", src or self.src, "--json", *words, code=code,
                          **options)

    def fetch(self, name="out", snapshot="latest", *words, code=0, **options):
        out = self.dir / name
        result = self.ferry("restore", "--repo", self.url, "--node", "t", snapshot, "--target", out, "--json", *words, code=code, **options)
        return out, result

    def paths(self, snapshot="latest"):
        lines = self.ferry("show", "--repo", self.url, "--node", "t", snapshot, "-v", "--json").lines
        return [base64.b64decode(x["path_b64"]) if "path_b64" in x else x["path"].encode() for x in lines if x["type"] == "file"]

    def warnings(self, result):
        return [x["text"] for x in result.lines if x["type"] == "warning"]

    def assert_same(self, expected, out, message=None):
        found = tree.describe(out)
        if found != expected:
            for path in sorted(set(found) | set(expected)):
                if found.get(path) != expected.get(path):
                    self.fail(f"{message}: {path!r}: restored {found.get(path)}, was {expected.get(path)}")

    def test_random_trees(self):
        """Everything of a tree comes back; the second backup reads what changed and no more; the old snapshot is still the old tree."""
        seed = tree.seed()
        for n in range(2):
            rnd = random.Random(seed + n)
            shutil.rmtree(self.src)
            tree.make(self.src, rnd)
            old = tree.describe(self.src)
            first = self.save().summary
            self.assertEqual(first["files_left_out"], 0)
            self.assertEqual(first["files_total"], len(old))
            again = self.save().summary
            self.assertEqual((again["bytes_read"], again["packs_new"], again["files_new"]), (0, 0, 0), f"seed {seed + n}")
            before = tree.identities(self.src)
            tree.change(self.src, rnd)
            new = tree.describe(self.src)
            # A hard link's other name is touched too; what is touched is read, and not sent when it is the same.
            touched = sum(x[0] for p, x in tree.identities(self.src).items() if before.get(p) != x)
            second = self.save().summary
            self.assertLessEqual(second["bytes_read"], touched, f"seed {seed + n}")
            out, _ = self.fetch(f"new{n}")
            self.assert_same(new, out, f"seed {seed + n}, new")
            for path, size in tree.allocated(out).items():  # a part that is not all zeros is written whole
                self.assertLessEqual(size, tree.allocated(self.src)[path] + 8 * (1 << 20), f"seed {seed + n}: {path!r} has no holes any more")
            out, _ = self.fetch(f"old{n}", first["snapshot"])
            self.assert_same(old, out, f"seed {seed + n}, old")
            self.assertEqual(self.paths(first["snapshot"]), sorted(b"dir" if p == b"." else b"dir/" + p for p in old))

    def test_what_changed_is_read(self):
        for i in range(50):
            (self.src / f"f{i}").write_bytes(os.urandom(10000))
        big = self.src / "big"
        big.write_bytes(os.urandom(20 << 20))
        self.save()
        with open(big, "r+b") as f:
            f.seek(9 << 20)
            f.write(b"new")
        (self.src / "f7").write_bytes(b"x" * 9000)
        s = self.save().summary
        self.assertEqual(s["bytes_read"], (20 << 20) + 9000)
        self.assertEqual(s["bytes_changed"], (4 << 20) + 9000)  # one part of the big file
        s = self.save("--force").summary
        self.assertEqual((s["bytes_read"], s["bytes_changed"]), ((20 << 20) + 9000 + 49 * 10000, 0))
        os.utime(big)
        s = self.save().summary
        self.assertEqual((s["bytes_read"], s["bytes_changed"]), (20 << 20, 0))

    def test_mtime_put_back(self):
        """Tools that put the mtime back cannot put the ctime back."""
        path = self.src / "f"
        path.write_bytes(b"a" * 2000)
        st = path.stat()
        self.save()
        path.write_bytes(b"b" * 2000)
        os.utime(path, ns=(st.st_mtime_ns, st.st_mtime_ns))
        self.assertEqual(self.save().summary["bytes_read"], 2000)
        out, _ = self.fetch()
        self.assertEqual((out / "f").read_bytes(), b"b" * 2000)

    def test_not_rested(self):
        """A file written just now may be written to once more within the same tick: it is read again next time."""
        path = self.src / "f"
        path.write_bytes(b"a" * 2000)
        self.save(settle=False)
        self.assertEqual(self.save().summary["bytes_read"], 2000)
        self.assertEqual(self.save().summary["bytes_read"], 0)

    def test_sparse(self):
        """Holes are passed over: 1 GiB takes no reading, and come back as holes."""
        path = self.src / "f"
        with open(path, "wb") as f:
            f.truncate(1 << 30)
            f.seek(1 << 29)
            f.write(b"in the middle")
        s = self.save().summary
        self.assertLess(s["bytes_read"], 16 << 20)
        out, _ = self.fetch()
        self.assertEqual((out / "f").stat().st_size, 1 << 30)
        self.assertLess((out / "f").stat().st_blocks * 512, 16 << 20)
        with open(out / "f", "rb") as f:
            f.seek(1 << 29)
            self.assertEqual(f.read(14), b"in the middle\0")

    def test_exclude(self):
        for path in ["keep/x.tmpl", "keep/x.tmp", "cache/a", "keep/cache/a", "var/log/a.log", "var/log/old/b.log", "deep/node_modules/m/f", "deep/a/b/node_modules/f",
                     "core", "only/dir", "file/only", "brackets/a1", "brackets/a2", "brackets/b1", "deep/build", "x/y/z", "star*"]:
            (self.src / path).parent.mkdir(parents=True, exist_ok=True)
            (self.src / path).write_text(path)
        cases = [
            ("*.tmp", ["keep/x.tmp"]),
            ("cache", ["cache/a", "keep/cache/a"]),
            ("/cache", ["cache/a"]),
            ("cache/", ["cache/a", "keep/cache/a"]),
            ("core/", []),
            ("var/log/*.log", ["var/log/a.log"]),
            ("var/log/**", ["var/log/a.log", "var/log/old/b.log"]),
            ("var/**/*.log", ["var/log/a.log", "var/log/old/b.log"]),
            ("**/node_modules", ["deep/node_modules/m/f", "deep/a/b/node_modules/f"]),
            ("deep/**/b/**", ["deep/a/b/node_modules/f"]),
            ("brackets/a[0-9]", ["brackets/a1", "brackets/a2"]),
            ("[!a]1", ["brackets/b1"]),
            ("x/**/z", ["x/y/z"]),
            ("x/y/z", ["x/y/z"]),
            ("star\\*", ["star*"]),
            ("s*", ["star*"]),
            ("nothing", []),
        ]
        everything = {os.path.relpath(os.path.join(d, f), self.src) for d, _, fs in os.walk(self.src) for f in fs}
        for pattern, gone in cases:
            self.save("--exclude", pattern, settle=False)
            found = {p.decode()[4:] for p in self.paths()} & everything
            self.assertEqual(everything - found, set(gone), pattern)
        self.save("--exclude", "*.tmp", "--exclude", "/cache", settle=False)
        found = {p.decode()[4:] for p in self.paths()}
        self.assertFalse({"keep/x.tmp", "cache", "cache/a"} & found)
        for bad, why in [("a//b", "empty component"), ("../x", "component '..'"), ("./x", "component '.'"), ("/", "names nothing"), ("", "names nothing")]:
            self.refused(2, why, "backup", "--repo", self.url, "--node", "t", "--profile", "directory", "--dir", self.src, "--exclude", bad)

    def test_one_file_system(self):
        """A mount point is stored as a folder and not gone into."""
        (self.src / "mnt").mkdir()
        (self.src / "f").write_text("x")
        if subprocess.run(["mount", "-t", "tmpfs", "none", str(self.src / "mnt")], capture_output=True).returncode != 0:
            self.skipTest("cannot mount here")
        try:
            (self.src / "mnt/in").write_text("x")
            self.save()
            self.assertEqual(self.paths(), [b"dir", b"dir/f", b"dir/mnt", b"dir/mnt/in"])
            self.save("--one-file-system")
            self.assertEqual(self.paths(), [b"dir", b"dir/f", b"dir/mnt"])
        finally:
            subprocess.run(["umount", str(self.src / "mnt")], check=True)

    def test_usage(self):
        base = ["backup", "--repo", self.url, "--node", "t"]
        self.refused(2, "no directory given", *base, "--profile", "directory", hint="--dir")
        self.refused(2, "has no database directory", *base, "--profile", "directory", "--dir", self.src, "--db", self.src)
        self.refused(2, "'--dir' is for a plain tree", *base, "--dir", self.src, "--db", self.src)
        self.refused(2, "'--exclude' is for a plain tree", *base, "--db", self.src, "--exclude", "x")
        self.refused(3, "does not exist", *base, "--profile", "directory", "--dir", self.dir / "none", hint="--dir")
        self.refused(2, "nothing to inspect", "inspect", "--profile", "directory", "--db", self.src, hint="--dry-run")
        self.save()
        self.refused(2, "has no index", "restore", "--repo", self.url, "--node", "t", "latest", "--target", self.dir / "o", "--index-target", self.dir / "i")

    def test_own_repository_and_special_files(self):
        url = f"file://{self.src}/backups/repo"
        (self.src / "backups").mkdir()
        self.ferry("init", "--repo", url)
        os.mkfifo(self.src / "fifo")
        (self.src / "f").write_text("x")
        for _ in range(2):
            r = self.ferry("backup", "--repo", url, "--node", "t", "--profile", "directory", "--dir", self.src, "--json", "--strict")
            self.assertEqual(r.summary["files_total"], 3)  # dir, backups, f
            self.assertTrue(any("backups/repo" in w and "repository" in w for w in self.warnings(r)), r)
            self.assertTrue(any("fifo" in w for w in self.warnings(r)), r)

    def test_long_paths_and_deep_trees(self):
        """4,096 bytes of path are stored, more is told; so is what lies too deep."""
        fd = os.open(self.src, os.O_RDONLY)
        for i in range(600):
            os.mkdir(f"d{i:05}", dir_fd=fd)
            deeper = os.open(f"d{i:05}", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        os.close(fd)
        r = self.save(code=0)
        self.assertEqual(r.summary["files_left_out"], 1, r)
        self.assertIn("too deep", self.warnings(r)[0])
        self.assertEqual(len(self.paths()), 513)  # the top, 511 gone into, and the one that is not
        r = self.save("--strict", code=3)
        self.assertIn("the snapshot stands", r.err)
        self.assertEqual(len(self.snapshots(self.url, node="t")), 2)
        self.fetch()
        shutil.rmtree(self.src)
        self.src.mkdir()
        fd = os.open(self.src, os.O_RDONLY)
        for _ in range(16):
            os.mkdir("x" * 250, dir_fd=fd)
            deeper = os.open("x" * 250, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        left = 4096 - len("dir") - 16 * 251 - 1
        for name in ["y" * left, "z" * (left + 1)]:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        r = self.save()
        self.assertEqual(r.summary["files_left_out"], 1, r)
        self.assertIn("path is too long", self.warnings(r)[0])
        self.assertEqual(max(map(len, self.paths())), 4096)
        self.fetch("deep")

    def test_unreadable(self):
        """As another user: what cannot be read is told one by one up to a number, and left out."""
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        for i in range(30):
            (self.src / f"f{i:02}").write_text("x" * 1000)
            os.chmod(self.src / f"f{i:02}", 0 if i >= 5 else 0o644)
        (self.src / "d").mkdir()
        (self.src / "d/in").write_text("x")
        os.chmod(self.src / "d", 0o700)
        for path in [self.dir, self.src]:
            os.chmod(path, 0o777)
        subprocess.run(["chmod", "-R", "a+rwX", str(self.dir / "repository")], check=True)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        r = self.save("--strict", code=3, **nobody)
        self.assertEqual(r.summary["files_left_out"], 26, r)
        told = self.warnings(r)
        self.assertEqual(len(told), 21, r)
        self.assertIn("6 more files", told[-1])
        self.assertIn("Permission denied", told[0])
        self.assertEqual(len(self.paths()), 1 + 1 + 5)
        # And nobody can restore it: owners are his own, setuid of others' files goes.
        os.chmod(self.src / "f00", 0o4755)
        r = self.save(**nobody)
        out = self.dir / "nobody"
        r = self.ferry("restore", "--repo", self.url, "--node", "t", "latest", "--target", out, "--json", **nobody)
        self.assertEqual((out / "f00").stat().st_uid, 65534)
        self.assertEqual((out / "f00").stat().st_mode & 0o7777, 0o755)
        self.assertTrue(any("setuid" in w for w in self.warnings(r)), r)

    def test_unsearchable_directories_as_user(self):
        """Directories that let nobody in are finished last, the lower ones first."""
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        path = self.src
        for i in range(5):
            path = path / f"d{i}"
            path.mkdir()
            (path / "f").write_text("x" * 600)
        subprocess.run(["chmod", "-R", "a-x,a-w,a-r", str(self.src / "d0")], check=True)
        expected = {p: x[0] for p, x in tree.describe(self.src).items()}
        self.save()
        os.chmod(self.dir, 0o777)
        subprocess.run(["chmod", "-R", "a+rwX", str(self.dir / "repository")], check=True)
        out = self.dir / "o"
        self.ferry("restore", "--repo", self.url, "--node", "t", "latest", "--target", out, user=65534, group=65534, extra_groups=[])
        self.assertEqual({p: x[0] for p, x in tree.describe(out).items()}, expected)

    def test_resume(self):
        """A restore broken off: the same command keeps what is whole and makes the rest; leftovers of it go."""
        tree.make(self.src, random.Random(7), 60)
        expected = tree.describe(self.src)
        self.save()
        whole, _ = self.fetch("whole")
        out = self.dir / "out"
        shutil.copytree(whole, out, symlinks=True)
        run = self.snapshots(self.url, node="t")[0]
        (out / ".chunkferry-restore").write_text(f"t {run}\n")
        victims = [p for p in tree.walk(out) if os.path.isfile(p) and not os.path.islink(p) and os.path.getsize(p) > 600][:6]
        os.unlink(victims[0])
        with open(victims[1], "r+b") as f:  # the right size, the wrong bytes
            f.write(b"\0\1\2")
        for p in victims[2:3]:  # its temporary file was left
            hashed = hashlib.sha256(os.path.basename(p)).hexdigest()[:24].encode()
            os.rename(p, os.path.join(os.path.dirname(p), b"." + hashed + b".chunkferry.tmp"))
        _, r = self.fetch()
        self.assert_same(expected, out)
        self.assertGreater(r.summary["files_kept"], 10)
        self.refused(1, "is not empty", "restore", "--repo", self.url, "--node", "t", "latest", "--target", out)

    def test_names_of_our_own(self):
        """A tree may hold names that the restore uses itself."""
        (self.src / "x").write_text("x" * 2000)
        (self.src / "x.chunkferry.tmp").write_text("y" * 3000)
        (self.src / ".chunkferry-restore").write_text("t 20000101T000000Z-00000000\n")
        self.save()
        out, r = self.fetch()
        self.assertEqual((out / "x").read_text(), "x" * 2000)
        self.assertEqual((out / "x.chunkferry.tmp").read_text(), "y" * 3000)
        self.assertFalse((out / ".chunkferry-restore").exists())
        self.assertTrue(any("by that name" in w for w in self.warnings(r)), r)

    def test_target_with_planted_links(self):
        """A link that stands where the tree has a folder is not written through."""
        (self.src / "d").mkdir()
        (self.src / "d/f").write_text("x" * 1000)
        (self.src / "small").write_text("x")
        self.save()
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        out = self.dir / "out"
        out.mkdir()
        run = self.snapshots(self.url, node="t")[0]
        (out / ".chunkferry-restore").write_text(f"t {run}\n")
        (out / "d").symlink_to(elsewhere)
        self.refused(1, "stands in the way", "restore", "--repo", self.url, "--node", "t", "latest", "--target", out)
        self.assertEqual(list(elsewhere.iterdir()), [])
        (out / "d").unlink()
        victim = self.dir / "victim"
        victim.write_text("mine")
        (out / "small").symlink_to(victim)
        self.refused(1, "stands in the way", "restore", "--repo", self.url, "--node", "t", "latest", "--target", out)
        self.assertEqual(victim.read_text(), "mine")
        (out / "small").unlink()
        self.fetch()

    def rewrite(self, change):
        """Makes the newest snapshot say what change(lines) gives: a repository in the hands of somebody else."""
        node = self.dir / "repository/nodes/t"
        path = max((node / "snapshots").iterdir())
        root = json.loads(path.read_text())
        segment = next(x for x in root["segments"] if x["kind"] == "files")
        file = node / "runs" / segment["key"]
        text = subprocess.run(["zstd", "-dc", str(file)], check=True, capture_output=True).stdout
        lines = change([json.loads(x) for x in text.splitlines()])
        text = "".join(json.dumps(x, separators=(",", ":")) + "\n" for x in lines).encode()
        packed = subprocess.run(["zstd", "-c"], input=text, check=True, capture_output=True).stdout
        os.chmod(file, 0o644)
        file.write_bytes(packed)
        segment.update(bytes=len(packed), lines=len(lines), sha256=hashlib.sha256(packed).hexdigest())
        os.chmod(path, 0o644)
        path.write_text(json.dumps(root))

    def test_evil_manifests(self):
        """A manifest that plants a link and then a file behind it, or names what is outside: refused, and nothing outside is touched."""
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        (self.src / "f").write_text("evil")
        self.save()

        def link_line(lines, name):
            meta = {k: lines[0][k] for k in ("mode", "uid", "gid", "mtime")}
            return {"step": 1, "path": name, "type": "symlink", "target": str(elsewhere), **meta, "class": "symlink"}

        def file_line(lines, name, step=1):
            return {**lines[1], "step": step, "path": name}

        cases = [
            ("a link, and a file in it", lambda x: [x[0], link_line(x, "dir/a"), file_line(x, "dir/a/f"), x[1]], "cannot be entered"),
            ("a link, and a folder in it", lambda x: [x[0], link_line(x, "dir/a"), {**x[0], "path": "dir/a/d"}, x[1]], "cannot be entered"),
            ("a link, and a file of its name", lambda x: [x[0], link_line(x, "dir/a"), x[1], file_line(x, "dir/a", 2)], "stands in the way"),
            ("the top is a link", lambda x: [link_line(x, "dir"), x[1]], "is the target itself"),
            ("the top is a file", lambda x: [file_line(x, "dir"), x[1]], "is the target itself"),
            ("another role", lambda x: [*x, file_line(x, "etc/passwd")], "belongs to no directory"),
            ("a name like the role's", lambda x: [x[0], x[1], file_line(x, "dirt/f")], "belongs to no directory"),
            ("up", lambda x: [x[0], x[1], file_line(x, "dir/../f", 2)], "component '..'"),
            ("absolute", lambda x: [file_line(x, "/etc/f"), *x], "is absolute"),
        ]
        for n, (title, change, message) in enumerate(cases):
            with self.subTest(title):
                shutil.rmtree(self.dir / "repository")
                self.url = self.repository()
                self.save(settle=False)
                self.rewrite(change)
                r = ferry.run("restore", "--repo", self.url, "--node", "t", "latest", "--target", self.dir / f"evil{n}")
                self.assertIn(r.code, (1, 4), r)
                self.assertIn(message, r.err, r)
                self.assertEqual(list(elsewhere.iterdir()), [])

    def test_withheld_is_told(self):
        """A line whose content policy kept out: told, and no zeros are written."""
        (self.src / "key").write_text("x" * 100)
        self.save()
        self.rewrite(lambda x: [x[0], {**{k: v for k, v in x[1].items() if k != "inline"}, "withheld": True}])
        out, r = self.fetch()
        self.assertFalse((out / "key").exists())
        self.assertTrue(any("withheld" in w for w in self.warnings(r)), r)

    def test_dry_run_writes_nothing(self):
        (self.src / "f").write_text("x" * 1000)
        s = self.save("--dry-run").summary
        self.assertEqual((s["snapshot"], s["files_total"]), ("", 2))
        self.assertEqual(self.snapshots(self.url, node="t"), [])

    def test_over_s3(self):
        """The same over the strict fake, and 3,000 small files are not 3,000 GETs."""
        for i in range(3000):
            (self.src / f"f{i}").write_bytes(os.urandom(600 + i % 500))
        with ferry.fake_s3() as (server, env):
            self.url = "s3://backups/x"
            self.ferry("init", "--repo", self.url, env=env)
            self.save(env=env)
            self.assertEqual(self.save(env=env).summary["bytes_read"], 0)
            expected = tree.describe(self.src)
            out, r = self.fetch(env=env)
            self.assert_same(expected, out)
            self.assertLess(r.summary["requests"], 300)


    def test_many_files_within_memory(self):
        """CHUNKFERRY_LONG=1: 200,000 small files in one folder, backup and restore below --memory 64MiB; else 10,000."""
        total = 200_000 if os.environ.get("CHUNKFERRY_LONG") == "1" else 10_000
        for i in range(total):
            with open(self.src / f"a-rather-long-name-of-a-file-{i:07}", "wb") as f:
                f.write(b"%d" % i * 100)
        time.sleep(SETTLE_S)
        base = ["--repo", self.url, "--node", "t", "--memory", "64MiB"]
        peaks = []
        for words in (["backup", *base, "--profile", "directory", "--dir", self.src], ["backup", *base, "--profile", "directory", "--dir", self.src],
                      ["restore", *base, "latest", "--target", self.dir / "out"]):
            done = subprocess.run(["/usr/bin/time", "-f", "%M", str(ferry.BINARY), *map(str, words)], env=ferry.environment(), capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            peaks.append(int(done.stderr.split()[-1]) // 1024)
        print(f"{total} files: {peaks[0]}, {peaks[1]} and {peaks[2]} MiB for backup, again, restore")
        if not ferry.SANITIZED:
            self.assertLess(max(peaks), 64)


ferry.main(__name__)
