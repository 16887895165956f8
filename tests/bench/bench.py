#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""chunkferry beside the floor of the machine and beside its peers; ci/bench runs this, docs/PERFORMANCE.md explains it.

Every row runs once a round, the rounds come one after another; ratios are taken inside a round. Exit 1 when a row of
--quick is over its limit, or when something that was restored differs; the full run only says what was met and missed.
"""
import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
import data  # noqa: E402
import many  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import targets  # noqa: E402

CEPH = {"CEPH_STORE": "bluestore", "CEPH_SIZE": str(32 << 30)}
FULL = {"chunks": 8, "mib": 256, "sizes": {"file": (100, 1000, 10000), "Ceph": (100, 1000, 10000)}}
QUICK = {"chunks": 8, "mib": 32, "sizes": {"file": (100, 1000, 10000), "Ceph": (100, 1000)}}
FLOORS = ("zstd -3 -T1 > /dev/null", "zstd -3 -T2 > /dev/null", "zstd -3 -T2 to disk, synced", "compress to disk, then PUT", "zstd -d > /dev/null",
          "zstd -d to files, synced", "SHA-256", "MD5")


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch, self.began = options, scratch, time.monotonic()
        self.plan = dict(QUICK if options.quick else FULL)
        self.plan["mib"] = options.mib or self.plan["mib"]
        self.runs, self.skipped, self.machine = [], {}, report.machine()
        self.meter = measure.Meter(scratch)
        self.programs, self.profiles = {}, {}

    def say(self, words):
        print(f"{time.monotonic() - self.began:6.0f} s  {words}", flush=True)

    def go(self):
        node = self.scratch / "node"
        self.say(f"{self.plan['chunks']} chunks of {self.plan['mib']} MiB of JSON events")
        data.write_node(node, self.plan["chunks"], self.plan["mib"] << 20)
        if not self.options.quick:
            self.programs = peers.fetch()
            for name in set(peers.ALL) - set(self.programs):
                self.skipped[name] = "cannot be had here (ci/fetch-peers says why)"
        self.run_many()
        self.run_rounds(node)

    def server(self, name):
        return measure.Server(name, self.scratch / f"server-{name}", **CEPH)

    def run_many(self):
        ceph = self.server("ceph")
        self.say("nodes of many chunks, and many snapshots")
        here = ceph.start()
        try:
            if here:
                ceph.make_bucket("many")
            else:
                self.skipped["Ceph"] = "ci/server-ceph cannot run here"
            phase = many.Many(self.meter, self.scratch, self.plan["sizes"], self.say)
            self.runs = phase.runs
            phase.go(self.options.rounds, ceph if here else None)
            phase.lists(self.options.rounds)
        finally:
            ceph.stop()

    def run_rounds(self, node):
        stores = {"file": None, "Ceph": self.server("ceph")}
        if not self.options.quick:
            stores["MinIO"] = self.server("minio")
        if "Ceph" in self.skipped:
            del stores["Ceph"]
        rounds = rows.Rounds(self.meter, self.scratch, node, stores, self.programs, self.skipped, self.options.quick, self.say)
        many_runs = self.runs
        for number in range(1, self.options.rounds + 1):
            self.say(f"round {number} of {self.options.rounds}")
            rounds.one(number)
            self.runs, self.profiles = rounds.runs + many_runs, rounds.profiles

    def groups(self):
        found = [("floors", FLOORS)]
        order = dict.fromkeys(run.row for run in self.runs)
        for store in ("Ceph", "Ceph https", "file", "MinIO"):
            found.append((f"chunkferry, {store}", [row for row in order if row.endswith(f"({store})") and "chunks" not in row]))
        found.append(("peers, Ceph (restic, kopia: https)", [row for row in order if row.split()[0] in peers.ALL]))
        narrow = [row for row in order if row.startswith("backup at ")]
        return [(name, [row for row in group if row not in narrow]) for name, group in found] + [("a narrow network, Ceph", narrow)]

    def results(self):
        """(text, verdicts)"""
        stores = [store for store in ("Ceph", "file") if store not in self.skipped]
        wanted = targets.quick(stores) if self.options.quick else targets.full(stores)
        verdicts = targets.judge(wanted, self.runs, self.options.quick)
        size = self.plan["chunks"] * self.plan["mib"]
        names = ", ".join(peers.version(name, program) for name, program in self.programs.items())
        order = [row for _, group in self.groups() for row in group]
        shown = sorted((r for r in self.runs if r.row in order), key=lambda r: order.index(r.row))
        rest = [r for r in self.runs if r.row.startswith("list")]
        parts = [f"{self.machine}; {size} MiB in {self.plan['chunks']} chunk files; {self.options.rounds} rounds; page cache warm"
                 + (f"; {names}" if names else "") + f"; took {time.monotonic() - self.began:.0f} s\n",
                 "Median (least-most) of the rounds. CPU is user and system time of the process and its children.\n",
                 "### Targets\n", report.verdicts(verdicts), "### Rows\n", report.figures(shown + rest, targets.CORES),
                 "### Growth\n", report.growth(self.runs, sorted({*self.plan["sizes"]["file"], *self.plan["sizes"]["Ceph"]})),
                 "### Where the CPU goes\n", report.profiles(self.profiles),
                 "### Skipped\n", report.skipped(self.skipped)]
        return "\n".join(parts), verdicts

    def write(self, folder, text):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.md").write_text("<!-- written by ci/bench --out; docs/PERFORMANCE.md explains it -->\n# Results\n\n" + text)
        report.write_csv(folder / "results.csv", self.runs)
        (folder / "results.svg").write_text(plot.draw(targets.Table(self.runs), self.groups()[:-1], self.plan["sizes"]["file"], targets.CORES))


def main():
    parser = argparse.ArgumentParser(prog="ci/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="256 MiB, 2 rounds, no peers, wide limits that fail")
    parser.add_argument("--rounds", type=int, help="rounds (5; with --quick 2)")
    parser.add_argument("--mib", type=int, help="MiB of each of the 8 chunks (256; with --quick 32)")
    parser.add_argument("--out", type=Path, help="folder for results.md, results.csv and results.svg")
    parser.add_argument("--scratch", type=Path, help="folder to work below (TMPDIR): 12 GiB are needed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # servers are stopped, the scratch folder goes
    options.rounds = options.rounds or (2 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="chunkferry-bench.", dir=options.scratch) as scratch:
        bench = Bench(options, Path(scratch))
        failure = None
        try:
            bench.go()
        except (Exception, KeyboardInterrupt, SystemExit) as error:     # what was measured until then is not lost
            failure = error
        text, verdicts = bench.results()
        print("\n" + text)
        if options.out:
            bench.write(options.out, text)
        if failure and not isinstance(failure, measure.Failed):
            raise failure
        if failure:
            sys.exit(f"bench: {failure}")
        missed = [v for v in verdicts if not v.met] if options.quick else []
        for v in missed:
            print(f"bench: over its limit: {v.target.name}: {v.measured} ({v.missing or v.limit})", file=sys.stderr)
        sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
