# SPDX-License-Identifier: Apache-2.0
"""Packs of which little is used are emptied by later runs."""
import json
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402


class Sparse(ferry.Case):
    def packs(self):
        """The newest snapshot's packs: [(key, size, used)]."""
        node = self.dir / "repository/nodes/kdb-1"
        root = json.loads(max((node / "snapshots").iterdir()).read_text())
        lines = []
        for segment in root["segments"]:
            if segment["kind"] == "packs":
                text = subprocess.run(["zstd", "-dc", str(node / "runs" / segment["key"])], check=True, capture_output=True, text=True).stdout
                lines += [json.loads(line) for line in text.splitlines()]
        return root, [(x["pack"], x["size"], x["used"]) for x in lines]

    def test_small_packs_do_not_pile_up(self):
        db = self.make_node("--chunks", 3, "--chunk-size", 1048576, "--seed", 8, "--tables", 2)
        url = self.repository()
        self.backup(url, db)
        most_sparse = runs = 0
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 0) as node:
            for i in range(14):
                node.tell("append 60000")
                if i % 3 == 0:
                    node.tell("flush-index")
                summary = self.backup(url, db).summary
                root, packs = self.packs()
                slack = sum(p[1] for p in packs) // 120 > sum(p[2] for p in packs) // 100
                sparse = [p for p in packs if p[2] < p[1] // 100 * (90 if slack else 30)]
                self.assertEqual(root["totals"]["sparse_packs"], len(sparse))
                most_sparse = max(most_sparse, len(sparse))
                runs += 1
        small = [p for p in packs if "-pack-small" in p[0]]
        print(f"{runs} runs: {len(small)} small packs named at the end, {most_sparse} sparse ones at the most; last run {summary['bytes_changed']} bytes")
        self.assertGreater(most_sparse, 0, "the rule had nothing to do")
        self.assertLess(len(small), runs / 2)
        self.restore(url, self.dir / "restored")
        self.check_start(self.dir / "restored", "--seed", 8)


ferry.main(__name__)
