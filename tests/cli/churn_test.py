# SPDX-License-Identifier: Apache-2.0
"""A node of many small files that change, with prune behind each run: what is stored stays under 1.5 times what the kept snapshots name.

CHUNKFERRY_LONG=1: 100,000 files and 60 runs, once with few snapshots kept and once with many.
"""
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

LONG = os.environ.get("CHUNKFERRY_LONG") == "1"
FILES, RUNS = (100_000, 60) if LONG else (2_500, 14)
RATIO_MAX = 1.5


class Churn(ferry.Case):
    def lines(self, root, kind):
        for segment in root["segments"]:
            if segment["kind"] == kind:
                with subprocess.Popen(["zstd", "-dc", str(self.node / "runs" / segment["key"])], stdout=subprocess.PIPE) as p:
                    for line in p.stdout:
                        yield json.loads(line)

    def live_bytes(self):
        """Bytes of packs that any kept snapshot names; ranges that several name count once."""
        ranges = set()
        for path in (self.node / "snapshots").iterdir():
            if path.stat().st_size == 0:
                continue  # a fence
            for line in self.lines(json.loads(path.read_text()), "files"):
                ranges.update((x["pack"], x["at"], x["len"]) for x in line.get("extents", []))
        return sum(x[2] for x in ranges)

    def stored_bytes(self):
        return sum(p.stat().st_size for p in (self.node / "runs").rglob("*-pack*"))

    def write(self, i, rnd):
        path = self.src / f"d{i % 97:02}" / f"f{i}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rnd.randbytes(rnd.randrange(600, 5400)))

    def churn(self, share, skewed, keep, rnd):
        self.src = self.dir / "src"
        shutil.rmtree(self.src, ignore_errors=True)
        shutil.rmtree(self.dir / "repository", ignore_errors=True)
        self.src.mkdir()
        url = self.repository()
        self.node = self.dir / "repository/nodes/t"
        for i in range(FILES):
            self.write(i, rnd)
        worst, sent, new = 0.0, 0, 0
        for n in range(RUNS + 1):
            if n > 0:
                changed = {rnd.randrange(FILES // 10 if skewed and rnd.random() < 0.9 else FILES) for _ in range(int(FILES * share))}
                for i in changed:
                    self.write(i, rnd)
            time.sleep(0.15)
            s = self.ferry("backup", "--repo", url, "--node", "t", "--profile", "directory", "--dir", self.src, "--json").summary
            self.ferry("prune", "--repo", url, "--node", "t", "--keep-last", keep)
            if n > 0:
                sent += s["bytes_changed"]
                new += sum(os.path.getsize(self.src / f"d{i % 97:02}" / f"f{i}") for i in changed)
            if not LONG or n % 5 == 0 or n == RUNS:
                stored, live = self.stored_bytes(), self.live_bytes()
                worst = max(worst, stored / live)
        print(f"{FILES} files, {RUNS} runs, {share:.1%} changed {'skewed' if skewed else 'evenly'}, {keep} kept: at the most {worst:.2f} times the live bytes, "
              f"at the end {stored / live:.2f} ({stored} stored, {live} live); sent {sent / new:.2f} times what was new")
        self.assertLess(worst, RATIO_MAX)
        expected = tree.describe(self.src)
        self.ferry("restore", "--repo", url, "--node", "t", "latest", "--target", self.dir / "out")
        self.assertEqual(tree.describe(self.dir / "out") == expected, True)
        shutil.rmtree(self.dir / "out")

    def test_churn(self):
        rnd = random.Random(tree.seed())
        cases = [(0.05, False, 3), (0.01, False, 1)]
        if LONG:
            cases += [(0.01, False, 10), (0.05, True, 1), (0.05, True, 10), (0.2, False, 3)]
        for share, skewed, keep in cases:
            with self.subTest(share=share, skewed=skewed, keep=keep):
                self.churn(share, skewed, keep, rnd)


ferry.main(__name__)
