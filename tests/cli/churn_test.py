# SPDX-License-Identifier: Apache-2.0
"""A node of many small files that change, with prune behind each run: what is stored stays under 1.5 times what the kept snapshots name.

CHUNKFERRY_LONG=1: 100,000 files and 60 runs, once with few snapshots kept and once with many; CHURN_CASES=1,3 only these of them.
"""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, "tests/cli")
import churn_model
import ferry
import tree

LONG = os.environ.get("CHUNKFERRY_LONG") == "1"
FILES, RUNS = (100_000, 60) if LONG else (2_500, 10)
RATIO_MAX, MODEL_MAX = 1.5, 1.4
if os.access("/dev/shm", os.W_OK):
    tempfile.tempdir = "/dev/shm"       # most of the time would go to waiting for syncs
EXTENT = re.compile(rb'"pack":"([^"]+)","at":([0-9]+),"len":([0-9]+)')


class Churn(ferry.Case):
    def ranges(self, root):
        """What one snapshot names of packs. By a pattern: a hundred thousand lines of JSON take seconds."""
        found, lines = set(), 0
        for segment in root["segments"]:
            if segment["kind"] == "files":
                text = subprocess.run(["zstd", "-dc", str(self.node / "runs" / segment["key"])], stdout=subprocess.PIPE, check=True).stdout
                found.update(m.groups() for m in EXTENT.finditer(text))
                lines += text.count(b'"pack":')
        self.assertEqual(len(found), lines, "an extent is written in another way")
        return found

    def live_bytes(self):
        """Bytes of packs that any kept snapshot names; ranges that several name count once."""
        kept = {p.name: p for p in (self.node / "snapshots").iterdir() if p.stat().st_size > 0}     # the others are fences
        self.named = {name: self.named.get(name) or self.ranges(json.loads(p.read_text())) for name, p in kept.items()}
        return sum(int(x[2]) for x in set().union(*self.named.values()))

    def stored_bytes(self):
        return sum(p.stat().st_size for p in (self.node / "runs").rglob("*-pack*"))

    def write(self, i, rnd):
        path = self.src / f"d{i % 97:02}" / f"f{i}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rnd.randbytes(rnd.randrange(600, 5400)))
        return path

    def churn(self, share, skewed, keep, rnd):
        self.src = self.dir / "src"
        shutil.rmtree(self.src, ignore_errors=True)
        shutil.rmtree(self.dir / "repository", ignore_errors=True)
        self.src.mkdir()
        url = self.repository()
        self.node, self.named = self.dir / "repository/nodes/t", {}
        for i in range(FILES):
            self.write(i, rnd)
        worst, sent, new, most = 0.0, 0, 0, 0
        for n in range(RUNS + 1):
            changed = set()
            if n > 0:
                changed = {rnd.randrange(FILES // 10 if skewed and rnd.random() < 0.9 else FILES) for _ in range(int(FILES * share))}
            fresh = sum(self.write(i, rnd).stat().st_size for i in changed)
            time.sleep(0.15)
            s = self.ferry("backup", "--repo", url, "--node", "t", "--profile", "directory", "--dir", self.src, "--json").summary
            self.ferry("prune", "--repo", url, "--node", "t", "--keep-last", keep)
            if n > 0:
                sent, new, most = sent + s["bytes_changed"], new + fresh, max(most, s["bytes_changed"] - fresh)
            stored, live = self.stored_bytes(), self.live_bytes()
            worst = max(worst, stored / live)
        print(f"{FILES} files, {RUNS} runs, {share:.1%} changed {'skewed' if skewed else 'evenly'}, {keep} kept: at the most {worst:.2f} times the live bytes, "
              f"at the end {stored / live:.2f} ({stored} stored, {live} live); sent {sent / new:.2f} times what was new, "
              f"again at the most {most} bytes in one run", flush=True)
        self.assertLess(worst, RATIO_MAX)
        expected = tree.describe(self.src)
        self.ferry("restore", "--repo", url, "--node", "t", "latest", "--target", self.dir / "out")
        self.assertEqual(tree.describe(self.dir / "out") == expected, True)
        shutil.rmtree(self.dir / "out")

    def test_churn(self):
        cases = [(0.05, False, 3)]
        if LONG:
            cases += [(0.01, False, 1), (0.01, False, 10), (0.05, True, 1), (0.05, True, 10), (0.2, False, 3), (0.2, False, 1)]
        only = [int(x) for x in os.environ.get("CHURN_CASES", "").split(",") if x] or range(len(cases))
        for share, skewed, keep in (cases[i] for i in only):
            with self.subTest(share=share, skewed=skewed, keep=keep):
                self.churn(share, skewed, keep, random.Random(f"{tree.seed()}/{share}/{skewed}/{keep}"))

    def test_model(self):
        """Any mix of change rates, for nodes of few packs and of many."""
        rule, files = churn_model.Rule(), 10000 if LONG else 1500
        seen = {(name, skewed, packs): churn_model.churn(rule, pattern, skewed, packs, files=files, runs=60 if LONG else 30)
                for name, pattern in churn_model.PATTERNS.items() for skewed in (False, True) for packs in (5, 50)}
        worst = max(seen, key=lambda c: seen[c][0])
        print(f"model: at the most {seen[worst][0]:.2f} times the live bytes ({worst}), sent at the most {max(s[1] for s in seen.values()):.1f} times what was new")
        self.assertLess(seen[worst][0], MODEL_MAX)


ferry.main(__name__)
