# SPDX-License-Identifier: Apache-2.0
"""A chunk or table of the node is damaged: the run stops with exit 3 and names the snapshot that still has a good copy, if there is one."""
import hashlib
import shutil
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


class Damage(pieces.Small):
    def words(self, repo, db, *more):
        return ["backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, *more]

    def scavenge(self, db, first, last):
        done = subprocess.run([*ferry.NODE, "scavenge", "--db", str(db), str(first), str(last)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return next(db.glob(f"chunk-{first:06d}.*"))

    def stopped(self, repo, db, name, good, *more):
        done = self.refused(3, f"{name}' is damaged: its last 16 bytes say MD5 ", *self.words(repo, db, *more))
        self.assertEqual(f"snapshot {good} still has a good copy of it" in done.err if good else "still has a good copy" not in done.err, True, done)
        self.assertIn("hint: ", done.err)
        return done

    def test_full_names_the_parent(self):
        repo, db = self.repository_copy(), self.node_copy()
        good = repo.roots()[0].name
        pieces.flip(db / "chunk-000001.000000", 5000)
        self.stopped(repo, db, "chunk-000001.000000", good, "--mode", "full")
        self.assertEqual(len(repo.roots()), 1)
        self.ferry(*self.words(repo, db))       # differential: what the parent has is not read
        shutil.rmtree(repo.path / "nodes")
        self.stopped(repo, db, "chunk-000001.000000", None, "--mode", "full")

    def test_full_needs_no_readable_parent(self):
        repo, db = self.repository_copy(), self.node_copy()
        for segment in repo.run_files(kind="files"):
            pieces.flip(segment)
        done = self.ferry(*self.words(repo, db, "--mode", "full"))
        self.assertEqual(len(repo.roots()), 2, done)
        self.restore(repo.url, self.dir / "restored")
        self.assert_whole(self.dir / "restored")

    def test_table(self):
        repo, db = self.repository_copy(), self.node_copy()
        good = repo.roots()[0].name
        table = next(p for p in sorted((db / "index").iterdir()) if len(p.name) == 36)
        pieces.flip(table)
        done = self.stopped(repo, db, table.name, good, "--mode", "full")
        self.assertIn("the index can be rebuilt", done.err)

    def test_scavenged_and_merged_since(self):
        """The bad file is new; what it was made of is in the parent."""
        for first, last in ((1, 1), (0, 2)):
            repo, db = self.repository_copy(f"repository-{first}"), self.node_copy(f"node-{first}")
            good = repo.roots()[0].name
            new = self.scavenge(db, first, last)
            pieces.flip(new, 4096)
            for mode in ("differential", "full"):
                self.stopped(repo, db, new.name, good, "--mode", mode)

    def test_only_a_part_is_in_the_parent(self):
        """Merged with a chunk that was ongoing when the parent was made: nobody has a completed copy of all of it."""
        repo, db = self.repository_copy(), self.node_copy()
        with ferry.LiveNode(db, self.dir, "--no-epoch") as node:
            node.tell("append-until-rollover")
            node.tell("scavenge 2 3")
        new = next(p for p in db.glob("chunk-000002.*"))
        pieces.flip(new, 4096)
        for mode in ("differential", "full"):
            self.stopped(repo, db, new.name, None, "--mode", mode)

    def test_encrypted_ongoing_chunk_is_completed_while_it_is_read(self):
        """It is stored whole, and completing it makes the file shorter: the run says so, or has the one or the other state of it."""
        db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", 3, "--transform", 1, name="encrypted")
        name = max(p.name for p in db.glob("chunk-*"))
        writer = struct.unpack("<q", (db / "writer.chk").read_bytes())[0] % 65536

        def complete(path):
            data = path.read_bytes()[:128 + writer]
            size = -(-(len(data) + 128) // 4096) * 4096
            footer = bytes([3]) + struct.pack("<iqi", writer, writer, 0) + bytes(95)
            data += bytes(size - 128 - len(data)) + footer
            with open(path, "r+b") as file:
                file.write(data + hashlib.md5(data).digest())
                file.truncate()

        repo, count = self.repository_copy(), self.dir / "count"
        words = ["--node", "kdb-e", "--mode", "full", "--jobs", 1]
        self.ferry("backup", "--repo", repo.url, "--db", db, *words, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=count))
        codes = []
        reads = [n for n, operation, _ in pieces.steps_of(count) if operation in ("pread", "stat_fd")]
        for step in reads[-24:]:
            node, repo = Path(shutil.copytree(db, self.dir / "node", copy_function=shutil.copy2)), self.repository_copy(f"repository-{step}")
            with pieces.Helper(self.dir, lambda _, node=node: complete(node / name)) as helper:
                done = ferry.run("backup", "--repo", repo.url, "--db", node, *words, binary=ferry.STEPPING,
                                 env=ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="x"))
                self.assertIsNone(helper.failed)
            codes.append(done.code)
            if done.code == 0:
                self.restore(repo.url, self.dir / "restored", node="kdb-e")
                left = (self.dir / "restored" / name).read_bytes()
                states = [(db / name).read_bytes(), (node / name).read_bytes()]
                self.assertIn(left, states, f"step {step}")
                shutil.rmtree(self.dir / "restored")
            else:
                self.assertEqual(done.code, 3, done)
                self.assertIn(f"{name}' ended at ", done.err)
                self.assertIn("hint: it was cut while it was read; run again", done.err)
                self.assertEqual(self.snapshots(repo.url, node="kdb-e"), [])
            shutil.rmtree(node)
        self.assertEqual(set(codes), {0, 3}, codes)


ferry.main(__name__)
