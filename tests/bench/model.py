#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""model.py [--costs FILE] [--measure FILE] [--check]: how long a node of 20 TiB takes, on machines and links that are not here.

The costs come from `chunkferry bench --json` on this machine (or from FILE, what it printed once), the shares of memory from the program
itself (bench with --jobs and --memory prints the plan it would make). Without --check: the tables of docs/PERFORMANCE.md, "Past this machine".
--check: predicts real runs of this machine against the fake server with a link of a given bandwidth and delay, and prints both; exit 1 when one
is further off than CHECK_MAX. A link made by the fake's hook, since not every kernel has netem: all uploads share the bandwidth, each
request waits a round trip.

The model, per byte of the node's data (source):
  backup   the least of: reading; the hash thread (SHA-256 and MD5, one file after the other, one thread); workers x level; cores over the sum
           of all processor time; the wire: ratio x min(bandwidth, connections x part / (part / share + round trip + answer)), where the
           share of a connection is min(bandwidth, window / round trip)
  restore  the least of: the wire as above with ranges of 16 MiB, each worker's own chain (wait, decode, hash), cores over processor time
  a run    besides: requests that follow one another, each a round trip and an answer
"""
import argparse
import functools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
RANGE = 16 * MIB                # src/pipe/download_inner.h CF_RUN_STORED_BYTES
CHUNK = 256 * MIB
CHECK_MAX = 0.20
WINDOW = 4 * MIB                # bytes under way a connection: net.ipv4.tcp_wmem and tcp_rmem as Linux has them
ANSWER_S = 0.005                # of a store, beside the round trip: Ceph RGW here 2 to 9 ms
# One after the other, as the fake's log shows: lists, lease, parent; journal, segments, root, release. The parts of packs go beside each other.
REQUESTS_NO_CHANGE, REQUESTS_FIRST, REQUESTS_RESTORE = 12, 14, 10
CERTIFICATE_S = 0.0001          # open and read 2 x 128 bytes of a completed chunk that is in the parent


@dataclass
class Costs:
    """Of one core of one machine: bytes a second of source, processor seconds a byte."""
    both: float
    sha256: float
    decode: float
    level: dict             # level -> (bytes a second of a core, ratio)
    put_cpu: float          # a stored byte: signing, copying, the kernel
    get_cpu: float
    read_cpu: float
    read: float             # 0: no limit
    cores: float


@dataclass
class Plan:
    workers: int
    part: int
    up: int
    down: int


@dataclass
class Link:
    bytes_per_s: float
    round_trip_s: float
    answer_s: float = ANSWER_S
    window: float = WINDOW

    def carries(self, connections, each):
        """Bytes a second through so many connections that move pieces of `each` bytes, waiting for each answer."""
        alone = min(self.bytes_per_s, self.window / self.round_trip_s if self.round_trip_s else self.bytes_per_s)
        return min(self.bytes_per_s, connections * each / (each / alone + self.round_trip_s + self.answer_s))


def bench(*words):
    """The lines of `chunkferry bench`, on a directory of its own."""
    with tempfile.TemporaryDirectory() as place:
        done = ferry.run("bench", "--repo", f"file://{place}", *words, "--json")
        if done.code != 0:
            sys.exit(done.err)
        return done.lines


def bench_s3(*words):
    """The same over HTTP, to the fake: what signing and sending cost the client."""
    from s3.server import FakeServer
    with tempfile.TemporaryDirectory() as scratch, FakeServer(buckets=["backups"], root=scratch) as server:
        env = ferry.environment(AWS_ACCESS_KEY_ID=server.options.access_key, AWS_SECRET_ACCESS_KEY=server.options.secret_key,
                                AWS_ENDPOINT_URL_S3=server.url, AWS_REGION=server.options.region)
        done = ferry.run("bench", "--repo", "s3://backups/model", *words, "--json", env=env)
        if done.code != 0:
            sys.exit(done.err)
        return done.out


def costs_of(lines):
    first = {}
    for x in lines:
        first.setdefault(x["type"], x)
    cpu = first["cpu"]
    step = {op: statistics.median(x["cpu_s_per_gib"] for x in lines if x["type"] == "step" and x["op"] == op) / GIB for op in ("put", "get")}
    return Costs(both=cpu["both_bytes_per_s"], sha256=cpu["sha256_bytes_per_s"], decode=cpu["decompress_bytes_per_s"],
                 level={x["level"]: (x["bytes_per_s"], x["ratio"]) for x in lines if x["type"] == "level" and x["workers"] > 0}, put_cpu=step["put"],
                 get_cpu=step["get"], read_cpu=first.get("source", {}).get("cpu_s_per_gib", 0) / GIB, read=0, cores=first["machine"]["cores_effective"])


@functools.lru_cache(maxsize=None)
def plan_of(jobs, memory, *words):
    def machine(jobs):
        return next(x for x in bench("--jobs", jobs, "--memory", memory, "--size", "1MiB", *words) if x["type"] == "machine")

    up, down = machine(jobs), machine(max(jobs, 4))     # without --jobs a restore has 4 workers at least
    return Plan(up["workers"], up["part_bytes"], up["upload_connections"], down["download_connections"])


def least(limits):
    name = min(limits, key=limits.get)
    return limits[name], name


def backup(c, plan, link, level=3, hash_threads=1):
    """(bytes of source a second, what it waits for)."""
    speed, ratio = c.level[level]
    all_cpu = 1 / c.both + (1 / speed if speed else 0) + c.put_cpu / ratio + c.read_cpu
    limits = {"hash thread": c.both * hash_threads, "processors": c.cores / all_cpu, "wire": link.carries(plan.up, plan.part) * ratio}
    if speed:
        limits["compression"] = speed * min(plan.workers, c.cores)
    if c.read:
        limits["disk"] = c.read
    rate, name = least(limits)
    if name == "wire" and link.carries(plan.up, plan.part) < 0.95 * link.bytes_per_s:
        name = "latency"
    return rate, name


def restore(c, plan, link, level=3, recheck=False):
    _, ratio = c.level[level]
    hashing = 1 / (c.both if recheck else c.sha256)
    decoding = 1 / c.decode if level else 0
    alone = min(link.bytes_per_s, link.window / link.round_trip_s if link.round_trip_s else link.bytes_per_s)
    # A worker waits for a range, decodes what comes while it comes, and hashes what it wrote.
    chain = (link.round_trip_s + link.answer_s) / (RANGE * ratio) + max(1 / (alone * ratio), decoding) + hashing
    limits = {"wire": link.bytes_per_s * ratio, "workers": plan.down / chain, "processors": c.cores / (decoding + hashing + c.get_cpu / ratio)}
    return least(limits)


def fixed_s(link, requests=REQUESTS_NO_CHANGE):
    return requests * (link.round_trip_s + link.answer_s)


# ---- 20 TiB ----

def hours(seconds):
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def node_tables(costs):
    source, chunks = 20 * TIB, 80000
    new = chunks // 100 * CHUNK + 10 * GIB      # a day: one chunk in a hundred, and index tables that were merged
    print("| link | cores | memory | first run | a day | restore | first run waits for | restore waits for |\n|---|---|---|---|---|---|---|---|")
    for gbit in (1, 10):
        link = Link(gbit * 1e9 / 8 * 0.94, 0.030)
        for cores in (2, 8, 32):
            for memory in ("128MiB", "1GiB"):
                plan = plan_of(cores, memory)
                c = replace(costs, cores=cores)
                up, why_up = backup(c, plan, link)
                down, why_down = restore(c, plan, link)
                day = new / up + chunks * CERTIFICATE_S + fixed_s(link)
                print(f"| {gbit} Gbit/s | {cores} | {memory} | {hours(source / up)} ({up / 1e6:.0f} MB/s) | {hours(day)} | "
                      f"{hours(source / down)} ({down / 1e6:.0f} MB/s) | {why_up} | {why_down} |")


def fill_table(costs):
    """How many connections and how much memory carry a link, whatever the processors do."""
    part = 8 * MIB
    print("\n| link, 30 ms | bytes under way | connections with parts of 8 MiB | memory of the parts | source at ratio "
          f"{costs.level[3][1]:.1f} |\n|---|---|---|---|---|")
    for gbit in (1, 10):
        link = Link(gbit * 1e9 / 8 * 0.94, 0.030)
        n = next(n for n in range(1, 257) if link.carries(n, part) >= 0.95 * link.bytes_per_s)
        print(f"| {gbit} Gbit/s | {link.bytes_per_s * link.round_trip_s / MIB:.1f} MiB | {n} | {n * part // MIB} MiB | "
              f"{link.bytes_per_s * costs.level[3][1] / 1e9:.2f} GB/s |")


def hash_table(costs):
    """What it would bring to hash several chunks at once: 10 Gbit/s, 1 GiB."""
    link = Link(10e9 / 8 * 0.94, 0.030)
    print("\n| cores | 1 hash thread | 2 | 4 | 8 |\n|---|---|---|---|---|")
    for cores in (2, 8, 32):
        cells = [backup(replace(costs, cores=cores), plan_of(cores, "1GiB"), link, hash_threads=n) for n in (1, 2, 4, 8)]
        print(f"| {cores} | " + " | ".join(f"{hours(20 * TIB / rate)}, {why}" for rate, why in cells) + " |")


# ---- against real runs ----

class SlowLink:
    """A hook for the fake: all bodies of one direction share the bandwidth, every request waits a round trip."""

    def __init__(self, link):
        self.link, self.way = link, {"up": threading.Lock(), "down": threading.Lock()}

    def __call__(self, call, when):
        if when == "before_apply":
            time.sleep(self.link.round_trip_s)
            self.carry("up", call.request.content_length() or 0)
        elif call.op == "GetObject":
            asked = (call.request.one("range") or "").removeprefix("bytes=")
            first, _, last = asked.partition("-")
            if last:
                self.carry("down", int(last) - int(first) + 1)

    def carry(self, way, total):
        with self.way[way]:
            time.sleep(total / self.link.bytes_per_s)


def run_timed(*words, env):
    began = time.monotonic()
    child = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{words}: {err.decode()}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, json.loads(out.splitlines()[-1])


def row(name, predicted, measured, why):
    off = predicted / measured - 1
    print(f"| {name} | {predicted:.1f} s | {measured:.1f} s | {off:+.0%} | {why} |", flush=True)
    return abs(off)


def rounds_s(link, plan_connections, total, each):
    """A few pieces do not fill every connection to the end: whole rounds of waiting, beside the bytes themselves."""
    pieces = math.ceil(total / each)
    return math.ceil(pieces / plan_connections) * (link.round_trip_s + link.answer_s) + total / link.bytes_per_s


def check_link(source, size, ratio, link, memory, kind):
    """One backup, one more that finds nothing new, and one restore through the link."""
    from s3.server import FakeServer
    plan = plan_of(2, memory)
    c = costs_of(bench("--dir", source, "--size", "64MiB", "--memory", memory))
    c.level[3] = (c.level[3][0], ratio)
    stored = size / ratio
    name = f"{kind}, {link.bytes_per_s / 1e6:.0f} MB/s, {link.round_trip_s * 1000:.0f} ms, {memory}"
    with tempfile.TemporaryDirectory() as scratch, FakeServer(buckets=["backups"], root=f"{scratch}/objects") as server:
        env = ferry.environment(AWS_ACCESS_KEY_ID=server.options.access_key, AWS_SECRET_ACCESS_KEY=server.options.secret_key,
                                AWS_ENDPOINT_URL_S3=server.url, AWS_REGION=server.options.region)
        words = ["--repo", "s3://backups/prod", "--node", "model", "--memory", memory, "--json"]
        source_words = ["--profile", "directory", "--dir", source]
        run_timed("init", "--repo", "s3://backups/prod", "--json", env=env)
        server.hook = SlowLink(link)
        _, why = backup(c, plan, link)
        alone = no_wire(backup, c, plan)
        first_part = min(plan.part, stored) * ratio / alone     # nothing is sent before it is full
        parts = first_part + rounds_s(link, plan.up, stored, plan.part)
        wall, _, told = run_timed("backup", *words, *source_words, env=env)
        worst = row(f"backup, {name}", max(size / alone, parts) + fixed_s(link, REQUESTS_FIRST), wall,
                    f"{why}; {told['bytes_uploaded'] / MIB:.0f} MiB sent")
        wall, _, told = run_timed("backup", *words, *source_words, env=env)
        off = row(f"again, {name}", fixed_s(link), wall, f"{told['requests']} requests, one after the other")
        worst = max(worst, off if wall >= 1 else 0)     # else it is the start of a process that is seen
        _, why = restore(c, plan, link)
        ranges = rounds_s(link, plan.down, stored, RANGE if ratio > 1.1 else 12 * MIB)  # whole frames of 4 MiB
        wall, _, _ = run_timed("restore", *words, "latest", "--target", f"{scratch}/out", env=env)
        worst = max(worst, row(f"restore, {name}", max(size / no_wire(restore, c, plan), ranges) + fixed_s(link, REQUESTS_RESTORE), wall, why))
        server.hook = None
    return worst


def no_wire(flow, c, plan):
    """Bytes a second as if the link were none."""
    return flow(c, plan, Link(1e15, 0, answer_s=0, window=1e15))[0]


def check_cpu(source, size):
    """Processor time, which other work on the machine changes little."""
    c = costs_of(bench("--dir", source, "--size", "64MiB"))
    speed, ratio = c.level[3]
    with tempfile.TemporaryDirectory() as scratch:
        env, number = ferry.environment(), iter(range(100))

        def save():
            url = f"file://{scratch}/repo{next(number)}"
            run_timed("init", "--repo", url, "--json", env=env)
            return run_timed("backup", "--repo", url, "--node", "m", "--profile", "directory", "--dir", source, "--json", env=env)

        def bring():
            return run_timed("restore", "--repo", f"file://{scratch}/repo0", "--node", "m", "latest", "--target", f"{scratch}/{next(number)}", "--json", env=env)

        worst = row(f"backup of {size // MIB} MiB into a directory: processor time", size * (1 / c.sha256 + 1 / speed + c.put_cpu / ratio + c.read_cpu),
                    statistics.median(save()[1] for _ in range(3)), "no MD5 in this profile; median of 3")
        return max(worst, row(f"restore of {size // MIB} MiB from a directory: processor time", size * (1 / c.sha256 + 1 / c.decode),
                              statistics.median(bring()[1] for _ in range(3)), "median of 3"))


def events(path, size):
    """The fake node's JSON events, without the node."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*ferry.NODE, "make", "--db", f"{scratch}/db", "--bytes", str(size), "--chunk-size", str(CHUNK), "--seed", "1"], check=True,
                       capture_output=True)
        chunk = min(Path(scratch).glob("db/chunk-*"))
        path.mkdir()
        data = chunk.read_bytes()[:size]
        (path / "events").write_bytes(data)
        return len(data)


