# SPDX-License-Identifier: Apache-2.0
"""A low limit of open files: chunks are opened in batches, and what a scavenge replaces between two of them is noticed."""
import resource
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

SEED, CHUNKS = 31, 300
NEEDED = 64 + 40    # a pipeline full of files, and what the program itself has open


def limited(soft, hard):
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))}


class Descriptors(ferry.Case):
    def setUp(self):
        super().setUp()
        self.db = self.make_node("--chunks", CHUNKS, "--chunk-size", 16384, "--seed", SEED, "--tables", 2)
        self.url = self.repository()

    def words(self, *more):
        return ["backup", "--repo", self.url, "--node", "kdb-1", "--db", self.db, *more]

    def test_too_low_is_said_before_anything_is_sent(self):
        for limit in (40, 64, 100):
            self.refused(3, f"the limit of open files is {limit}", *self.words(), hint="ulimit -n", **limited(limit, limit))
        self.assertEqual(self.snapshots(self.url), [])
        self.assertEqual(list((self.dir / "repository").rglob("*.zst")), [])

    def test_enough_in_batches(self):
        for limit in (NEEDED + 24, 256, 300, 450):
            self.ferry(*self.words("--mode", "full"), **limited(limit, limit))
        self.restore(self.url, self.dir / "restored")
        self.check_start(self.dir / "restored", "--seed", SEED)

    def test_the_soft_limit_is_raised(self):
        self.ferry(*self.words(), **limited(32, 1024))

    def scavenge_at(self, limit):
        """The node replaces chunks in the middle of the run: when chunk 100 is opened the last time, or when it would be."""
        trace, count = self.dir / "trace", self.dir / "count"
        self.ferry(*self.words("--mode", "full", "--jobs", 1), binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=count), **limited(limit, limit))
        opened = [n for n, operation, name in pieces.steps_of(count) if operation == "pread"]
        with ferry.LiveNode(self.db, self.dir, "--no-epoch") as node:
            env = ferry.environment(CF_STEP_AT=opened[len(opened) - 200], CF_STEP_SOCKET=node.socket, CF_STEP_TRACE=trace,
                                    CF_STEP_COMMANDS="scavenge 150 150;scavenge 290 295")
            return ferry.run(*self.words("--mode", "full", "--jobs", 1), binary=ferry.STEPPING, env=env, **limited(limit, limit))

    def test_scavenge_between_two_batches(self):
        done = self.scavenge_at(128)
        self.assertEqual(done.code, 3, done)
        self.assertIn("vanished before it could be read: a scavenge replaced it", done.err)
        self.assertIn("ulimit -n", done.err)
        self.assertEqual(len(self.snapshots(self.url)), 1)

    def test_scavenge_behind_the_pins(self):
        done = self.scavenge_at(1024)
        self.assertEqual(done.code, 0, done)
        self.restore(self.url, self.dir / "restored")
        self.assertTrue((self.dir / "restored/chunk-000290.000000").exists())
        self.check_start(self.dir / "restored", "--seed", SEED)


ferry.main(__name__)
