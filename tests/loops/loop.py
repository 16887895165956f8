# SPDX-License-Identifier: Apache-2.0
"""What every loop shares: the seed, the sample or the whole, two workers, and how a failure is told and repeated.

CHUNKFERRY_SEED=N   the sample of an earlier run, which printed N
CHUNKFERRY_LONG=1   every case, two at a time
LOOP_CASE=ID        one case, as a failure prints it
LOOP_BUDGET_S=N     seconds a loop may take for its sample; given with CHUNKFERRY_LONG, also then
"""
import json
import math
import multiprocessing
import os
import random
import sys
import time
import traceback

LONG = os.environ.get("CHUNKFERRY_LONG", "") not in ("", "0")
SEED = int(os.environ.get("CHUNKFERRY_SEED") or time.time())
ONLY = os.environ.get("LOOP_CASE")
WORKERS = int(os.environ.get("LOOP_WORKERS", "2")) if LONG else 1
FAILURES_MAX = 5


class NotReached(Exception):
    """The case's instant did not come: the command made fewer requests this time. Not counted."""


class Loop:
    """A loop has a name, makes its place in the worker that uses it, plans its cases there, and goes through one.

    plan(place) -> [case], each a list of words and numbers; one(place, case) raises when a promise is broken.
    """
    name = "loop"
    budget_s = 60

    def make(self):
        raise NotImplementedError

    def plan(self, place):
        raise NotImplementedError

    def one(self, place, case):
        raise NotImplementedError


def case_id(loop, case):
    return "/".join([loop.name, *map(str, case)])


def chosen(loop, cases):
    if ONLY:
        return [case for case in cases if case_id(loop, case) == ONLY] or [as_case(loop)]
    order = list(cases)
    random.Random(f"{SEED}/{loop.name}").shuffle(order)
    return order


def as_case(loop):
    words = ONLY[len(loop.name) + 1:].split("/")
    return [int(w) if w.isdigit() else w for w in words]


def planned(loop):
    place = loop.make()
    try:
        return loop.plan(place)
    finally:
        place.close()


def work(loop, number, queue, cases=None):
    """One worker: its share of the cases, until the time is over or too many have failed."""
    done, failed, missed, kinds = 0, [], 0, {}
    began = time.monotonic()
    place = None
    try:
        place = loop.make()
        cases = chosen(loop, cases if cases is not None else loop.plan(place))
        budget_s = float(os.environ.get("LOOP_BUDGET_S", math.inf if LONG else loop.budget_s))
        for case in cases[number::WORKERS]:
            if not ONLY and done and time.monotonic() - began > budget_s:
                break
            if len(failed) >= FAILURES_MAX:
                break
            try:
                loop.one(place, case)
                done += 1
                if isinstance(case[0], str):
                    kinds[case[0]] = kinds.get(case[0], 0) + 1
            except NotReached:
                missed += 1
            except Exception as failure:    # told with its case; the others go on
                text = str(failure) if isinstance(failure, AssertionError) else traceback.format_exc()
                failed.append((case_id(loop, case), text, place.story()))
                print(f"FAILED LOOP_CASE={failed[-1][0]}\n{text}\n{failed[-1][2]}", flush=True)
        queue.put((done, failed, missed, len(cases), kinds))
    except BaseException:
        queue.put((done, [*failed, (loop.name, traceback.format_exc(), place.story() if place else "")], missed, 0, kinds))
    finally:
        if place is not None:
            place.close()


def go(loop):
    """Runs a loop; (cases done, failures, all cases)."""
    began = time.monotonic()
    queue = multiprocessing.Queue()
    if WORKERS == 1:
        work(loop, 0, queue)
    else:
        cases = planned(loop)   # once, so that the shares are of one plan
        workers = [multiprocessing.Process(target=work, args=(loop, n, queue, cases)) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
    parts = [queue.get() for _ in range(WORKERS)]
    for worker in workers if WORKERS > 1 else ():
        worker.join()
    done, failed, missed, total = sum(p[0] for p in parts), [f for p in parts for f in p[1]], sum(p[2] for p in parts), parts[0][3]
    kinds = {}
    for part in parts:
        for kind, count in part[4].items():
            kinds[kind] = kinds.get(kind, 0) + count
    print(f"loop {loop.name}: {done} of {total} cases, {missed} not reached, {len(failed)} failed, {time.monotonic() - began:.0f} s "
          f"{json.dumps(kinds, sort_keys=True)}", flush=True)
    return done, failed, total


def main(line, *loops):
    """line(counts): the summary, from a {loop's name: cases done}."""
    print(f"CHUNKFERRY_SEED={SEED}{' CHUNKFERRY_LONG=1' if LONG else ''}", flush=True)
    counts, failed = {}, []
    for loop in loops:
        if ONLY and not ONLY.startswith(loop.name + "/"):
            continue
        done, bad, _ = go(loop)
        counts[loop.name] = done
        failed += bad
    print(line(counts), flush=True)
    for case, text, _ in failed:
        first = next((x for x in text.strip().splitlines() if x), "")
        if not case.count("/"):
            print(text)
        print(f"FAILED: repeat with CHUNKFERRY_SEED={SEED} LOOP_CASE={case}: {first}")
    if not any(counts.values()):
        print("no case was done")
    sys.exit(1 if failed or not any(counts.values()) else 0)
