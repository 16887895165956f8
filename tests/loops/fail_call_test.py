# SPDX-License-Identifier: Apache-2.0
"""Fail loop, system calls: the nth call on a file (repository, node, target, scratch) fails with ENOSPC, EIO or EINTR, or does half of
what was asked. The command succeeds, or fails clearly and harms nothing."""
import sys

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402


class FailCall(loop.Loop):
    budget_s = 40

    def __init__(self, kind="file"):
        self.kind, self.name = kind, f"call-{kind}"

    def make(self):
        return scenario.make(self.kind)

    @staticmethod
    def below(scene):
        return [scene.place.dir, scene.dir]

    def plan(self, scene):
        cases = []
        for step in scene.steps + scene.readers():
            scene.begin(step)
            total = scene.place.count_calls(step.words, "disk", self.below(scene))
            cases += [(step.name, how, n) for n in range(1, total + 1) for how in ("ENOSPC", "EIO", "EINTR", "short")]
        return cases

    def one(self, scene, case):
        name, how, nth = case
        step = scene.step(name)
        scene.begin(step)
        env = scene.place.shimmed("disk", nth, how, self.below(scene))
        scene.survive(step, lambda: scene.place.run(step.words, **env), (1, 3))


def line(counts):
    return f"fail loop: {sum(counts.values())} failed system calls"


if __name__ == "__main__":
    loop.main(line, FailCall())
