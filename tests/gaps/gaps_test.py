# SPDX-License-Identifier: Apache-2.0
"""200 backups of a node that changes between two looks: each is refused, or its copy starts and holds every acknowledged event.

stepping_chunkferry is the program with a numbered filesystem seam. First one run counts the steps of the reading order; then for
each kind of event and for steps spread over all of them, the event happens just before that step, while the node is written to.
"""
import os
import random
import shutil
import sys
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
    "scavenge the chaser's chunk": "hold-chaser on;append-until-rollover;scavenge-chaser",
    "truncation by an election": "truncate back 30000",
    "existence filter": "append 2000;filter-touch",
}
TOTAL = int(os.environ.get("GAPS_TOTAL", "200"))


class Gaps(ferry.Case):
    def one(self, number, event, step, keep):
        """One node, one first backup, the event at that step of the second; returns what came of it."""
        home = self.dir / f"{number}"
        home.mkdir()
        db = home / "node"
        shutil.copytree(keep, db, copy_function=shutil.copy2)
        url = f"file://{home}/repository"
        shutil.copytree(self.base_repository, home / "repository")
        trace = home / "trace"
        with ferry.LiveNode(db, home, "--rate-bytes", 0) as node:
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
        restored = ferry.run("restore", "--repo", url, "--node", "kdb-1", "latest", "--target", target)
        self.assertEqual(restored.code, 0, where + repr(restored))
        check = ferry.subprocess.run([*ferry.CHECK, "--db", str(target), "--seed", str(SEED)], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, where + check.stdout + trace.read_text()[-6000:])
        for folder, _, _ in os.walk(home):
            os.chmod(folder, 0o755)
        shutil.rmtree(home)
        return "good"

    @staticmethod
    def step_name(trace, step):
        lines = [line for line in trace.read_text().splitlines() if line.startswith(f"{step} ")] if trace.exists() else []
        return lines[0] if lines else "never reached"

    def test_every_gap_of_the_reading_order(self):
        keep = self.make_node("--chunk-size", CHUNK, "--chunks", 8, "--seed", SEED, "--tables", 3, name="keep")
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
        print(f"{steps} steps in a backup, {len(EVENTS)} kinds of event, {TOTAL} backups")
        each = (TOTAL + len(EVENTS) - 1) // len(EVENTS)
        outcomes, number = {}, 0
        dice = random.Random(1)
        for event in EVENTS:
            # Spread over all steps, with a random offset inside each stretch: other gaps for other events.
            for i in range(each):
                low, high = 1 + i * steps // each, 1 + (i + 1) * steps // each
                outcome = self.one(number, event, dice.randrange(low, max(high, low + 1)), keep)
                outcomes[event, outcome] = outcomes.get((event, outcome), 0) + 1
                number += 1
        for (event, outcome), times in sorted(outcomes.items()):
            print(f"{times:4d} {outcome:8s} {event}")
        self.assertGreaterEqual(number, TOTAL)
        self.assertGreater(sum(n for (_, o), n in outcomes.items() if o == "good"), TOTAL // 3, outcomes)


ferry.main(__name__)
