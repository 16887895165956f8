# SPDX-License-Identifier: Apache-2.0
"""200 backups of a node that changes between two looks: each is refused, or its copy starts and holds every acknowledged event.

stepping_chunkferry is the program with a numbered filesystem seam. First one run counts the steps of the reading order; then for
each kind of event and for steps spread over all of them, the event happens just before that step; every other node is written to all
the while. GAPS_TOTAL backups (240; with CHUNKFERRY_LONG 2,500, which is nearly every event before every step), GAPS_JOBS at once (2).
CHUNKFERRY_SEED repeats a sample.
"""
import collections
import json
import os
import random
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

CHUNK = 65536
SEED = 11
EVENTS = {  # what happens in the gap; each line goes to the node
    "append": "append 3000",
    "roll over": "append-until-rollover",
    "complete by scavenge point": "scavenge-point;append 2000",
    "index flush": "append 4000;flush-index",
    "merge": "append 2000;flush-index;append 2000;flush-index;merge",
    "half-written table": "half-table",
    "scavenge": "scavenge 0 2",
    "scavenge and merge behind it": "append-until-rollover;scavenge 3 4",
    "scavenge the chaser's chunk": "hold-chaser on;append-until-rollover;scavenge-chaser",
    "scavenge it, and it moves on": "hold-chaser on;append-until-rollover;scavenge-chaser;hold-chaser off;append 500",
    "truncation by an election": "truncate back 30000",
    "truncation, and more written than before": "truncate back 30000;append 50000;flush-index",
    "truncation into older chunks": "truncate back 150000",
    "election": "elect",
    "existence filter": "append 2000;filter-touch",
    "scavenge begins": "scavenging-db on",
    "scavenge ends": "scavenging-db on;scavenging-db off",
}
TRUNCATES = {name for name, commands in EVENTS.items() if "truncate" in commands}
LONG = bool(os.environ.get("CHUNKFERRY_LONG"))
TOTAL = int(os.environ.get("GAPS_TOTAL", "2500" if LONG else "240"))
DICE_SEED = int(os.environ.get("CHUNKFERRY_SEED", "1"))
JOBS = int(os.environ.get("GAPS_JOBS", "2"))
LOAD_BYTES = 400_000    # a second: some roll-overs in a run


