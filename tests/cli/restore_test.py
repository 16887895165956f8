# SPDX-License-Identifier: Apache-2.0
"""Restore as a user meets it: which targets are refused, how an interrupted one goes on, what a server does that is started too early."""
import json
import os
import shutil
import signal
import stat
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

URL = "s3://backups/prod"
MARKER = ".chunkferry-restore"
APART = 1 if os.environ.get("CHUNKFERRY_LONG") else 9    # every step, or a seeded sample of them
FIRST = int(os.environ.get("CHUNKFERRY_SEED", "4")) % APART


def tree(folder):
    """{path: (size, digest-worthy bytes)} of all files; for comparing two targets."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Targets(pieces.Small):
    def test_target_is_not_empty(self):
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target"]
        (self.dir / "target").mkdir()
        (self.dir / "target/somebody").write_text("mine")
        self.refused(1, "is not empty: it holds 'somebody'", *words, hint="empty or missing directory")
        self.assertEqual(tree(self.dir / "target"), {"somebody": b"mine"})
        (self.dir / "target/somebody").unlink()
        (self.dir / "target/lost+found").mkdir()
        (self.dir / "index").mkdir()
        (self.dir / "index/theirs").write_text("mine")
        self.refused(1, "is not empty: it holds 'theirs'", *words, "--index-target", self.dir / "index")
        self.assertEqual(os.listdir(self.dir / "target"), ["lost+found"])
        (self.dir / "index/theirs").unlink()
        self.ferry(*words, "--index-target", self.dir / "index")
        self.check_start(self.dir / "target", "--index", self.dir / "index", "--seed", pieces.SEED)
        self.refused(1, "is not empty", *words)

    def test_recheck(self):
        """Read back from the disk, with the MD5s of chunks and tables: the same tree as without."""
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target"]
        self.ferry(*words, self.dir / "plain", "--connections", 3)
        self.ferry(*words, self.dir / "again", "--recheck")
        self.assertEqual(tree(self.dir / "plain"), tree(self.dir / "again"))
        self.ferry("verify", "--repo", repo.url, "--node", "kdb-1", "--read-data")

    def test_target_is_the_node_itself(self):
        repo, db = self.repository_copy(), self.node_copy()
        before = tree(db)
        self.refused(1, "is not empty", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", db)
        with ferry.LiveNode(db, self.dir, "--no-epoch") as node:
            self.refused(1, "server", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", db)
            node.tell("status")
        self.assertEqual({k: v for k, v in tree(db).items() if k.startswith("chunk-00000") and k < "chunk-000003"},
                         {k: v for k, v in before.items() if k.startswith("chunk-00000") and k < "chunk-000003"})

    def test_server_was_started_on_a_half_filled_target(self):
        """Somebody starts a server on the target between two tries: the second try sees it and stops."""
        repo = self.repository_copy()
        target = self.dir / "target"
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target]
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.refused(4, pack.name, *words)
        (self.dir / "pack").rename(pack)
        with open(target / "chaser.chk", "rb") as held:
            import fcntl
            fcntl.flock(held, fcntl.LOCK_SH)
            self.refused(1, "server", *words)
        self.ferry(*words)
        self.assert_whole(target)

    def test_another_snapshot_into_a_half_filled_target(self):
        repo = self.repository_copy()
        self.backup(repo.url, self.shared / "node")
        first, second = self.snapshots(repo.url)
        target = self.dir / "target"
        words = ["restore", "--repo", repo.url, "--node", "kdb-1", "--target", target]
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.refused(4, pack.name, *words, first)
        (self.dir / "pack").rename(pack)
        before = tree(target)
        self.refused(1, f"holds a restore that was broken off, of another snapshot: kdb-1 {first}", *words, second, hint="run that restore again")
        self.refused(1, "broken off", *words, "latest")
        self.assertEqual(tree(target), before)
        self.ferry(*words, first)
        self.assert_whole(target)

    def test_dry_run_writes_nothing(self):
        repo = self.repository_copy()
        before = tree(repo.path)
        done = self.restore(repo.url, self.dir / "target", "--dry-run", "-v")
        self.assertFalse((self.dir / "target").exists())
        self.assertEqual(tree(repo.path), before, "no reader's lease either")
        self.assertTrue(done.summary["dry_run"])
        self.assertEqual(len([x for x in done.lines if x["type"] == "file"]), done.summary["files_total"])
        text = self.ferry("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target", "--dry-run")
        self.assertIn("nothing was written", text.out)
        (self.dir / "target").mkdir()
        (self.dir / "target/x").write_text("x")
        self.refused(1, "is not empty", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target", "--dry-run")

    def test_owner_modes_and_times(self):
        repo = self.repository_copy()
        target = self.dir / "target"
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target]
        self.refused(2, "user 'nosuchuser' of --owner is not known", *words, "--owner", "nosuchuser")
        self.refused(2, "group 'nosuchgroup' of --owner is not known", *words, "--owner", "root:nosuchgroup")
        self.refused(2, "has no user", *words, "--owner", ":root")
        self.refused(2, "has no user", *words, "--owner", "")
        self.assertFalse(target.exists())
        if os.geteuid() != 0:
            self.skipTest("needs root to give files away")
        self.ferry(*words, "--owner", "65534:4321")
        for path in [target, *target.rglob("*")]:
            st = path.stat()
            self.assertEqual((st.st_uid, st.st_gid), (65534, 4321), path)
            completed = path.name.startswith("chunk-") and path.name != "chunk-000003.000000" or len(path.name) == 36
            if path.is_file():
                self.assertEqual(stat.S_IMODE(st.st_mode), 0o444 if completed else 0o644, path)
                source = self.shared / "node" / path.relative_to(target)
                if source.exists() and path.name != "truncate.chk":
                    self.assertEqual(st.st_mtime_ns, source.stat().st_mtime_ns, path)
            else:
                self.assertEqual(stat.S_IMODE(st.st_mode), 0o755, path)
        self.ferry(*words[:-1], self.dir / "named", "--owner", "nobody:root")
        self.assertEqual((self.dir / "named/writer.chk").stat().st_gid, 0)
        self.assertEqual((self.dir / "named/truncate.chk").stat().st_uid, 65534)

    def test_recorded_owner_without_the_option(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to give files away")
        repo = self.repository_copy()
        db = self.node_copy()
        for path in [db, *db.rglob("*")]:
            os.chown(path, 1234, 2345)
        self.backup(repo.url, db, "--mode", "full")
        target = self.dir / "target"
        self.restore(repo.url, target)
        self.assertEqual({(p.stat().st_uid, p.stat().st_gid) for p in target.rglob("*") if p.is_file()}, {(1234, 2345)})
        # As somebody who may not give files away: they are his, and that is no failure.
        for path in [self.dir, *repo.path.rglob("*"), repo.path]:
            os.chown(path, pieces.NOBODY, pieces.NOBODY)
        self.restore(repo.url, self.dir / "mine", user=pieces.NOBODY, group=pieces.NOBODY, extra_groups=[])
        self.assertEqual({p.stat().st_uid for p in (self.dir / "mine").rglob("*")}, {pieces.NOBODY})
        self.refused(1, "set owner of", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "other", "--owner", "root",
                     user=pieces.NOBODY, group=pieces.NOBODY, extra_groups=[])

    def test_holes_stay_holes(self):
        db = self.make_node("--chunks", 1, "--chunk-size", 16 << 20, "--seed", pieces.SEED, name="wide")
        url = self.repository("wide-repository")
        self.backup(url, db)
        self.restore(url, self.dir / "target")
        self.assert_whole(self.dir / "target")
        source, restored = (db / "chunk-000001.000000").stat(), (self.dir / "target/chunk-000001.000000").stat()
        self.assertEqual(source.st_size, restored.st_size)
        self.assertLess(restored.st_blocks * 512, restored.st_size // 2, "a quarter is written")

    def test_index_target(self):
        repo = self.repository_copy()
        target, index = self.dir / "deep/er/target", self.dir / "other/place/index"
        done = self.restore(repo.url, target, "--index-target", index)
        self.check_start(target, "--index", index, "--seed", pieces.SEED)
        self.assertFalse((target / "index").exists())
        self.assertEqual(sorted(p.name for p in index.iterdir()), sorted(p.name for p in (self.shared / "node/index").iterdir()))
        self.assertIn("Start it", done.summary["closing_words"])

    def test_closing_words(self):
        repo = self.repository_copy()
        done = self.ferry("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target")
        for word in ("all verified", "with code 0", "second time", "scavenge", "empty"):
            self.assertIn(word, done.out)


class Repositories(pieces.Small):
    def test_three_nodes_under_other_names(self):
        url = self.repository()
        nodes = {}
        for number in (1, 2, 3):
            nodes[number] = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", 30 + number, name=f"node{number}")
            self.backup(url, nodes[number], node=f"kdb-{number}")
        self.assertEqual(sorted({x["node"] for x in self.ferry("list", "--repo", url, "--json").lines if x["type"] == "snapshot"}),
                         ["kdb-1", "kdb-2", "kdb-3"])
        for number in (3, 1, 2):
            for copy in ("a", "b"):
                target = self.dir / f"new-machine-{copy}{number}"
                self.restore(url, target, node=f"kdb-{number}")
                self.check_start(target, "--seed", 30 + number)
                self.assert_same_tree(nodes[number], target, ongoing=["chunk-000002.000000"])

    def test_old_snapshots_after_many_new_ones(self):
        db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", pieces.SEED, name="grower")
        url = self.repository()
        kept, writers = {}, []
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 0) as node:
            for round_number in range(8):
                node.tell("append 40000")
                if round_number % 2:
                    node.tell("flush-index")
                if round_number == 4:
                    node.tell("merge")
                if round_number == 5:
                    node.tell("scavenge 0 1")
                summary = self.backup(url, db).summary
                writers.append(json.loads(node.tell("status"))["checkpoints"]["writer"])
                kept[summary["snapshot"]] = tree(db)
        listed = [x for x in self.ferry("list", "--repo", url, "--node", "kdb-1", "--json").lines if x["type"] == "snapshot"]
        self.assertEqual([x["snapshot"] for x in listed], sorted(kept))
        self.assertEqual([x["writer"] for x in listed], writers)
        for number, (run, files) in enumerate(kept.items()):
            target = self.dir / f"restored-{number}"
            # By a part of its id that no other has.
            part = next(run[:n] for n in range(1, 26) if len([k for k in kept if k.startswith(run[:n])]) == 1)
            self.restore(url, target, snapshot=part)
            self.check_start(target, "--seed", pieces.SEED)
            for name, data in tree(target).items():
                if name.startswith("chunk-") and len(data.rstrip(b"\0")) == len(files[name].rstrip(b"\0")):
                    self.assertEqual(data, files[name], (run, name))
            shutil.rmtree(target)
        self.refused(2, "snapshots of node 'kdb-1' begin with '20'", "show", "20", "--repo", url, "--node", "kdb-1")


class Interrupted(pieces.Small):
    def test_killed_at_every_request_and_run_again(self):
        reference = self.dir / "reference"
        kept_total = rounds = 0
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            self.backup(URL, self.shared / "node", env=env)
            self.restore(URL, reference, env=env)
            reference_tree = tree(reference)
            nth = 1
            while True:
                target = self.dir / f"target-{nth}"
                words = ["restore", "latest", "--repo", URL, "--node", "kdb-1", "--target", target]
                killed, code, out = pieces.run_and_hold(server, env, words, nth)
                if not killed:
                    self.assertEqual(code, 0, out)
                    break
                self.assertEqual(code, -signal.SIGKILL, out)
                if target.exists():
                    self.check_start_fails_or_is_whole(target)
                rounds, nth = rounds + 1, nth + 1
                if (target / "truncate.chk").exists() and not (target / MARKER).exists():   # all but the reader's lease was done
                    self.refused(1, "is not empty", *words, env=env)
                    self.assertEqual(tree(target), reference_tree)
                    continue
                done = self.restore(URL, target, env=env).summary
                kept_total += done["files_kept"]
                self.assertEqual(done["files_kept"] + done["files_restored"], done["files_total"], done)
                self.assert_whole(target)
                # truncate.chk and all: the same bytes as of a restore that nothing disturbed.
                self.assertEqual(tree(target), reference_tree, nth)
                shutil.rmtree(target)
        print(f"killed at each of {rounds} requests; {kept_total} files were kept")
        self.assertGreater(rounds, 6)
        self.assertGreater(kept_total, 0)

    def check_start_fails_or_is_whole(self, target):
        done = ferry.start_check(target, "--seed", pieces.SEED)
        if (target / "writer.chk").exists():
            self.assertEqual(done.returncode, 0, done.stdout)
        elif (target / "chaser.chk").exists():
            self.assertEqual(done.returncode, 1, done.stdout)

    def test_interrupted_by_a_signal(self):
        for sign in (signal.SIGINT, signal.SIGTERM):
            with ferry.fake_s3() as (server, env):
                self.ferry("init", "--repo", URL, env=env)
                self.backup(URL, self.shared / "node", env=env)
                target = self.dir / f"target-{sign}"
                words = ["restore", "latest", "--repo", URL, "--node", "kdb-1", "--target", target]
                for nth in (3, 6, 8, 9):
                    killed, code, out = pieces.run_and_hold(server, env, words, nth, sign=sign)
                    self.assertTrue(killed)
                    self.assertEqual(code, 130, out)
                    self.assertIn("interrupted", out)
                    self.assert_no_half_target(target)
                self.restore(URL, target, env=env)
                self.assert_whole(target)

    def test_another_content_is_fetched_again(self):
        """A file of an interrupted restore was changed, with its size: it is found out and replaced."""
        repo = self.repository_copy()
        target = self.dir / "target"
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target, "--json", "-v"]
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.refused(4, pack.name, *words)
        (self.dir / "pack").rename(pack)
        for name, data in (("chunk-000000.000000", None), ("index/indexmap", b"garbage"), ("chaser.chk", b"\0" * 8)):
            path = target / name
            if data is None:
                if not path.exists():
                    path.write_bytes(b"\x55" * (self.shared / "node" / name).stat().st_size)
                else:
                    pieces.flip(path)
            else:
                path.parent.mkdir(exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(data)
        done = self.ferry(*words)
        self.assertIn("fetched again", "".join(x.get("text", "") for x in done.lines))
        self.assertEqual(done.summary["files_kept"] + done.summary["files_restored"], done.summary["files_total"])
        self.assert_whole(target)
        self.assertEqual((target / "chunk-000000.000000").read_bytes(), (self.shared / "node/chunk-000000.000000").read_bytes())


class TooEarly(pieces.Small):
    """A supervisor starts the server while the restore runs, or after it was killed: no damage, and the same command completes it."""

    def server_starts_too_early(self, target):
        """What a server does first: its own checkpoints where there are none, folders, and then it finds that they do not fit."""
        for name, value in (("writer.chk", 0), ("epoch.chk", -1), ("proposal.chk", -1), ("truncate.chk", -1)):
            path = target / name
            if not path.exists():
                path.write_bytes(value.to_bytes(8, "little", signed=True))
        (target / "index").mkdir(exist_ok=True)
        (target / "index/stream-existence").mkdir(exist_ok=True)

    def test_killed_at_every_step_and_started(self):
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--jobs", "1"]
        self.ferry(*words, "--target", self.dir / "reference", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=self.dir / "count"))
        reference = tree(self.dir / "reference")
        steps = len(pieces.steps_of(self.dir / "count"))
        outcomes = {}
        for step in range(1 + FIRST, steps + 1, APART):
            target = self.dir / "target"
            process = []
            shutil.rmtree(target, ignore_errors=True)

            def kill(_):
                process[0].kill()
                process[0].wait()

            with pieces.Helper(self.dir, kill) as helper:
                env = ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="kill", CF_STEP_TRACE=self.dir / "trace")
                process.append(subprocess.Popen([str(ferry.STEPPING), *map(str, words), "--target", str(target)], env=env, stdout=subprocess.DEVNULL,
                                                stderr=subprocess.DEVNULL))
                process[0].wait(60)
            if not target.exists():
                outcomes["nothing there"] = outcomes.get("nothing there", 0) + 1
                continue
            check = ferry.start_check(target, "--seed", pieces.SEED)
            has_writer, has_chaser = (target / "writer.chk").exists(), (target / "chaser.chk").exists()
            state = "would start" if check.returncode == 0 else "would not start"
            outcomes[state] = outcomes.get(state, 0) + 1
            where = f"step {step} of {steps}: {(self.dir / 'trace').read_text()[-300:]}\n{check.stdout}"
            self.assertNotEqual(check.returncode, 2, where)     # would start, with something lost
            if has_chaser:      # before that there is nothing a server could damage
                self.assertEqual(check.returncode == 0, has_writer, where)
            before = {k: v for k, v in tree(target).items() if k.startswith("chunk-") or "index/" in k}
            if check.returncode != 0 and has_chaser:
                self.server_starts_too_early(target)
                self.check_start(target, "--seed", pieces.SEED, code=1)
                self.assertEqual({k: v for k, v in tree(target).items() if k in before}, before, where)
            if has_writer and not (target / MARKER).exists():
                self.assertEqual(tree(target), reference, where)
                continue
            done = self.ferry(*words, "--target", target, "--json").summary
            self.assertEqual(done["files_kept"] + done["files_restored"], done["files_total"], where)
            self.assert_whole(target)
            self.assertEqual(tree(target), reference, where)
            shutil.rmtree(target)
        print(f"{steps} steps: {outcomes}")
        self.assertGreater(outcomes["would not start"], steps // APART // 4)

    def test_server_made_a_new_database_first(self):
        """Killed before chaser.chk stands, a server finds an empty folder and makes a database of its own in it."""
        repo = self.repository_copy()
        target = self.dir / "target"
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1"]
        self.ferry(*words, "--target", self.dir / "reference")
        new = self.make_node("--chunks", 0, "--chunk-size", 65536, "--seed", 99, "--tables", 1, name="new")
        shutil.copytree(new, target, copy_function=shutil.copy2)
        (target / MARKER).write_text(f"kdb-1 {repo.roots()[0].name}\n")
        self.ferry(*words, "--target", target)
        self.check_start(target, "--seed", pieces.SEED)
        left = tree(target)
        for name, data in tree(self.dir / "reference").items():
            self.assertEqual(left[name], data, name)

    def test_errors_at_every_step(self):
        """Each call on the target fails once: exit 1, nothing that starts half, and the next try completes it."""
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--jobs", "1"]
        self.ferry(*words, "--target", self.dir / "reference", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=self.dir / "count"))
        steps = pieces.steps_of(self.dir / "count")
        for number, operation, name in steps[FIRST::APART]:
            target = self.dir / "target"
            env = ferry.environment(CF_STEP_AT=number, CF_STEP_ERRNO=22, CF_STEP_TRACE=self.dir / "trace")
            done = ferry.run(*words, "--target", target, binary=ferry.STEPPING, env=env)
            where = f"step {number} {operation} {name}\n{done}"
            if done.code == 0:      # looks that are best effort, and closing a descriptor
                self.assert_whole(target)
            else:
                self.assertEqual(done.code, 1, where)
                self.assertTrue("injected" in done.err or "writer.chk" in done.err, where)
                if (target / "truncate.chk").exists() and not (target / MARKER).exists():
                    self.refused(1, "is not empty", *words, "--target", target)     # only the last fsync failed
                else:
                    self.ferry(*words, "--target", target)
                self.assert_whole(target)
            shutil.rmtree(target, ignore_errors=True)

    def test_errors_that_say_the_disk_is_full(self):
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--jobs", "1"]
        self.ferry(*words, "--target", self.dir / "reference", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=self.dir / "count"))
        writes = [n for n, operation, _ in pieces.steps_of(self.dir / "count") if operation in ("pwrite", "sync", "rename_at")]
        failed = 0
        for number in writes[::3]:
            target = self.dir / "target"
            done = ferry.run(*words, "--target", target, binary=ferry.STEPPING,
                             env=ferry.environment(CF_STEP_AT=number, CF_STEP_ERRNO=25, CF_STEP_TRACE=self.dir / "trace"))
            # Threads make the numbers shift a little from run to run: what was hit stands in the trace.
            hit = pieces.steps_of(self.dir / "trace")[number - 1][1]
            if hit in ("pwrite", "sync", "rename_at"):
                failed += 1
                self.assertEqual(done.code, 1, (hit, done))
                self.assertIn("injected", done.err, (hit, done))
            else:
                self.assertIn(done.code, (0, 1), (hit, done))
            self.assertNotIn(".chunkferry.tmp", " ".join(tree(target)), done)
            shutil.rmtree(target)
        self.assertGreater(failed, 5)


ferry.main(__name__)
