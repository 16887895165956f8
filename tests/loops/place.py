# SPDX-License-Identifier: Apache-2.0
"""Where a scenario's two repositories are: in the fake S3 server, with and without conditional create, or in directories.

A place can be saved and loaded, so that each case begins at the step it is about; it runs the program with a fault at its
nth request (servers) or its nth call that changes the disk (directories), and tells its story when a case has failed.
"""
import collections
import contextlib
import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [p for p in ("tests/cli", "tests/fake") if p not in sys.path]
import ferry  # noqa: E402
import loop  # noqa: E402
from s3.http1 import Gone  # noqa: E402
from s3.server import FakeServer  # noqa: E402

LIMIT_S = 60        # no command may take longer, whatever fails
NODE = "kdb-1"
BUCKET = "backups"
SHM = Path("/dev/shm")
SHIM = Path(os.environ.get("CHUNKFERRY_BUILD", ferry.BINARY.parent)) / "tests" / "libloop_shim.so"


def scratch(prefix="chunkferry-loop."):
    """Memory if there is some: a sync costs nothing there, and kill -9 loses nothing that was written."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=SHM if os.access(SHM, os.W_OK) else None))


def remove(path):
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)
    shutil.rmtree(path, ignore_errors=True)


class Outcome:
    """One finished run of the program."""

    def __init__(self, words, code, out, err, seconds):
        self.words, self.code, self.out, self.err, self.seconds = words, code, out, err, seconds

    def __repr__(self):
        return f"$ chunkferry {' '.join(self.words)}\nexit {self.code} after {self.seconds:.2f} s\n--- out\n{self.out[-1500:]}\n--- err\n{self.err[-3000:]}"


class Place:
    """Scratch folders, the program, its last runs."""
    conditional = True
    prune_words = ()
    interrupts = True           # it can put back a state, so it can have one that an interrupted backup left

    def __init__(self):
        self.before = []        # words before the program's name
        self.dir = scratch()
        self.runs = collections.deque(maxlen=8)
        self.env = ferry.environment(TMPDIR=self.dir)

    def close(self):
        remove(self.dir)

    def story(self):
        return "".join(f"  {run!r}\n".replace("\n", "\n  ") for run in self.runs)

    # -- the program

    def start(self, words, **env):
        """The program, running; finish() ends it."""
        process = subprocess.Popen([*self.before, str(ferry.BINARY), *map(str, words)], env={**self.env, **{k: str(v) for k, v in env.items()}},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="backslashreplace")
        process.words, process.began = [str(w) for w in words], time.monotonic()
        return process

    def finish(self, process, limit_s=LIMIT_S):
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            stacks = stacks_of(process.pid)
            process.kill()
            out, err = process.communicate()
            self.runs.append(Outcome(process.words, "hang", out, err + stacks, time.monotonic() - process.began))
            raise AssertionError(f"'{process.words[0]}' did not end within {limit_s} s") from None
        outcome = Outcome(process.words, process.returncode, out, err, time.monotonic() - process.began)
        self.runs.append(outcome)
        for word in ("Sanitizer", "runtime error:", "assertion", "FAKEACCESS", "fake/secret"):
            assert word not in err, f"'{word}' in what it says"
        return outcome

    def run(self, words, **env):
        return self.finish(self.start(words, **env))

    def must(self, words, codes=(0,), **env):
        outcome = self.run(words, **env)
        assert outcome.code in codes, f"'{' '.join(outcome.words)}' ended with {outcome.code}"
        return outcome

    # -- shims

    def shimmed(self, kind, at=0, do="", below=None, **more):
        env = {"LD_PRELOAD": SHIM, "SHIM_KIND": kind, "SHIM_AT": at, "SHIM_DO": do, **more}
        if below:
            env["SHIM_BELOW"] = ":".join(map(str, below))
        return env

    def count_calls(self, words, kind, below=None):
        """How many calls of a kind the command makes."""
        file = self.dir / "count"
        self.must(words, **self.shimmed(kind, below=below, SHIM_COUNT=file))
        return int(file.read_text())


def stacks_of(pid):
    """Where a hung process stands, as far as the kernel tells."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            lines.append(f"  thread {task.name}: {(task / 'wchan').read_text()} {(task / 'syscall').read_text().strip()}")
        except OSError:
            continue
    return "\n--- threads\n" + "\n".join(lines)


