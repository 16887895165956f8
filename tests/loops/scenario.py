# SPDX-License-Identifier: Apache-2.0
"""The scenario of the loops: init; backup; append; backup; scavenge; backup; prune; copy. And the check after a fault.

The node's three stages are made once and are only read. A step is one command of the real program; the state of a place before each
step is kept, so that a case costs one step, its repetition and the check. What a restored directory must be is known by its digest:
the digest is taken from a restore in quiet that the independent checker has looked at, byte for byte.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys

sys.path[:0] = [p for p in ("tests/cli", "tests/fake", "tests/fake/startup_check", "tests/loops") if p not in sys.path]
import check as startup  # noqa: E402
import ferry  # noqa: E402
from place import NODE, FakePlace, FilePlace, remove, scratch  # noqa: E402

SEED = 21
HOUR_S = 3600
GRACE_S = 26 * HOUR_S           # past the 24 hours after which a dead run's leftovers go
MARKED_S = 8 * 24 * HOUR_S      # past the 7 days of a store without conditional create


class Step:
    """One command. stage: the stage whose content is the newest snapshot after it (0: none yet)."""

    def __init__(self, name, words, stage, codes=(0,), again=None, copied=False, later_s=0, state=None):
        self.name, self.words, self.stage, self.copied, self.later_s = name, words, stage, copied, later_s
        self.codes = codes          # of the command the first time
        self.again = again or codes     # of the same command after a fault
        self.state = state or name      # where it begins

    def __repr__(self):
        return self.name


def is_built(command):
    """Commands join the loops as they are built."""
    for words in (["latest", "x"], ["latest"], []):
        done = subprocess.run([str(ferry.BINARY), command, *words, "--repo", "file:///nonexistent", "--node", "x"], capture_output=True, text=True)
        if "is being built" in done.stderr:
            return False
    return True


class Scenario:
    """Stages, steps and states over one place."""

    def __init__(self, place):
        self.place = place
        self.dir = scratch("chunkferry-stages.")
        self.stages = self.make_stages(self.dir)
        self.has = {name: is_built(name) for name in ("prune", "copy", "verify", "tag")}
        self.steps = self._steps()
        self.states, self.good = {}, {}
        try:
            self._rehearse()
        except AssertionError as failure:
            raise AssertionError(f"in quiet: {failure}\n{place.story()}") from None

    def close(self):
        self.place.close()
        remove(self.dir)

    def story(self):
        return self.place.story()

    make_stages = staticmethod(lambda folder: make_stages(folder))

    @staticmethod
    def judge(_step, target):
        judge(target)

    def backup(self, stage, *more, url=None):
        return ["backup", "--repo", url or self.place.url, "--node", NODE, "--db", self.stages[stage], *more]

    def prune(self, *more):
        return ["prune", "--repo", self.place.url, "--node", NODE, "--keep-last", "1", *self.place.prune_words, *more]

    def copy(self, *more):
        return ["copy", "--repo", self.place.url, "--to-repo", self.place.to_url, "--node", NODE, "latest", *more]

    def _steps(self):
        p = self.place
        init_again = (0, 1)     # it may have been done: then it says that a repository is there already
        steps = [Step("init", ["init", "--repo", p.url], 0, again=init_again),
                 Step("backup-1", self.backup(1), 1), Step("backup-2", self.backup(2), 2), Step("backup-3", self.backup(3), 3)]
        if p.interrupts:
            steps.append(Step("adopt", self.backup(3), 3, state="interrupted"))
        if self.has["prune"]:
            steps.append(Step("prune", self.prune(), 3))
            if not p.conditional:   # the first one marks, this one deletes
                steps.append(Step("prune-later", self.prune(), 3, later_s=MARKED_S))
        if self.has["copy"]:
            steps += [Step("init-copy", ["init", "--repo", p.to_url], 3, again=init_again), Step("copy", self.copy(), 3, copied=True)]
        if self.has["verify"]:
            steps.append(Step("verify", ["verify", "--repo", p.url, "--node", NODE, "latest", "--read-data"], 3))
        if self.has["tag"]:
            steps.append(Step("tag", ["tag", "--repo", p.url, "--node", NODE, "latest", "--add", "checked"], 3))
        return steps

    def rebuild(self):
        """The place has other URLs."""
        self.steps = self._steps()

    def readers(self):
        """Commands that change nothing but what they write themselves; they begin at the scenario's end."""
        words = {"list": ["list"], "show": ["show", "latest", "--node", NODE, "-v"],
                 "restore": ["restore", "latest", "--node", NODE, "--target", self.dir / "restored"]}
        if is_built("status"):
            words["status"] = ["status"]
        if is_built("unlock"):
            words["unlock"] = ["unlock", "--node", NODE]
        if is_built("dump"):
            words["dump"] = ["dump", "--node", NODE, "latest", "db/chaser.chk"]
        return [Step(name, [w[0], "--repo", self.place.url, *w[1:]], 3, state="end") for name, w in words.items()]

    def step(self, name):
        return next(s for s in [*self.steps, *self.readers()] if s.name == name)

    def _rehearse(self):
        """Once in quiet: the state before each step, and what a restore of each stage gives."""
        for step in self.steps:
            if step.state == "interrupted":
                self._interrupt(step)
                continue
            self.states[step.state] = self.place.save()
            self.do(step)
            if step.stage and step.stage not in self.good:
                target = self.restore()
                self.judge(step, target)
                self.good[step.stage] = digest(target)
                remove(target)
        self.states["end"] = self.place.save()

    def _interrupt(self, step):
        """Off the line: what an interrupted backup left. How many lines its journal got is a matter of threads: some tries for all of them."""
        line = self.place.save()
        for _ in range(8):
            self.place.load(self.states["backup-3"])
            self.place.interrupted(self.backup(3, "--mode", "full", "--jobs", 1))
            self.states[step.state] = self.place.save()
            said = self.do(step).out
            if " in 0 packs " in said:
                break
        assert "going on from its" in said, "nothing of the interrupted run was adopted"
        self.place.load(line)

    # -- doing

    def load(self, name):
        self.place.load(self.states[name])

    def begin(self, step):
        self.place.load(self.states[step.state])
        remove(self.dir / "restored")
        self.wait(step)

    def wait(self, step):
        if step.later_s:
            self.place.pass_time(step.later_s)

    def do(self, step):
        self.wait(step)
        return self.place.must(step.words, step.codes)

    def repeat(self, step):
        """The same words again, at once."""
        outcome = self.place.run(step.words)
        assert outcome.code in step.again, f"'{step}' run again ended with {outcome.code}"
        assert outcome.code == 0 or "already" in outcome.err, f"'{step}' run again failed: {outcome.err}"

    def survive(self, step, faulted, codes):
        """After a fault that is over: the command succeeded, or it failed clearly; the repository is whole; the same command succeeds."""
        before = self.place.mark()
        outcome = faulted()
        assert outcome.code == 0 or outcome.code in codes, f"'{step}' ended with {outcome.code}"
        assert outcome.code == 0 or outcome.err.startswith("chunkferry: ") or "\nchunkferry: " in outcome.err, f"'{step}' failed and does not say why"
        if outcome.code == 0:
            self.check_read(step)
            self.check(step)
        elif step.name == "restore" and digest(self.dir / "restored") == self.good[step.stage]:
            return outcome      # all of it was restored, only its last words failed: a whole target is not restored over
        elif self.place.mark() == before and step.name != "restore":
            return outcome      # nothing was written: the rehearsal has shown what comes now
        else:
            self.check_listed()
            self.repeat(step)
            self.check_read(step)
            self.check(step)
        return outcome

    def check_read(self, step):
        if step.name == "restore":
            assert digest(self.dir / "restored") == self.good[step.stage], "the restored directory is not the snapshot's stage"

    def check_listed(self):
        """Whatever is listed is whole, also before anything is run again."""
        for url in (self.place.url, self.place.to_url):
            if self.snapshots(url, codes=(0, 10)):
                self.whole(url=url, every=True)

    def go_on(self, step):
        """The steps that follow, then a prune after the grace: leftovers of the fault go, and nothing else."""
        at = self.steps.index(step)
        for later in self.steps[at + 1:]:
            if later.state != "interrupted":
                self.do(later)
        if self.has["prune"]:
            self.place.pass_time(GRACE_S)
            self.place.must(self.prune())
            if not self.place.conditional:
                self.place.pass_time(MARKED_S)
                self.place.must(self.prune())
        self.check(self.steps[-1])

    # -- checking

    def restore(self, url=None, snapshot="latest"):
        target = self.dir / "checked"
        remove(target)
        self.place.must(["restore", "--repo", url or self.place.url, "--node", NODE, snapshot, "--target", target])
        return target

    def verify(self, url=None):
        if self.has["verify"]:
            self.place.must(["verify", "--repo", url or self.place.url, "--node", NODE, "all", "--read-data"])

    def snapshots(self, url=None, codes=(0,)):
        outcome = self.place.must(["list", "--repo", url or self.place.url, "--node", NODE, "--json"], codes)
        return [x["snapshot"] for x in map(json.loads, outcome.out.splitlines()) if x.get("type") == "snapshot"]

    def check(self, step):
        """What is promised after every step, whatever happened before it."""
        if step.stage:
            self.whole(stage=step.stage)
        if step.copied:
            self.whole(stage=step.stage, url=self.place.to_url)

    def whole(self, stage=None, url=None, every=False):
        """verify is green; the newest snapshot (every: each one) is a stage, byte for byte; stage: that one."""
        self.verify(url)
        listed = self.snapshots(url)
        assert listed, "no snapshot is listed"
        for run in (listed if every else listed[-1:]):
            target = self.restore(url, run)
            found = [s for s, good in self.good.items() if good == digest(target)]
            assert found, f"the restored snapshot {run} is no stage of the node"
            assert stage is None or run != listed[-1] or stage in found, f"the newest snapshot {run} is stage {found}, not {stage}"
            remove(target)
        return listed


