# SPDX-License-Identifier: Apache-2.0
"""Fail loop, allocations: the nth allocation fails, and in other cases (every 10th n) each one from the nth on. Counted are those of the program, of
jansson, zstd, libxml2 and libc; those of curl, OpenSSL and below them are left alone (docs/TESTING.md)."""
import sys

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402


ALL_EVERY = 10


class FailAlloc(loop.Loop):
    def __init__(self, kind, budget_s):
        self.kind, self.name, self.budget_s = kind, f"alloc-{kind}", budget_s

    def make(self):
        return scenario.make(self.kind)

    def plan(self, scene):
        cases = []
        for step in scene.steps + scene.readers():
            scene.begin(step)
            total = scene.place.count_calls(step.words, "alloc")
            cases += [(step.name, "one", n) for n in range(1, total + 1)] + [(step.name, "all", n) for n in range(1, total + 1, ALL_EVERY)]
        return cases

    def one(self, scene, case):
        name, how, nth = case
        step = scene.step(name)
        scene.begin(step)
        env = scene.place.shimmed("alloc", nth, "null", **({"SHIM_ALL": 1} if how == "all" else {}))
        scene.survive(step, lambda: scene.place.run(step.words, **env), (1,))


def line(counts):
    return f"fail loop: {sum(counts.values())} failed allocations ({', '.join(f'{k[6:]} {n}' for k, n in counts.items())})"


if __name__ == "__main__":
    loop.main(line, FailAlloc("fake", 20), FailAlloc("file", 20))