def stored_ratio(path, size):
    done = subprocess.run(f"zstd -3 -c {path}/* | wc -c", shell=True, capture_output=True, check=True, text=True)
    return size / int(done.stdout)


def check():
    print("| run | predicted | measured | off | waits for |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="chunkferry-model.") as scratch:
        text, noise = Path(scratch) / "text", Path(scratch) / "noise"
        size, noisy = events(text, 192 * MIB), 60 * MIB
        noise.mkdir()
        (noise / "noise").write_bytes(os.urandom(noisy))
        worst = check_cpu(text, size)
        worst = max(worst, check_link(text, size, stored_ratio(text, size), Link(4e6, 0.030, answer_s=0), "128MiB", "events"))
        worst = max(worst, check_link(noise, noisy, 1.0, Link(1e9, 0.8, answer_s=0, window=1e12), "64MiB", "noise"))
    print(f"\nThe furthest off: {worst:.0%}.")
    return 0 if worst <= CHECK_MAX else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", help="lines of `chunkferry bench --json`; else it is run")
    parser.add_argument("--measure", metavar="FILE", help="only write such a FILE: `bench --json` of this machine, on a node's chunks")
    parser.add_argument("--check", action="store_true", help="against real runs")
    options = parser.parse_args()
    if options.check:
        return check()
    if options.measure or not options.costs:
        with tempfile.TemporaryDirectory(prefix="chunkferry-model.") as scratch:
            events(Path(scratch) / "text", 192 * MIB)
            told = bench_s3("--dir", f"{scratch}/text")
    if options.measure:
        Path(options.measure).write_text(told)
        return 0
    lines = [json.loads(x) for x in (Path(options.costs).read_text() if options.costs else told).splitlines()]
    costs = costs_of(lines)
    node_tables(costs)
    fill_table(costs)
    hash_table(costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
