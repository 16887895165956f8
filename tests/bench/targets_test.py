#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The limits of ci/bench on made-up figures: each can be missed, and a row that was not run is never taken for met."""
import csv
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path[:0] = ["tests/cli", "tests/bench"]
import cpu  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
from measure import Run  # noqa: E402

ROUNDS = 3


def good_figures():
    """{row: {field: value}} with which every target is met, some of them just so."""
    cores = targets.CORES
    rows = {"zstd -3 -T1 > /dev/null": {"cpu": 8.0}, "zstd -3 -T2 to disk, synced": {"wall": 6.0}, "compress to disk, then PUT": {"wall": 6.0},
            "zstd -d > /dev/null": {"cpu": 2.0}, "zstd -d to files, synced": {"cpu": 3.0}, "SHA-256": {"cpu": 1.5},
            "restic backup": {"wall": 14.0, "rss": 160.0}, "restic restore": {"wall": 8.0}, "list of 1,000 snapshots": {"wall": 0.1, "rss": 12.0}}
    for store in ("Ceph", "Ceph https", "file"):
        rows[f"backup, default ({store})"] = {"wall": 8.0, "cpu": 13.0, "rss": 100.0, "server": 8.0 * cores / 1.1 - 13.0}
        rows[f"backup, no-verify ({store})"] = {"wall": 6.5, "cpu": 10.0, "rss": 100.0, "server": 6.5 * cores / 1.1 - 10.0}
        rows[f"restore ({store})"] = {"wall": 2.2, "cpu": 4.0, "rss": 40.0, "server": max(2.2 * cores / 1.1 - 4.0, 0)}
        rows[f"verify --read-data ({store})"] = {"wall": 2.0, "cpu": 4.0}
        for size in (100, 1000, 10000):
            rows[f"{size:,} chunks, no change ({store})"] = {"wall": 0.4, "requests": 13, "rss": 30.0}
            rows[f"{size:,} chunks, 3 changed ({store})"] = {"wall": 0.5, "requests": 18, "stored": 20000 + size}
    return rows


def runs_of(rows, rounds=ROUNDS):
    return [Run(number, row, **{"wall": 1.0, "cpu": 2.0, "rss": 20.0, **fields}) for number in range(1, rounds + 1) for row, fields in rows.items()]


def missed(rows, quick=False):
    wanted = targets.quick() if quick else targets.full()
    return {v.target.name for v in targets.judge(wanted, runs_of(rows), quick) if not v.met}


class Limits(unittest.TestCase):
    def test_good_figures_are_met(self):
        self.assertEqual(missed(good_figures()), set())
        self.assertEqual(missed(good_figures(), quick=True), set())

    def test_every_target_can_be_missed(self):
        """Each target's own row, made bad: that target goes, in the full run and in the quick one."""
        worse = {"cpu": 1000.0, "wall": 1000.0, "rss": 5000.0, "requests": 5000, "stored": 1 << 40}
        for quick, wanted in ((False, targets.full()), (True, targets.quick())):
            left = {t.name for t in wanted}
            for row in good_figures():
                for field, value in worse.items():
                    rows = good_figures()
                    rows[row][field] = value
                    left -= missed(rows, quick)
            self.assertEqual(left, set())

    def test_limits_are_the_issues(self):
        limits = {t.name: t.limit for t in targets.full()}
        for name, limit in (("backup, no-verify, Ceph: CPU / CPU of zstd -3", 1.30), ("backup, default, Ceph: CPU / CPU of zstd -3", 1.65),
                            ("backup, no-verify, Ceph: wall / (compress to disk, then PUT)", 1.10),
                            ("backup, default, Ceph: wall / (compress to disk, then PUT)", 1.35), ("backup, no-verify, Ceph https: wall / restic's", 0.50),
                            ("backup, default, Ceph https: wall / restic's", 0.60), ("backup, default, Ceph: peak RSS", 128),
                            ("10,000 chunks, no change (file): wall", 1.0), ("10,000 chunks, no change (Ceph): wall", 1.5),
                            ("10,000 chunks, no change (Ceph): requests", 16), ("10,000 chunks, no change (Ceph): peak RSS", 64),
                            ("restore, Ceph https: wall / restic's", 0.50), ("restore, Ceph: peak RSS", 128),
                            ("restore, Ceph: CPU / (zstd -d > /dev/null + SHA-256)", 1.25), ("verify --read-data, Ceph: wall / restore's", 1.0),
                            ("list of 1,000 snapshots, file: wall", 0.5), ("list of 1,000 snapshots, file: peak RSS", 32)):
            self.assertEqual(limits[name], limit, name)

    def test_quick_keeps_what_no_machine_changes(self):
        rows = good_figures()
        rows["1,000 chunks, no change (Ceph)"]["requests"] = 17
        rows["restore (Ceph)"]["rss"] = 129.0
        rows["backup, default (file)"]["cpu"] = 8.0 * 1.65 * 1.9     # a busy machine, not a collapse
        self.assertEqual(missed(rows, quick=True), {"1,000 chunks, no change (Ceph): requests", "restore, Ceph: peak RSS"})

    def test_missing_row_is_not_met(self):
        rows = good_figures()
        del rows["backup, no-verify (Ceph)"]
        verdicts = {v.target.name: v for v in targets.judge(targets.full(), runs_of(rows))}
        gone = verdicts["backup, no-verify, Ceph: CPU / CPU of zstd -3"]
        self.assertEqual((gone.met, gone.word, gone.missing), (False, "not measured", "backup, no-verify (Ceph)"))

    def test_ratio_is_taken_inside_each_round(self):
        """A machine that was three times slower in one round changes no ratio; medians of each row would tell another one."""
        runs = [Run(n, row, wall=w, cpu=c * slow, rss=1.0) for n, slow in ((1, 1.0), (2, 3.0), (3, 1.0)) for row, w, c in
                (("backup, default (file)", 1.0, 12.0), ("zstd -3 -T1 > /dev/null", 1.0, 8.0))]
        runs = [r for r in runs if not (r.round == 1 and r.row.startswith("zstd"))]     # and one that has no partner
        self.assertEqual(targets.Table(runs).ratios("backup, default (file)", "cpu", ["zstd -3 -T1 > /dev/null"]), [1.5, 1.5])


