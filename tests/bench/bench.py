#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py [--gib 2] [--runs 3] [--ceph] [--out FILE]: first figures, as ratios against a floor in the same run.

Makes a format-true node (256 MiB chunks, JSON events), then times in turn, RUNS times each, page cache warm:
  floor    zstd -3 -T2 of the same chunk files to /dev/null
  backup   to a directory (and with --ceph to a Ceph RGW with bluestore on 127.0.0.1)
  again    a second backup, nothing changed
  restore  of it, against `zstd -d` to files of what the floor would have written
Prints wall seconds, CPU seconds, peak RSS of the process itself and the ratio to the floor; medians of the runs.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402


def measure(words, env=None, shell=False):
    began = time.monotonic()
    child = subprocess.Popen(words, env=env, shell=shell, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{words}: exit {child.returncode}: {error.decode()}")
    return {"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss / 1024}


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch, self.rows = options, Path(scratch), []
        self.node = self.scratch / "node"
        subprocess.run([*ferry.NODE, "make", "--db", str(self.node), "--bytes", str(options.gib << 30), "--chunk-size", str(256 << 20), "--seed", "1"],
                       check=True, stdout=subprocess.DEVNULL)
        self.chunks = sorted(str(p) for p in self.node.glob("chunk-*"))
        subprocess.run(["cat", *self.chunks], check=True, stdout=subprocess.DEVNULL)  # warm, and this process stays small

    def row(self, name, runs, floor=None):
        m = median(runs)
        self.rows.append((name, m, m["wall"] / floor["wall"] if floor else 1.0))
        return m

    def repository(self, name, url, env, floor, floor_back):
        backups, agains, restores = [], [], []
        for i in range(self.options.runs):
            repo = f"{url}/{i}"
            words = [str(ferry.BINARY), "--repo", repo, "--node", "bench"]
            subprocess.run([words[0], "init", "--repo", repo], env=env, check=True, stdout=subprocess.DEVNULL)
            backups.append(measure([words[0], "backup", *words[1:], "--db", str(self.node)], env))
            agains.append(measure([words[0], "backup", *words[1:], "--db", str(self.node)], env))
            target = self.scratch / "restored"
            restores.append(measure([words[0], "restore", *words[1:], "latest", "--target", str(target)], env))
            shutil.rmtree(target)
        self.row(f"backup to {name}", backups, floor)
        self.row(f"backup to {name} again, no change", agains, floor)
        self.row(f"restore from {name}", restores, floor_back)

    def go(self):
        files = " ".join(self.chunks)
        packed = self.scratch / "packed"
        packed.mkdir()
        floor = self.row("zstd -3 -T2 > /dev/null", [measure(f"exec zstd -q -3 -T2 -c {files} > /dev/null", shell=True) for _ in range(self.options.runs)])
        subprocess.run(["zstd", "-q", "-3", "-T2", "--output-dir-flat", str(packed), *self.chunks], check=True)
        back = " ".join(str(p) for p in sorted(packed.iterdir()))
        floor_back = self.row("zstd -d > /dev/null", [measure(f"exec zstd -q -d -c {back} > /dev/null", shell=True) for _ in range(self.options.runs)])
        plain = self.scratch / "plain"
        decode = f"mkdir {plain} && zstd -q -d --output-dir-flat {plain} {back} && sync -f {plain} && rm -r {plain}"
        floor_back = self.row("zstd -d to files, synced", [measure(decode, shell=True) for _ in range(self.options.runs)], floor_back)
        shutil.rmtree(packed)
        self.repository("file://", f"file://{self.scratch}/repository", ferry.environment(), floor, floor_back)
        if self.options.ceph:
            self.with_ceph(floor, floor_back)

    def with_ceph(self, floor, floor_back):
        server = str(self.scratch / "ceph")
        told = subprocess.run(["ci/server-ceph", "start", server], env={**os.environ, "CEPH_STORE": "bluestore"}, check=True, capture_output=True, text=True)
        try:
            env = ferry.environment(**dict(line.split("=", 1) for line in told.stdout.split() if line.startswith("AWS_")))
            self.repository("Ceph RGW (http)", "s3://bench/prod", env, floor, floor_back)
        finally:
            subprocess.run(["ci/server-ceph", "stop", server], check=False)

    def table(self):
        size = sum(os.path.getsize(c) for c in self.chunks) / (1 << 30)
        cpus = os.cpu_count()
        lines = [f"{size:.2f} GiB in {len(self.chunks)} chunk files, {cpus} CPUs, medians of {self.options.runs} runs, page cache warm", "",
                 "| what | wall s | CPU s | peak RSS MiB | wall / floor |", "|---|---|---|---|---|"]
        lines += [f"| {name} | {m['wall']:.2f} | {m['cpu']:.2f} | {m['rss']:.0f} | {ratio:.2f} |" for name, m, ratio in self.rows]
        return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ceph", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chunkferry-bench.") as scratch:
        bench = Bench(options, scratch)
        bench.go()
        print(bench.table())
        if options.out:
            Path(options.out).write_text(bench.table())


main()
