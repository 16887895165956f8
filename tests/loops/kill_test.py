# SPDX-License-Identifier: Apache-2.0
"""Kill loop: kill -9 at the nth request (directories: the nth call that changes the disk) of every step of the scenario, before it, after
it and with the request delivered late; then the same command again, with no repair and no wait, and everything is there."""
import sys

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402


class Kill(loop.Loop):
    def __init__(self, kind, budget_s):
        self.kind, self.name, self.budget_s = kind, f"kill-{kind}", budget_s

    def make(self):
        return scenario.make(self.kind)

    def plan(self, scene):
        cases = []
        for step in scene.steps:
            scene.begin(step)
            cases += [(step.name, n, how) for n, how in scene.place.kill_points(step.words)]
        return cases

    def one(self, scene, case):
        name, nth, how = case
        step = scene.step(name)
        scene.begin(step)
        deliver = scene.place.killed(step.words, nth, how)
        scene.repeat(step)
        deliver()
        scene.check(step)
        scene.go_on(step)


def line(counts):
    each = {kind: counts.get(f"kill-{kind}", 0) for kind in (*scenario.PLACES, "multipart")}
    return f"kill loop: {sum(each.values())} kills ({', '.join(f'{kind} {n}' for kind, n in each.items())})"


if __name__ == "__main__":
    loop.main(line, *(Kill(kind, 15) for kind in (*scenario.built_places(), "multipart")))
