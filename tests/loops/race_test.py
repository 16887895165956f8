# SPDX-License-Identifier: Apache-2.0
"""Race loop: two backups of one node, of which one may adopt a dead run, a prune (sometimes two), a copy and a restore start together,
with random delays between all requests. At least one backup wins, nobody hangs, and every listed snapshot restores."""
import random
import sys
import time

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402
from place import NODE, remove  # noqa: E402

ROUNDS = 500
LIMIT_S = 120
AGES_S = (0, 600, scenario.GRACE_S)     # of the dead run when the race begins: its lease lives on, is out, its grace is over
DELAYS_MS = (0, 5, 25)
CODES = {"backup": (0, 1, 11), "prune": (0, 1, 11), "copy": (0, 1, 11), "restore": (0, 1)}


FILE_DELAYS_US = (0, 1000, 8000)


class Race(loop.Loop):
    kind, budget_s = "fake", 25
    name = "race"

    def make(self):
        scene = scenario.make(self.kind)
        scene.ends = {}
        scene.dead = self.dead_runs(scene)
        return scene

    @staticmethod
    def dead_runs(scene):
        """States in which a backup of stage 3 died at some request, without the copy; its target is a repository."""
        step, states = scene.step("backup-3"), []
        scene.begin(step)
        fake = hasattr(scene.place, "server")
        total = scene.place.count_requests(step.words) if fake else len(scene.place.kill_points(step.words)) // 2
        scene.load("interrupted")       # with a journal, so that there is something to adopt
        if scene.has["copy"]:
            scene.place.must(["init", "--repo", scene.place.to_url])
        states += [scene.place.save()] * 4
        for nth in range(5, total + 1, 3 if fake else 10):
            scene.begin(step)
            try:
                scene.place.killed(step.words, nth, "applied")
            except loop.NotReached:
                continue
            if scene.has["copy"]:
                scene.place.must(["init", "--repo", scene.place.to_url])
            states.append(scene.place.save())
        return states

    def plan(self, scene):
        return [(n,) for n in range(1, ROUNDS + 1)]

    def one(self, scene, case):
        dice = random.Random(f"{loop.SEED}/race/{case[0]}")
        place = scene.place
        place.load(dice.choice(scene.dead))
        place.pass_time(dice.choice(AGES_S))
        target = scene.dir / "restored"
        remove(target)
        wait = ["--wait-lock", "5m"]
        commands = [scene.backup(3, *wait), scene.backup(3, *wait), ["restore", "latest", "--repo", place.url, "--node", NODE, "--target", target]]
        if scene.has["prune"]:
            commands += [scene.prune(*wait)] * dice.choice((1, 1, 2))
        if scene.has["copy"]:
            commands += [scene.copy(*wait)]
        dice.shuffle(commands)
        slow = self.slow(place, dice, case)
        running = []
        for words in commands:
            running.append(place.start(words, **slow()))
            time.sleep(dice.choice((0, 0, 0.01, 0.05)))
        outcomes = self.finish_all(place, running)
        self.slow_ends(place)
        self.judge(scene, outcomes, target)

    def slow(self, place, dice, case):
        """Delays between all requests; what each command's environment gets for it."""
        most = dice.choice(DELAYS_MS)
        place.server.script.random.seed(f"{loop.SEED}/{case[0]}")
        place.server.script.replace([{"match": {}, "action": {"delay_ms": [0, most]}}] if most else [])
        return dict

    def slow_ends(self, place):
        place.server.script.replace([])

    @staticmethod
    def finish_all(place, running):
        try:
            return [place.finish(process, LIMIT_S) for process in running]
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.communicate()

    @staticmethod
    def judge(scene, outcomes, target):
        won = 0
        for o in outcomes:
            command = o.words[0]
            scene.ends[f"{command} {o.code}"] = scene.ends.get(f"{command} {o.code}", 0) + 1
            assert o.code in CODES[command], f"'{command}' ended with {o.code}"
            assert o.code == 0 or "chunkferry: " in o.err, f"'{command}' failed and does not say why"
            won += command == "backup" and o.code == 0
            if command == "restore" and o.code == 0:
                assert scenario.digest(target) in scene.good.values(), "what was restored meanwhile is no stage"
        assert won, "no backup won"
        scene.whole(stage=3, every=True)
        if scene.has["copy"] and scene.snapshots(scene.place.to_url):
            scene.whole(url=scene.place.to_url, every=True)


class Told(Race):
    """Prints how the commands ended, when a worker is done."""

    def make(self):
        scene = super().make()
        close = scene.close

        def closing():
            if scene.ends:
                print(f"race: ends {dict(sorted(scene.ends.items()))}", flush=True)
            close()
        scene.close = closing
        return scene


class RaceFile(Told):
    """In a directory: each call on a file of the repository is late by a little."""
    name, kind, budget_s = "race-file", "file", 15

    def slow(self, place, dice, case):
        most = dice.choice(FILE_DELAYS_US)
        return lambda: place.shimmed("disk", below=[place.base], SHIM_DELAY=most, SHIM_SEED=dice.getrandbits(32)) if most else {}

    def slow_ends(self, place):
        pass


def line(counts):
    return f"race loop: {counts.get('race', 0)} rounds on the fake, {counts.get('race-file', 0)} in a directory"


if __name__ == "__main__":
    loop.main(line, Told(), RaceFile())
