# SPDX-License-Identifier: Apache-2.0
"""Copies between directories and servers in every direction: equal to the source, full repositories, refused where they must be."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

KINDS = ("file", "s3")


class Copy(ferry.Case):
    def place(self, stack, kind, name, **options):
        """URL, the words that reach it as --repo and as --to-repo, and the environment."""
        if kind == "file":
            return f"file://{self.dir / name}", [], [], ferry.environment()
        server, env = stack.enter_context(ferry.fake_s3(root=str(self.dir / f"objects-{name}"), **options))  # a child's peak counts from ours
        del env["AWS_ENDPOINT_URL_S3"]  # said by flags, so that each side has a server of its own
        return f"s3://backups/{name}", ["--endpoint", server.url], ["--to-endpoint", server.url], env

    def pair(self, stack, source, target, **options):
        a, a_words, _, a_env = self.place(stack, source, "a", **options)
        b, b_words, to_words, b_env = self.place(stack, target, "b", **options)
        env = {**a_env, **b_env}
        self.a = ["--repo", a, *a_words]
        self.b = ["--repo", b, *b_words]
        self.words = ["copy", *self.a, "--to-repo", b, *to_words]
        self.env = env
        self.ferry("init", *self.a, env=env)
        self.ferry("init", *self.b, env=env)

    def go(self, *words, code=0):
        return self.ferry(*words, "--json", code=code, env=self.env)

    def backup_to(self, where, db):
        return self.go("backup", *where, "--node", "kdb-1", "--db", db).summary["snapshot"]

    def restore_from(self, where, name, snapshot="latest"):
        target = self.dir / name
        self.go("restore", *where, "--node", "kdb-1", snapshot, "--target", target)
        return target

    def assert_equal_trees(self, a, b):
        done = subprocess.run(["diff", "-r", str(a), str(b)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def append(self, db):
        done = subprocess.run([*ferry.NODE, "append", "--db", str(db), "--bytes", "3000000"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def there_and_on(self, source, target, **options):
        with contextlib.ExitStack() as stack:
            self.pair(stack, source, target, **options)
            db = self.make_node("--chunks", 4, name=f"node-{source}-{target}")
            first = self.backup_to(self.a, db)
            self.append(db)
            second = self.backup_to(self.a, db)
            done = self.go(*self.words, "all")
            self.assertEqual(done.summary["snapshots_copied"], 2, done)
            new = {x["origin"]: x["snapshot"] for x in done.lines if x["type"] == "copied"}
            self.assertEqual(list(new), [first, second])
            for origin, copy in new.items():
                mine, theirs = (self.restore_from(w, f"{source}-{target}-{run}", run) for w, run in ((self.a, origin), (self.b, copy)))
                self.assert_equal_trees(mine, theirs)
            times = [[x["time"] for x in self.go("list", *w, "--node", "kdb-1").lines if x["type"] == "snapshot"] for w in (self.a, self.b)]
            self.assertEqual(*times)
            shown = self.go("show", *self.b, "--node", "kdb-1", "latest").summary
            self.assertEqual((shown["snapshot"], shown["origin"]), (new[second], second))
            again = self.go(*self.words, "all").summary
            self.assertEqual((again["snapshots_copied"], again["snapshots_skipped"], again["packs_copied"]), (0, 2, 0))
            self.full_repository(db, prune=not options)

    def verify(self):
        self.go("verify", *self.b, "--read-data", "all")

    def full_repository(self, db, prune):
        """What every command does on it."""
        self.verify()
        self.append(db)
        third = self.go("backup", *self.b, "--node", "kdb-1", "--db", db).summary
        self.assertGreater(third["files_reused"], 0)
        self.check_start(self.restore_from(self.b, f"third-{time.monotonic_ns()}"))
        if not prune:   # without conditional create it only marks, tests/prune shows how
            return
        gone = self.go("prune", *self.b, "--keep-last", 1).summary
        self.assertEqual(gone["snapshots_deleted"], 1)  # the newest stays, and the newest that was proved
        self.verify()
        self.check_start(self.restore_from(self.b, f"fourth-{time.monotonic_ns()}"))

    def test_file_to_file(self):
        self.there_and_on("file", "file")

    def test_file_to_server(self):
        self.there_and_on("file", "s3")

    def test_server_to_file(self):
        self.there_and_on("s3", "file")

    def test_server_to_server(self):
        self.there_and_on("s3", "s3")

    def test_servers_without_conditional_create(self):
        self.there_and_on("s3", "s3", no_conditional=True)

    def test_all_nodes(self):
        a, b = self.repository("a"), self.repository("b")
        for node in ("kdb-1", "kdb-2"):
            self.backup(a, self.make_node("--chunks", 1, "--seed", 1 if node == "kdb-1" else 2, name=node), node=node)
        done = self.ferry("copy", "--repo", a, "--to-repo", b, "--json")
        self.assertEqual([x["node"] for x in done.lines if x["type"] == "copied"], ["kdb-1", "kdb-2"])
        for node in ("kdb-1", "kdb-2"):
            self.restore(b, self.dir / f"restored-{node}", node=node)
            self.check_start(self.dir / f"restored-{node}")

    # What is refused
    def test_words(self):
        a, b = self.repository("a"), self.repository("b")
        db = self.make_node("--chunks", 1)
        one = self.backup(a, db).summary["snapshot"]
        copy = ["copy", "--repo", a]
        self.refused(2, "is the source and the target", *copy, "--to-repo", a + "/", hint="--to-endpoint")
        self.refused(2, "no repository to copy into given", *copy, hint="--to-repo")
        self.refused(2, "of which node?", *copy, "--to-repo", b, one, hint="--node")
        self.refused(1, "has no snapshot 'x'", *copy, "--to-repo", b, "--node", "kdb-1", "x")
        self.refused(1, "node 'kdb-9' has no snapshot in the source", *copy, "--to-repo", b, "--node", "kdb-9", hint="list")
        self.refused(10, "is no repository yet", *copy, "--to-repo", f"file://{self.dir}/c", hint=f"chunkferry init --repo file://{self.dir}/c")
        self.refused(10, "the source: ", "copy", "--repo", f"file://{self.dir}/c", "--to-repo", b)
        (self.dir / "c").mkdir()
        self.refused(10, "is no repository yet", *copy, "--to-repo", f"file://{self.dir}/c", hint="chunkferry init")
        self.refused(2, "48 MiB is the least", *copy, "--to-repo", b, "--memory", "1MiB")
        self.refused(2, "one word too many", *copy, "--to-repo", b, "all", "all")
        self.assertEqual(list((self.dir / "b").rglob("*-pack-*")), [])

    def test_damaged_and_future(self):
        a, b = self.repository("a"), self.repository("b")
        db = self.make_node("--chunks", 3)
        first = self.backup(a, db).summary["snapshot"]
        self.append(db)
        second = self.backup(a, db, "--mode", "full").summary["snapshot"]   # shares no pack with the first
        runs = self.dir / "a/nodes/kdb-1"
        pack = next((runs / "runs" / first).glob("*-pack-chunk-000001*"))
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.write_bytes(data)
        future = "20300101T000000Z-00000001"
        root = json.loads((runs / "snapshots" / second).read_text())
        (runs / "snapshots" / future).write_text(json.dumps({**root, "run": future, "requires": ["delta-packs"]}))
        copy = ["copy", "--repo", a, "--to-repo", b, "--node", "kdb-1", "--json"]
        done = self.refused(4, "2 of 3 snapshots could not be copied", *copy, "all", hint="verify --read-data")
        self.assertEqual(done.summary["snapshots_copied"], 1)
        self.assertEqual(done.summary["snapshots_failed"], 2)
        said = "\n".join(x["text"] for x in done.lines if x["type"] == "error")
        self.assertIn(f"snapshot {first} of node 'kdb-1' was not copied: the source's pack '{first}/{pack.name}': it has another SHA-256", said)
        self.assertIn("requires 'delta-packs'", said)
        self.assertEqual(len(self.snapshots(b)), 1)
        self.restore(b, self.dir / "restored")
        self.check_start(self.dir / "restored")
        done = self.refused(1, "1 of 1 snapshots could not be copied", *copy, future, hint="a newer chunkferry can")

    def test_read_only_medium(self):
        if os.geteuid() == 0:
            print("read-only source: root writes everywhere, shown in tests/copy/refused_test.c instead")
            return
        a, b = self.repository("a"), self.repository("b")
        self.backup(a, self.make_node("--chunks", 1))
        for folder, _, _ in os.walk(self.dir / "a"):
            os.chmod(folder, 0o555)
        self.ferry("copy", "--repo", a, "--to-repo", b)

    # Figures
    def peak_mib(self, *words):
        child = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        error = child.stderr.read()
        child.stderr.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0, error)
        return usage.ru_maxrss / 1024

    def test_memory(self):
        if ferry.SANITIZED:
            print("memory: a sanitizer's own would be measured")
            return
        db = self.make_node("--chunks", 1, "--chunk-size", 256 << 20, "--seed", 2)
        for source, target in (("file", "s3"), ("s3", "file")):
            with contextlib.ExitStack() as stack:
                self.pair(stack, source, target)
                self.backup_to(self.a, db)
                peak = self.peak_mib(*self.words, "--memory", "64MiB")
                print(f"a pack of a 256 MiB chunk, {source} to {target}, --memory 64MiB: {peak:.0f} MiB at its peak")
                self.assertLess(peak, 64)
            for name in ("a", "b", "objects-a", "objects-b"):
                shutil.rmtree(self.dir / name, ignore_errors=True)

    def stored(self, name):
        return sum(p.stat().st_size for p in (self.dir / name / "nodes").rglob("*-pack-*"))

    def stopped_half_way(self, stop, code):
        a, b = self.repository("a"), self.repository("b")
        self.backup(a, self.shared_db)
        total = self.stored("a")
        child = subprocess.Popen([str(ferry.BINARY), "copy", "--repo", a, "--to-repo", b, "--jobs", "2", "--limit-upload", "64MiB"], env=ferry.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and self.stored("b") < total / 2:
            time.sleep(0.002)
        stop(child)
        self.assertEqual(child.wait(60), code)
        sent = self.stored("b")
        self.assertEqual(self.snapshots(b), [])
        again = self.ferry("copy", "--repo", a, "--to-repo", b, "--json").summary
        self.assertEqual(self.snapshots(b).__len__(), 1)
        twice = (sent + again["bytes_copied"] - total) / total
        print(f"copy of {total >> 20} MiB stopped with {sent * 100 // total} % there ({code}): the second sent {again['bytes_copied'] * 100 // total} %, {twice:.1%} twice")
        self.restore(b, self.dir / "restored")
        self.check_start(self.dir / "restored")
        for name in ("a", "b", "restored"):
            shutil.rmtree(self.dir / name)
        return twice

    def test_stopped_half_way(self):
        self.shared_db = self.make_node("--chunks", 96, "--chunk-size", 2 << 20, "--seed", 5)
        self.assertLess(self.stopped_half_way(lambda c: c.kill(), -9), 0.25)        # 16 MiB of journal at the most, and what was under way
        self.assertLess(self.stopped_half_way(lambda c: c.terminate(), 130), 0.05)  # the last words have all


ferry.main(__name__)
