# SPDX-License-Identifier: Apache-2.0
"""A server was started on a half-filled target: what it left and the snapshot does not have must be gone when the restore is done."""
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

TABLE = "99999999-9999-9999-9999-999999999999"
LEFT = {    # what the reference saw a server leave, and what newer ones may
    "epoch.chk": b"\xff" * 8, "proposal.chk": b"\xff" * 8, "truncate.chk": b"\xff" * 8, "writer.chk": bytes(8), "tag.chk": b"\1" + bytes(7),
    "kurrent.ddb": b"duck", "kurrent.ddb.wal": b"a wal of another file", "chunk-000000.000009": b"\2" * 4096,
    "index/stream-existence/streamExistenceFilter.chk": (10**6).to_bytes(8, "little"),
    "index/stream-existence/streamExistenceFilter.dat": bytes(273066), "index/scavenging/scavenging.db-wal": b"wal",
    "index/indexmap": b"its own", f"index/{TABLE}": b"a table", f"index/{TABLE}.bloomfilter": b"a filter",
}
FOREIGN = {"notes.txt": b"an operator's", "index/readme": b"an operator's", "logs/server.log": b"x"}


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


class Leftovers(pieces.Small):
    def leave(self, target, files, over=False):
        """A server makes what is missing and changes nothing that is there; over: somebody changed that too."""
        for name, data in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not over:
                continue
            if path.exists():
                path.chmod(0o644)
            path.write_bytes(data)

    def snapshot_without_filter(self):
        repo, db = self.repository_copy(), self.node_copy()
        self.backup(repo.url, db, "--without-existence-filter")
        return repo, ["restore", "latest", "--repo", repo.url, "--node", "kdb-1"]

    def test_a_server_ran_on_it_since(self):
        """Killed between its last file and the marker's removal, then the node was started: the same command must not destroy it."""
        repo, db = self.repository_copy(), self.node_copy()
        self.backup(repo.url, db)
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target"]
        self.ferry(*words)
        target = self.dir / "target"
        (target / ".chunkferry-restore").write_text(f"kdb-1 {self.snapshots(repo.url)[-1]}\n")
        self.ferry(*words)  # nothing ran: it goes on, and is done
        (target / ".chunkferry-restore").write_text(f"kdb-1 {self.snapshots(repo.url)[-1]}\n")
        writer = int.from_bytes((target / "writer.chk").read_bytes(), "little")
        (target / "writer.chk").write_bytes((writer + 4711).to_bytes(8, "little"))
        before = tree(target)
        self.refused(1, "a server has written to the target", *words, hint="remove '.chunkferry-restore'")
        self.assertEqual(tree(target), before)

    def test_left_between_two_tries(self):
        repo, words = self.snapshot_without_filter()
        self.ferry(*words, "--target", self.dir / "reference")
        reference = tree(self.dir / "reference")
        self.assertNotIn("index/stream-existence/streamExistenceFilter.dat", reference)
        target = self.dir / "target"
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.refused(4, pack.name, *words, "--target", target)
        (self.dir / "pack").rename(pack)
        self.leave(target, {**LEFT, **FOREIGN}, over=True)
        done = self.ferry(*words, "--target", target, "-v")
        self.assertIn("removed index/stream-existence/streamExistenceFilter.chk", done.out + done.err)
        self.assertEqual(tree(target), {**reference, **FOREIGN})
        self.check_start(target, "--seed", pieces.SEED)

    def test_left_while_one_restore_runs(self):
        """At every step of a restore that nothing interrupts, so also behind the last chunk."""
        _, words = self.snapshot_without_filter()
        words += ["--jobs", "1"]
        self.ferry(*words, "--target", self.dir / "reference", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=self.dir / "count"))
        reference = tree(self.dir / "reference")
        steps = pieces.steps_of(self.dir / "count")
        first = next(n for n, operation, name in steps if operation == "rename_at" and name == "chaser.chk") + 1
        last = next(n for n, operation, name in steps if operation == "lock" and n > first)
        for step in range(first, last + 1, 5):
            target = self.dir / "target"
            with pieces.Helper(self.dir, lambda _, target=target: self.leave(target, LEFT)) as helper:
                env = ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="leave", CF_STEP_TRACE=self.dir / "trace")
                done = ferry.run(*words, "--target", target, binary=ferry.STEPPING, env=env)
                self.assertIsNone(helper.failed)
            self.assertEqual(done.code, 0, done)
            self.assertEqual(tree(target), reference, f"step {step}: {steps[step - 1]}")
            shutil.rmtree(target)

    def test_killed_behind_the_last_step(self):
        """writer.chk and truncate.chk stand, the marker too, and a chunk is damaged: while it is fetched again nothing may start."""
        repo = self.repository_copy()
        words = ["restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target"]
        self.ferry(*words)
        target = self.dir / "target"
        reference = tree(target)
        (target / ".chunkferry-restore").write_text(f"kdb-1 {repo.roots()[0].name}\n")
        pieces.flip(target / "chunk-000002.000000")
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.refused(4, pack.name, *words)
        self.assertFalse((target / "writer.chk").exists())
        self.assertFalse((target / "truncate.chk").exists())
        self.check_start(target, code=1)
        (self.dir / "pack").rename(pack)
        self.ferry(*words)
        self.assertEqual(tree(target), reference)


ferry.main(__name__)