class Multipart(Scenario):
    """init; backup; prune of a node with one chunk of 8 MiB that does not shrink: packs that take several parts."""

    @staticmethod
    def make_stages(folder):
        node("make", "--db", folder / "stage-1", "--chunks", 1, "--chunk-size", 8 << 20, "--seed", SEED, "--tables", 1, "--filter-size", 1000,
             "--transform", 1)
        return {1: folder / "stage-1"}

    def judge(self, step, target):
        """The checker cannot read an opaque log: its files are compared with the node's."""
        chunk = "chunk-000000.000000"
        assert (target / chunk).read_bytes() == (self.stages[step.stage] / chunk).read_bytes()

    def _steps(self):
        p = self.place
        return [Step("init", ["init", "--repo", p.url], 0, again=(0, 1)), Step("backup-1", self.backup(1, "--memory", "64M"), 1),
                Step("prune", self.prune(), 1)]


def node(*words):
    done = subprocess.run([*ferry.NODE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_stages(folder):
    """{1: fresh, 2: appended, 3: scavenged}; small, so that a command takes some 20 ms."""
    paths = {n: folder / f"stage-{n}" for n in (1, 2, 3)}
    node("make", "--db", paths[1], "--chunks", 2, "--chunk-size", 16384, "--seed", SEED, "--tables", 1, "--filter-size", 1000)
    subprocess.run(["cp", "-a", paths[1], paths[2]], check=True)
    node("append", "--db", paths[2], "--bytes", 20000)
    subprocess.run(["cp", "-a", paths[2], paths[3]], check=True)
    node("scavenge", "--db", paths[3], 0, 1)
    return paths


def judge(target):
    """The independent checker: would a server start on it, with every record that was there?"""
    args = argparse.Namespace(db=str(target), index=None, chunk_size=None, max_truncation=256 << 20, seed=SEED, archive=False)
    found = startup.Check(args)
    code = found.run()
    assert code == 0, found.found


def digest(target):
    """Of all names, modes and bytes; equal digests are equal directories."""
    whole = hashlib.sha256()
    for path in sorted(target.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(target)} {path.stat().st_mode:o} {path.stat().st_size}\n".encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()


PLACES = {"fake": FakePlace, "unconditional": lambda: FakePlace(conditional=False), "file": FilePlace}


def built_places():
    """The places the program can work in."""
    place = FakePlace(conditional=False)
    try:
        usable = place.run(["init", "--repo", place.url]).code == 0
    finally:
        place.close()
    return [kind for kind in PLACES if usable or kind != "unconditional"]


def make(kind):
    return Multipart(FakePlace()) if kind == "multipart" else Scenario(PLACES[kind]())
