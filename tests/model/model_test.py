#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commit, fence and prune protocol, model-checked with spin: every line of checks.txt.

    model_test.py [ID...]     these checks, or all; CHUNKFERRY_LONG=1: the large searches too, on all cores
    model_test.py --trail ID  the shortest violation, as the store's events a process

Exit 0: all as wanted, 1: not, 77: spin or gcc is missing. The programs are built in a temporary folder.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = os.environ.get("CHUNKFERRY_LONG") == "1"
SETS = {"A": "NB=2 NP=1 LEASECLEAR", "P": "NB=1 NP=2 LEASECLEAR", "S": "NB=1 NP=1 LEASECLEAR", "-": ""}
DEPTH = 500_000
TIME_S = 3600 if LONG else 240


class Check:
    """A line of checks.txt."""

    def __init__(self, line):
        self.id, wanted, where, flags, self.title = (part.strip() for part in line.split("|", 4))
        self.wanted, _, only = wanted.partition("-")
        self.long = only == "long"
        self.file, _, self.ltl = where.partition(" ")
        self.ltl = self.ltl.strip()
        words = " ".join(SETS.get(word, word) for word in flags.split()).split()
        self.flags = ["-D" + word for word in words]
        self.command = " ".join([self.file + ".pml", self.ltl, *self.flags]).replace("  ", " ")


def read_checks():
    """[(heading, [Check])]"""
    groups = []
    with open(os.path.join(HERE, "checks.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("=="):
                groups.append((line.strip("= \n"), []))
            elif line.strip() and not line.startswith("#"):
                groups[-1][1].append(Check(line))
    ids = [check.id for _, checks in groups for check in checks]
    assert len(ids) == len(set(ids)), "an id stands twice in checks.txt"
    return groups


def build(check, folder, *defines):
    """The verifier of a check: spin writes it, gcc compiles it."""
    subprocess.run(["spin", "-a", *check.flags, os.path.join(HERE, check.file + ".pml")], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    kind = ["-DNFAIR=4"] if check.ltl else ["-DSAFETY", "-DNOFAIR"]
    subprocess.run(["gcc", "-O1", "-w", "-DVECTORSZ=1024", *kind, *defines, "-o", "pan", "pan.c"],
                   cwd=folder, check=True)


def verify(check):
    """(verdict, states, seconds): ok, VIOL, or why the search is no answer."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cf-model-") as folder:
        build(check, folder, "-DCOLLAPSE")
        words = ["-a", "-f", "-N", check.ltl] if check.ltl else []
        try:
            said = subprocess.run(["./pan", f"-m{DEPTH}", "-w22", *words], cwd=folder, check=False, timeout=TIME_S,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        except subprocess.TimeoutExpired:
            return f"not done in {TIME_S} s", "?", TIME_S
    states = re.search(r"([0-9.e+]+) states, stored", said)
    errors = re.search(r"errors: (\d+)", said)
    seconds = time.monotonic() - began
    states = f"{int(float(states[1])):,}" if states else "?"
    if not errors or not states:
        return "no answer: " + " ".join(said.split())[-200:], states, seconds
    if errors[1] != "0":
        # Only what a model asserts is a violation: a process that is stuck would be a fault of the model.
        what = re.search(r"pan:1: (.*?) \(at depth", said)
        stuck = what and "invalid end state" in what[1]
        return ("stuck: " + what[1]) if stuck else "VIOL", states, seconds
    if "max search depth" in said or "Search not completed" in said:
        return "not complete", states, seconds
    return "ok", states, seconds


def run(groups, jobs):
    """Number of checks, of those not as wanted."""
    bad = total = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        found = [(title, [(check, pool.submit(verify, check)) for check in checks]) for title, checks in groups]
        for title, checks in found:
            if checks:
                print("---", title)
            for check, future in checks:
                verdict, states, seconds = future.result()
                total += 1
                note = ""
                if verdict != check.wanted:
                    bad += 1
                    note = f"  <-- UNEXPECTED: wanted {check.wanted}"
                print(f"{verdict:5} {check.id:5} {states:>12} states {seconds:6.1f} s  {check.title}  [{check.command}]{note}", flush=True)
    return total, bad


EVENT = re.compile(r"\s*\d+:\s+proc\s+(\d+) \((\w+):\d+\) (\S+?) \(state \d+\)\s+\[(.*)\]")
VALUE = re.compile(r"\s+(\S+) = (\d+)$")
STORE = re.compile(r"(root|there|packs|leases?|uses|adopts|names|marks?|kept|owner)\b")


def trail(check):
    """The shortest violation: what each process changed in the store, in order."""
    with tempfile.TemporaryDirectory(prefix="cf-model-") as folder:
        build(check, folder, "-DBFS")
        said = subprocess.run(["./pan", f"-m{DEPTH}"], cwd=folder, check=False, capture_output=True, text=True).stdout
        print(f"{check.id}: {check.title}  [{check.command}]\n{(re.search('pan:1:.*', said) or ['no violation'])[0]}")
        found = [name for name in os.listdir(folder) if name.endswith(".trail")]
        if not found:
            return 1
        told = subprocess.run(["spin", *check.flags, "-k", found[0], "-p", "-g", os.path.join(HERE, check.file + ".pml")],
                              cwd=folder, check=False, capture_output=True, text=True).stdout
    who, last, line, seen = "", "", "", {}
    for text in told.splitlines():
        event, value = EVENT.match(text), VALUE.match(text)
        if event:
            who = f"{event[2]} {event[1]}"
        elif value and seen.get(value[1]) != value[2]:
            seen[value[1]] = value[2]
            if STORE.match(value[1]):
                if who != last and line:
                    print(line)
                line = line + f"  {value[1]}={value[2]}" if who == last else f"  {who + ':':14} {value[1]}={value[2]}"
                last = who
    print(line)
    return 0


def main(words):
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed (Debian packages spin and gcc)")
            return 77
    groups = read_checks()
    every = {check.id: check for _, checks in groups for check in checks}
    unknown = [word for word in words if word != "--trail" and word not in every]
    if unknown:
        print("no such check:", *unknown)
        return 2
    if words[:1] == ["--trail"]:
        return max((trail(every[word]) for word in words[1:]), default=2)
    left = [check.id for check in every.values() if check.long and not LONG]
    chosen = words or [name for name in every if name not in left]
    began = time.monotonic()
    total, bad = run([(title, [c for c in checks if c.id in chosen]) for title, checks in groups], os.cpu_count() if LONG else 1)
    ok = sum(every[name].wanted == "ok" for name in chosen)
    print(f"model: {total} checks, {ok} that must hold, {total - ok} that must give a violation; {bad} not as wanted; "
          f"{time.monotonic() - began:.0f} s" + ("" if words or LONG else f"; {len(left)} large ones only with CHUNKFERRY_LONG=1"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
