# SPDX-License-Identifier: Apache-2.0
"""Frozen process: a backup is stopped at each of its requests (a prune too), its lease, and in other cases the grace, run out, another
machine backs up and prunes; then it goes on, in a second pass it is killed. It fails or succeeds, and everything listed is whole."""
import contextlib
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402
from place import LIMIT_S  # noqa: E402
from s3.http1 import Gone  # noqa: E402

SLEEPS_S = {"lease": 600, "grace": scenario.GRACE_S, "week": 30 * 24 * 3600}
FROZEN = {"backup-1": 1, "backup-3": 3, "adopt": 3, "prune": 3}    # step, the stage that the others back up meanwhile


def other_machine():
    """A pid namespace of its own: the frozen process is not to be seen there, so only the store's clock can tell."""
    words = ["unshare", "--pid", "--fork", "--mount-proc"]
    return words if os.geteuid() == 0 and subprocess.run([*words, "true"], capture_output=True).returncode == 0 else []


class Frozen(loop.Loop):
    budget_s = 40
    name = "frozen"

    def make(self):
        return scenario.make("fake")

    def plan(self, scene):
        cases = []
        for name in FROZEN:
            if name == "prune" and not scene.has["prune"]:
                continue
            step = scene.step(name)
            scene.begin(step)
            total = scene.place.count_requests(step.words)
            cases += [(name, n, when, sleep, end) for n in range(1, total + 1) for when in ("before", "after") for sleep in SLEEPS_S
                      for end in ("CONT", "KILL")]
        return cases

    def one(self, scene, case):
        name, nth, when, sleep, end = case
        step, place = scene.step(name), scene.place
        scene.begin(step)
        thaw, stopped = threading.Event(), threading.Event()

        def act(trap, now):
            if now == f"{when}_apply":
                os.kill(trap.process.pid, signal.SIGSTOP)
                stopped.set()
                thaw.wait(LIMIT_S * 3)
                if end == "KILL" and when == "before":
                    raise Gone("the client was killed")

        process, trap = place.trapped(step.words, nth, act)
        try:
            while process.poll() is None and not stopped.wait(0.002):
                pass
            if not stopped.is_set():
                place.finish(process)
                raise loop.NotReached
            place.server.hook = None
            earlier = scene.snapshots()     # committed at the instant of the stop, perhaps by the one that is stopped
            place.pass_time(SLEEPS_S[sleep])
            committed = self.meanwhile(scene, FROZEN[name])
            os.kill(process.pid, signal.SIGKILL if end == "KILL" else signal.SIGCONT)
            thaw.set()
            outcome = place.finish(process)
        finally:
            thaw.set()
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGCONT)
            if process.poll() is None:
                process.kill()
                process.communicate()
        assert end == "KILL" or outcome.code in (0, 1, 11), f"thawed, '{name}' ended with {outcome.code}"
        assert end == "KILL" or outcome.code == 0 or "chunkferry: " in outcome.err, "it failed and does not say why"
        self.judge(scene, step, outcome, committed, earlier)

    @staticmethod
    def meanwhile(scene, stage):
        """The other machine: backup, prune, and once more a day later. What is listed is whole at each time."""
        place = scene.place
        with as_other(place):
            place.must(scene.backup(stage))
            if scene.has["prune"]:
                place.must(scene.prune())
            listed = scene.whole(stage=stage, every=True)
            if scene.has["prune"]:
                place.pass_time(scenario.GRACE_S)
                place.must(scene.prune())
        return listed

    @staticmethod
    def judge(scene, step, outcome, before, earlier):
        listed = scene.whole(every=True)
        assert before[-1] in listed, "what the other machine backed up is gone"
        if step.name.startswith("backup") and outcome.code == 0:
            run = outcome.out.split("snapshot ")[1].split(" ")[0]
            assert run in listed + earlier, f"it says that {run} is committed, and it is not listed"
        scene.place.must(scene.backup(3))
        scene.place.pass_time(scenario.GRACE_S)
        if scene.has["prune"]:
            scene.place.must(scene.prune())
        scene.whole(stage=3, every=True)


@contextlib.contextmanager
def as_other(place):
    place.before = OTHER
    try:
        yield
    finally:
        place.before = []


OTHER = other_machine()


def line(counts):
    return f"frozen process: {counts.get('frozen', 0)} times ({'a pid namespace of its own' if OTHER else 'by the clock alone'})"


if __name__ == "__main__":
    loop.main(line, Frozen())
