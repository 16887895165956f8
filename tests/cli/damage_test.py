# SPDX-License-Identifier: Apache-2.0
"""A chunk or table of the node is damaged: the run stops with exit 3 and names the snapshot that still has a good copy, if there is one."""
import shutil
import subprocess
import sys

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


ferry.main(__name__)