# ---- the fake server -------------------------------------------------------------------------------------------


class Trap:
    """Something that happens at the nth request: act(call, when) decides. One at a time, on a Fake place."""

    def __init__(self, nth, act):
        self.nth, self.act = nth, act
        self.seen, self.sprung, self.lock = 0, threading.Event(), threading.Lock()
        self.process, self.running = None, threading.Event()
        self.call = None

    def hook(self, call, when):
        with self.lock:
            if when == "before_apply":
                self.seen += 1
                if self.seen == self.nth:
                    self.call = call
            mine = call is self.call
        if mine:
            self.running.wait(LIMIT_S)
            self.sprung.set()
            self.act(self, when)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):    # collected by finish() in between: dead too
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)


class FakePlace(Place):
    """Both repositories in one bucket of the fake server."""
    name = "fake"
    retries_create = False

    def __init__(self, conditional=True, **options):
        super().__init__()
        self.conditional = conditional
        self.name = "fake" if conditional else "unconditional"
        self.server = FakeServer(buckets=[BUCKET], no_conditional=not conditional, **options).start()
        self.url, self.to_url = f"s3://{BUCKET}/prod", f"s3://{BUCKET}/copy"
        o = self.server.options
        self.env.update(AWS_ACCESS_KEY_ID=o.access_key, AWS_SECRET_ACCESS_KEY=o.secret_key, AWS_ENDPOINT_URL_S3=self.server.url,
                        AWS_REGION=o.region)
        self.log = collections.deque(maxlen=60)

    def close(self):
        self.server.stop()
        super().close()

    def story(self):
        requests = "".join(f"    {r['op']} {r['key']} {r['status']} {r['code']}\n" for r in self.server.journal.all_records()[-40:])
        return super().story() + "  requests:\n" + requests

    # -- state

    def save(self):
        store = self.server.store
        with store.lock:
            return {name: (dict(b.objects), list(b.keys), copy.copy(b.uploads)) for name, b in store.buckets.items()}, self.server.skew_s

    def load(self, state):
        store = self.server.store
        with store.lock:
            for name, (objects, keys, uploads) in state[0].items():
                b = store.buckets[name]
                b.objects, b.keys, b.uploads = dict(objects), list(keys), copy.copy(uploads)
        self.server.skew_s = state[1]
        self.server.hook = None
        self.server.journal.clear()
        self.runs.clear()

    def mark(self):
        """Equal marks: nothing was written between them."""
        store = self.server.store
        with store.lock:
            return {name: [(k, id(o)) for k, o in sorted(b.objects.items())] for name, b in store.buckets.items()}

    def pass_time(self, seconds):
        self.server.skew_s += seconds

    # -- faults

    def trapped(self, words, nth, act, **env):
        """Starts the program with a trap at its nth request; (process, trap)."""
        trap = Trap(nth, act)
        self.server.hook = trap.hook
        trap.process = self.start(words, **env)
        trap.running.set()
        return trap.process, trap

    def ruled(self, words, nth, action, count=1, op="*", **env):
        """Runs the program; the nth request that fits (and count in all) meets the action. NotReached when none did."""
        self.server.script.replace([{"match": {"op": op, "nth": nth, "count": count}, "action": action}])
        try:
            outcome = self.run(words, **env)
            fired = self.server.script.state()[0]["fired"]
        finally:
            self.server.script.replace([])
        if not fired:
            raise loop.NotReached
        return outcome

    def count_ops(self, words):
        """{operation: requests} of the command."""
        self.server.journal.clear()
        self.must(words)
        return dict(self.server.journal.all_counts()["ops"])

    def count_requests(self, words):
        trap = Trap(0, None)
        self.server.hook = trap.hook
        self.must(words)
        self.server.hook = None
        return trap.seen

    def interrupted(self, words):
        """Ctrl-C at the third pack: the run ends in order and leaves its journal."""
        packs = set()

        def hook(call, when):
            if when == "before_apply" and b"-pack-" in call.key and call.op == "PutObject":
                packs.add(call.key)
            if when == "before_apply" and len(packs) == 3 and call.key in packs:
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
                raise Gone("interrupted")

        self.server.hook = hook
        process = self.start(words)
        outcome = self.finish(process)
        self.server.hook = None
        assert outcome.code == 130, "it was to be interrupted"

    def kill_points(self, words):
        """[(n, how)] of every kill; how as in killed()."""
        total = self.count_requests(words)
        return [(n, how) for n in range(1, total + 1) for how in ("never", "applied", "late")]

    def killed(self, words, nth, how):
        """Killed at the nth request. how: it never took place, it did and the answer is lost, or it takes place later, when the function that
        is returned is called: a request that a slow network delivers after its sender's death."""
        go_on, applied = threading.Event(), threading.Event()

        def act(trap, when):
            if when == "before_apply" and how != "applied":
                trap.kill()
                if how == "never":
                    raise Gone("the client was killed")
                go_on.wait(LIMIT_S)
            elif when == "after_apply":
                if how == "applied":
                    trap.kill()
                applied.set()
                raise Gone("the client was killed")

        process, trap = self.trapped(words, nth, act)
        outcome = self.finish(process)
        self.server.hook = None
        if not trap.sprung.is_set():
            raise loop.NotReached
        assert outcome.code == -signal.SIGKILL, "it was to be killed"

        def deliver():
            go_on.set()
            if how == "late":       # a request that is refused never comes to its end
                applied.wait(0.05)
        return deliver


