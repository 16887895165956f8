#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bench's nodes are what they say: whole records, good MD5, the ratio of real events, the same each time."""
import subprocess
import sys

sys.path[:0] = ["tests/cli", "tests/bench"]
import data  # noqa: E402
import ferry  # noqa: E402
from kurrentdb import chunk, record  # noqa: E402

MIB = 1 << 20


class Data(ferry.Case):
    def test_chunks_are_format_true(self):
        data.write_node(self.dir / "node", 2, 4 * MIB)
        for number in range(2):
            whole = chunk.ChunkFile(str(self.dir / "node" / chunk.name(number)))
            self.assertTrue(whole.md5_good and whole.footer.completed)
            positions = [record.parse(raw).position for _, raw in record.frames(whole.data, len(whole.data))]
            self.assertEqual(positions[0], number * 4 * MIB)
            self.assertGreater(len(whole.data), 4 * MIB - 2048)
            self.assertGreater(len(positions), 5000)
            packed = subprocess.run(["zstd", "-q", "-3", "-c", whole.path], capture_output=True, check=True).stdout
            self.assertAlmostEqual(len(whole.raw) / len(packed), 4.5, delta=0.5)

    def test_the_same_each_time(self):
        for name in ("a", "b"):
            data.write_node(self.dir / name, 1, MIB)
            (self.dir / name / chunk.name(1)).unlink()      # the ongoing one's id is by chance
        self.assert_same_tree(self.dir / "a", self.dir / "b")

    def test_a_change_is_seen_and_nothing_else(self):
        """Backed up, the one other file is read and sent; with 3 of 20 the rest is reused."""
        db, url = self.dir / "many", self.repository()
        data.write_many(db, 20)
        self.backup(url, db)
        data.change(db, [5, 10, 15], 1)
        told = self.backup(url, db).summary
        self.assertEqual(told["packs_new"], 3, told)
        self.assertEqual(len(chunk.listing(db)), 21)
        data.change(db, [5], 2)
        self.assertEqual(self.backup(url, db).summary["packs_new"], 1)

    def test_many_snapshots_are_listed(self):
        db, url = self.dir / "many", self.repository()
        data.write_many(db, 2)
        self.backup(url, db, node="n")
        data.multiply_root(self.dir / "repository/nodes/n", 30)
        self.assertEqual(len(set(self.snapshots(url, node="n"))), 30)


ferry.main(__name__)
