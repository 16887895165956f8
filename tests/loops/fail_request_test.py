# SPDX-License-Identifier: Apache-2.0
"""Fail loop, requests: the nth request of each command meets each fault. It succeeds, or fails clearly and harms nothing."""
import sys

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402

HURRY = {"SHIM_HURRY": 20}      # waits of the retries, and the 30 s without a byte, in a twentieth of their time
FAULTS = {  # action, how many requests in a row, operation, in a hurry, exit codes when it fails
    "500": ({"status": 500, "code": "InternalError"}, 1, "*", False, ()),
    "500-applied": ({"status": 500, "code": "InternalError", "apply": True}, 1, "*", False, ()),
    "500-for-ever": ({"status": 500, "code": "InternalError"}, 100000, "*", True, (1,)),
    "503": ({"slowdown": True}, 1, "*", True, ()),
    "cut-before": ({"close": "before_apply"}, 1, "*", False, ()),
    "cut-after": ({"close": "after_apply"}, 1, "*", False, ()),
    "cut-in-headers": ({"close": "mid_headers"}, 1, "*", False, ()),
    "cut-in-body": ({"cut_body": 40}, 1, ["Get*", "List*"], False, ()),
    "reset": ({"close": "after_apply", "reset": True}, 1, "*", False, ()),
    "time-out": ({"stall_ms": 2500}, 1, "*", True, ()),
    "denied": ({"status": 403, "code": "AccessDenied"}, 1, "*", False, (1, 12)),
    "denied-for-ever": ({"status": 403, "code": "AccessDenied"}, 100000, "*", False, (1, 12)),
    "wrong-byte": ({"flip_bit": 77}, 1, "GetObject", False, (1, 4)),
    "half-list": ({"list": "half"}, 1, "List*", False, (1,)),
}


class FailRequest(loop.Loop):
    def __init__(self, kind, budget_s):
        self.kind, self.name, self.budget_s = kind, f"request-{kind}", budget_s

    def make(self):
        return scenario.make(self.kind)

    def plan(self, scene):
        cases = []
        for step in scene.steps + scene.readers():
            scene.begin(step)
            ops = scene.place.count_ops(step.words)
            for fault, (_, _, op, _, _) in FAULTS.items():
                fitting = sum(n for name, n in ops.items() if op == "*" or any(name.startswith(o.rstrip("*")) for o in ([op] if isinstance(op, str) else op)))
                cases += [(step.name, fault, n) for n in range(1, fitting + 1)]
        return cases

    def one(self, scene, case):
        name, fault, nth = case
        action, count, op, hurry, codes = FAULTS[fault]
        step = scene.step(name)
        scene.begin(step)
        env = scene.place.shimmed("none", **HURRY) if hurry else {}
        scene.survive(step, lambda: scene.place.ruled(step.words, nth, action, count, op, **env), codes)


def line(counts):
    return f"fail loop: {sum(counts.values())} failed requests ({', '.join(f'{k[8:]} {n}' for k, n in counts.items())})"


if __name__ == "__main__":
    loop.main(line, *(FailRequest(kind, 20) for kind in scenario.built_places() if kind != "file"))