class Gaps(ferry.Case):
    def one(self, number, event, step):
        """One node, one first backup, the event at that step of the second; returns what came of it."""
        home = self.dir / f"{number}"
        home.mkdir()
        db = home / "node"
        shutil.copytree(self.keep, db, copy_function=shutil.copy2)
        url = f"file://{home}/repository"
        shutil.copytree(self.base_repository, home / "repository")
        trace = home / "trace"
        with ferry.LiveNode(db, home, "--rate-bytes", LOAD_BYTES * (number % 2)) as node:
            acknowledged = node.status()["checkpoints"]["chaser"]
            env = ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=node.socket, CF_STEP_COMMANDS=EVENTS[event], CF_STEP_TRACE=trace)
            done = ferry.run("backup", "--repo", url, "--node", "kdb-1", "--db", db, "--json", env=env, binary=ferry.STEPPING)
        where = f"{event} before step {step}: {self.step_name(trace, step)}\n{done}"
        self.assertIn(done.code, (0, 3), where)
        self.assertNotIn("Sanitizer", done.err, where)
        if done.code == 3:
            self.assertIn("hint: ", done.err, where)
            self.assertEqual(len(self.snapshots(url)), 1, where)
            shutil.rmtree(home)
            return "refused"
        target = home / "restored"
        self.answered_well(trace, event)
        restored = ferry.run("restore", "--repo", url, "--node", "kdb-1", "latest", "--target", target)
        self.assertEqual(restored.code, 0, where + repr(restored))
        check = ferry.start_check(target, "--seed", SEED, "--json")
        self.assertEqual(check.returncode, 0, where + check.stdout + trace.read_text()[-6000:])
        # An index that is thrown away, a file that is deleted: it starts, but it is not what was promised.
        # (A node that was cut below its index before the first look has dropped it itself.)
        dropped = ["warning", "indexmap", "is missing: full rebuild from the log"] if event in TRUNCATES else None
        warnings = [x for x in json.loads(check.stdout)["findings"] if x[0] == "warning" and x != dropped]
        self.assertEqual(warnings, [], where + trace.read_text()[-6000:])
        chaser = int.from_bytes((target / "chaser.chk").read_bytes(), "little")
        if event not in TRUNCATES:      # what was acknowledged before the run is in it
            self.assertGreaterEqual(chaser, acknowledged, where)
        for folder, _, _ in os.walk(home):
            os.chmod(folder, 0o755)
        shutil.rmtree(home)
        return "good"

    def answered_well(self, trace, event):
        """The event did happen: a step that is never reached, or a command that the node refuses, tests nothing."""
        answers = [line for line in trace.read_text().splitlines() if line.startswith("  > ")]
        bad = [line for line in answers if " -> ok" not in line]
        with self.lock:
            self.happened[event, "no" if bad or not answers else "yes"] += 1
            self.bad.update(bad)

    @staticmethod
    def step_name(trace, step):
        lines = [line for line in trace.read_text().splitlines() if line.startswith(f"{step} ")] if trace.exists() else []
        return lines[0] if lines else "never reached"

    def test_every_gap_of_the_reading_order(self):
        self.lock, self.happened, self.bad = threading.Lock(), collections.Counter(), collections.Counter()
        self.keep = keep = self.make_node("--chunk-size", CHUNK, "--chunks", 8, "--seed", SEED, "--tables", 3, "--scavenging-db", "stopped", name="keep")
        # A first snapshot with less in it, so that the second one sends chunks and reuses others.
        self.base_repository = self.dir / "base"
        url = f"file://{self.base_repository}"
        self.ferry("init", "--repo", url)
        self.backup(url, keep)
        with ferry.LiveNode(keep, self.dir, "--rate-bytes", 0) as node:
            for _ in range(3):
                node.tell("append-until-rollover")
            node.tell("flush-index")
            node.tell("append 5000")
        count = self.dir / "count"
        probe = self.dir / "probe"
        shutil.copytree(self.base_repository, probe)
        self.ferry("backup", "--repo", f"file://{probe}", "--node", "kdb-1", "--db", keep, env=ferry.environment(CF_STEP_TRACE=count),
                   binary=ferry.STEPPING)
        steps = sum(1 for line in count.read_text().splitlines() if line[0].isdigit())
        print(f"{steps} steps in a backup, {len(EVENTS)} kinds of event, {TOTAL} backups, CHUNKFERRY_SEED={DICE_SEED}")
        each = (TOTAL + len(EVENTS) - 1) // len(EVENTS)
        dice = random.Random(DICE_SEED)
        # Spread over all steps, with a random offset inside each stretch: other gaps for other events.
        plan = [(event, dice.randrange(1 + i * steps // each, max(1 + (i + 1) * steps // each, 2 + i * steps // each)))
                for event in EVENTS for i in range(each)]
        outcomes = collections.Counter()
        with ThreadPoolExecutor(JOBS) as pool:
            for (event, _), outcome in zip(plan, pool.map(lambda row: self.one(row[0], *row[1]), enumerate(plan))):
                outcomes[event, outcome] += 1
        for event in EVENTS:
            print(f"{outcomes[event, 'good']:4d} good {outcomes[event, 'refused']:4d} refused  {event}; "
                  f"of the good ones it happened in {self.happened[event, 'yes']}")
        for line, times in sorted(self.bad.items()):
            print(f"{times:4d} {line}")
        self.assertGreaterEqual(sum(outcomes.values()), TOTAL)
        self.assertGreater(sum(n for (_, o), n in outcomes.items() if o == "good"), TOTAL // 3, outcomes)
        for event in EVENTS:    # each kind is met, and lived through or refused
            self.assertGreater(self.happened[event, "yes"] + outcomes[event, "refused"], each // 3, event)


ferry.main(__name__)