# ---- directories -----------------------------------------------------------------------------------------------


class FilePlace(Place):
    name = "file"

    def __init__(self):
        super().__init__()
        self.base = self.dir / "place"
        self.base.mkdir()
        self.url, self.to_url = f"file://{self.base}/prod", f"file://{self.base}/copy"
        self.states = 0

    def save(self):
        self.states += 1
        to = self.dir / f"state-{self.states}"
        shutil.copytree(self.base, to, symlinks=True)
        return to

    def load(self, state):
        remove(self.base)
        shutil.copytree(state, self.base, symlinks=True)
        self.runs.clear()

    def mark(self):
        return [(str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for p in sorted(self.base.rglob("*")) if p.is_file() and ".chunkferry-tmp" not in p.parts]

    def pass_time(self, seconds):
        """Everything becomes older."""
        for path in self.base.rglob("*"):
            s = path.lstat()
            os.utime(path, ns=(s.st_atime_ns - int(seconds * 1e9), s.st_mtime_ns - int(seconds * 1e9)), follow_symlinks=False)

    def interrupted(self, words):
        trace = self.dir / "trace"
        state = self.save()
        self.must(words, **self.shimmed("change", below=[self.base], SHIM_TRACE=trace))
        packs = sorted(int(x.split(" ")[0]) for x in trace.read_text().splitlines() if " linkat " in x and "-pack-" in x)
        self.load(state)
        outcome = self.run(words, **self.shimmed("change", packs[2], "interrupt", below=[self.base]))
        assert outcome.code == 130, "it was to be interrupted"

    def kill_points(self, words):
        total = self.count_calls(words, "change", below=[self.base])
        return [(n, how) for n in range(1, total + 1) for how in ("never", "applied")]

    def killed(self, words, nth, how):
        outcome = self.run(words, **self.shimmed("change", nth, "kill-before" if how == "never" else "kill-after", below=[self.base]))
        if outcome.code == 0:
            raise loop.NotReached
        assert outcome.code == -signal.SIGKILL, f"it was to be killed and ended with {outcome.code}"
        return lambda: None