class Writing(unittest.TestCase):
    def test_table_says_what_was_missed(self):
        rows = good_figures()
        rows["restore (file)"]["rss"] = 200.0
        text = report.verdicts(targets.judge(targets.full(), runs_of(rows)))
        line = next(line for line in text.splitlines() if "restore, file: peak RSS" in line)
        self.assertRegex(line, r"128 MiB +\| 200.00 MiB +\| missed")
        self.assertIn("1 missed, 0 not measured", text)
        self.assertIn("Skipped: 1\n\n- kopia: no Go", report.skipped({"kopia": "no Go"}))

    def test_profile_is_grouped(self):
        text = """# Samples  Shared Object Symbol
 998|libzstd.so.1.5.4     |[.] 0x0000000000031dd1
 499|chunkferry           |[.] blocks_at_once
 499|libcrypto.so.3       |[.] 0x0000000000001234
 499|[kernel.kallsyms]    |[k] _copy_to_iter
 499|[kernel.kallsyms]    |[k] finish_task_switch.isra.0
 499|libcurl.so.4         |[.] 0x01
"""
        self.assertEqual(cpu.parse(text), {"zstd": 2.0, "SHA-256 and MD5": 2.0, "kernel: bytes copied": 1.0, "kernel, the rest": 1.0,
                                                "other libraries": 1.0})

    def test_csv_has_each_run(self):
        with tempfile.NamedTemporaryFile("r", suffix=".csv") as file:
            runs = runs_of(good_figures())
            report.write_csv(file.name, runs)
            lines = list(csv.DictReader(file))
        self.assertEqual(len(lines), len(runs))
        self.assertEqual(float(lines[0]["cpu_s"]), 8.0)

    def test_plot_is_well_formed_and_bars_are_in_scale(self):
        runs = runs_of(good_figures())
        groups = [("floors", ["compress to disk, then PUT"]), ("chunkferry, Ceph", ["restore (Ceph)"])]
        text = plot.draw(targets.Table(runs), groups, (100, 1000, 10000), 2)
        space = "{http://www.w3.org/2000/svg}"
        tree = ElementTree.fromstring(text)
        walls = [float(r.get("width")) for r in tree.iter(space + "rect") if r.get("fill") == plot.COLORS["wall"]][1:]   # the first is the legend's
        self.assertAlmostEqual(walls[0] / walls[1], 6.0 / 2.2, places=2)
        self.assertEqual(len(list(tree.iter(space + "circle"))), 4 * 3 * 3)     # lines, panels, sizes
        self.assertLessEqual(max(float(r.get("x", 0)) + float(r.get("width")) for r in tree.iter(space + "rect") if r.get("x")), plot.WIDTH)


unittest.main(verbosity=1)
