# SPDX-License-Identifier: Apache-2.0
"""inspect: what a directory is, and whether a backup would succeed; the same words and exit codes as the backup's. A stopped node."""
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


class Inspect(pieces.Small):
    def verb(self, db, *words):
        done = subprocess.run([*ferry.NODE, words[0], "--db", str(db), *map(str, words[1:])], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def inspect(self, db, *words, code=0):
        return self.ferry("inspect", "--db", db, *words, code=code)

    def facts(self, db, *words, code=0):
        return self.inspect(db, "--json", *words, code=code).summary["facts"]

    def test_a_whole_node(self):
        db = self.node_copy()
        out = self.inspect(db).out
        for part in ("checkpoints   chaser ", "chunks        0..3 in 4 files", "3 completed, 1 ongoing, 0 scavenged, 0 merged", "chunk headers 4",
                     "index         2 tables, committed up to", "cluster       ", "a backup now would: succeed\n"):
            self.assertIn(part, out)
        self.assertTrue(self.inspect(db, "--json").summary["fit"])

    def test_what_is_no_node(self):
        (self.dir / "empty").mkdir()
        (self.dir / "file").write_text("x")
        (self.dir / "some").mkdir()
        (self.dir / "some/notes.txt").write_text("x")
        for path, part in (("empty", "is not the data directory of a KurrentDB or EventStoreDB node: it has no 'writer.chk'"),
                           ("some", "it has no 'writer.chk'"), ("missing", "does not exist"), ("file", "file")):
            done = self.refused(3, part, "inspect", "--db", self.dir / path)
            self.assertEqual(done.out, "")
        self.refused(2, "no database directory given", "inspect")

    def test_index_elsewhere(self):
        db = self.node_copy()
        (db / "index").rename(self.dir / "index")
        done = self.inspect(db)
        self.assertIn("there is no index folder", done.out + done.err)
        self.assertIn("--index", done.out + done.err)
        self.assertIn("index         2 tables", self.inspect(db, "--index", self.dir / "index").out)
        self.refused(3, "the index directory '/nonexistent' does not exist", "inspect", "--db", db, "--index", "/nonexistent")

    def test_no_permission(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        who = {"user": pieces.NOBODY, "group": pieces.NOBODY, "extra_groups": []}
        db = self.node_copy()
        for name in ("writer.chk", "chunk-000001.000000", "index/indexmap"):
            mode = (db / name).stat().st_mode
            (db / name).chmod(0o600)
            self.refused(3, name.split("/")[-1], "inspect", "--db", db, hint="run as the server's user", **who)
            (db / name).chmod(mode)
        db.chmod(0o700)
        self.refused(3, str(db), "inspect", "--db", db, hint="run as the server's user", **who)
        db.chmod(0o755)
        self.ferry("inspect", "--db", db, **who)

    def test_all_refusals_at_once_in_the_words_of_the_backup(self):
        db = self.node_copy()
        self.verb(db, "truncate-pending", 70000)
        (db / "kurrent.ddb").write_bytes(b"duck")
        (db / "chunk-000001.000000").unlink()
        done = self.inspect(db, code=3)
        for part in ("a backup now would: be refused because", "'db/truncate.chk' is 70000, expected -1", "'db/kurrent.ddb' holds secondary indexes",
                     "chunks 1..1 are missing in 'db'", "HINT"):
            self.assertIn(part, done.out)
        refusals = self.facts(db, code=3)["refusals"]
        self.assertEqual(len(refusals), 3)
        repo = self.repository_copy()
        backup = self.refused(3, refusals[0].splitlines()[0], "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db)
        self.assertIn("hint: ", backup.err)

    def test_layouts(self):
        for layout, versions in (("23.10", [3]), ("24.10", [4])):
            db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--layout", layout, name=f"node-{layout}")
            facts = self.facts(db)
            self.assertEqual((facts["chunk_versions"], facts["chunk_size"]), (versions, 65536))

    def test_epoch_record_in_a_scavenged_chunk(self):
        """epoch.chk is looked up through the chunk's map, as a server does at its start."""
        db = self.node_copy()
        self.verb(db, "elect")
        self.verb(db, "append-until-rollover")
        self.verb(db, "append", "--bytes", 2000)
        number = self.facts(db)["epoch"]["number"]
        epoch = self.facts(db)["epoch"]["position"]
        self.assertGreater(epoch, 2 * 65536)
        self.verb(db, "scavenge", 2, epoch // 65536)
        facts = self.facts(db)
        self.assertEqual((facts["epoch"]["number"], facts["epoch"]["position"], facts["chunks"]["scavenged"]), (number, epoch, 1))
        for wrong in (epoch + 8, 2 * 65536):
            (db / "epoch.chk").write_bytes(struct.pack("<q", wrong))
            done = self.inspect(db, code=3)
            self.assertIn(f"'db/epoch.chk' is {wrong}, but no epoch record stands there", done.out)


class Stopped(pieces.Small):
    def test_secondary_indexes_of_a_stopped_node(self):
        repo = self.repository_copy()
        db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", 7, "--layout", "25", "--epoch-id", "7f0e9a50-5a1c-4b58-9d39-7d1a0c8f9f11",
                            name="node-25")
        (db / "kurrent.ddb").write_bytes(os.urandom(300000))
        (db / "kurrent.ddb.wal").write_bytes(b"wal" * 1000)
        words = ["--repo", repo.url, "--node", "kdb-25", "--db", db]
        self.refused(3, "holds secondary indexes, which cannot be copied from a running node", "backup", *words, hint="--source stopped")
        self.ferry("backup", *words, "--source", "stopped")
        self.ferry("restore", "latest", "--repo", repo.url, "--node", "kdb-25", "--target", self.dir / "restored")
        for name in ("kurrent.ddb", "kurrent.ddb.wal"):
            self.assertEqual((self.dir / "restored" / name).read_bytes(), (db / name).read_bytes())
        self.check_start(self.dir / "restored", "--seed", 7)
        # Left out: neither file may come back.
        self.ferry("backup", *words, "--without-secondary-indexes")
        done = self.ferry("restore", "latest", "--repo", repo.url, "--node", "kdb-25", "--target", self.dir / "without")
        self.assertIn("Left out: secondary indexes", done.out)
        self.assertEqual(list((self.dir / "without").glob("kurrent*")), [])

    def test_started_during_the_run(self):
        """At steps all over the run: running still at the end, or already stopped again."""
        count = self.dir / "count"
        db, repo = self.node_copy(), self.repository_copy()
        base = ["--node", "kdb-1", "--source", "stopped", "--mode", "full", "--jobs", 1]
        self.ferry("backup", "--repo", repo.url, "--db", db, *base, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=count))
        steps = pieces.steps_of(count)
        first = next(n for n, operation, _ in steps if operation == "list")
        last = next(n for n, operation, _ in reversed(steps) if operation == "lock") - 2
        for stop in (False, True):
            for step in range(first, last, max(1, (last - first) // 6)):
                name = f"{stop}-{step}"
                db, repo = self.node_copy(f"node-{name}"), self.repository_copy(f"repository-{name}")
                nodes = []

                def start(_, db=db, nodes=nodes, stop=stop):
                    try:
                        nodes.append(ferry.LiveNode(db, self.dir))
                    except RuntimeError:    # between a lock and its unlock: the node finds its files in use, and ends
                        return
                    nodes[0].tell("append 3000")
                    if stop:
                        nodes[0].__exit__()

                try:
                    with pieces.Helper(self.dir, start) as helper:
                        env = ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="start", CF_STEP_TRACE=self.dir / "trace")
                        done = ferry.run("backup", "--repo", repo.url, "--db", db, *base, binary=ferry.STEPPING, env=env)
                        self.assertIsNone(helper.failed)
                finally:
                    if nodes and not stop:
                        nodes[0].__exit__()
                where = f"{name}: {steps[step - 1]}\n{done}"
                if done.code == 0:      # it came and went before anything was looked at
                    self.assertTrue(stop or not nodes, where)
                    self.restore(repo.url, self.dir / f"restored-{name}")
                    self.assert_whole(self.dir / f"restored-{name}")
                else:
                    self.assertEqual((done.code, len(repo.roots())), (3, 1), where)
                shutil.rmtree(db)
                shutil.rmtree(repo.path)


ferry.main(__name__)
