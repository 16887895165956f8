# SPDX-License-Identifier: Apache-2.0
"""--nice and --io-idle: every thread of the process has them, a lower priority stays, and what cannot be is refused."""
import ctypes
import os
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

IOPRIO_GET = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)
LIBC = ctypes.CDLL(None, use_errno=True)


def look(pid):
    """Of each thread: its nice value and its class of input and output (3: idle)."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as f:
            nice = int(f.read().rsplit(")", 1)[1].split()[16])
        found.append((nice, LIBC.syscall(IOPRIO_GET, 1, int(task)) >> 13 if IOPRIO_GET else None))
    return found


class Manners(ferry.Case):
    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.source.mkdir()
        (self.source / "noise").write_bytes(os.urandom(1 << 20))
        self.url = self.repository()

    def while_running(self, *words, before=None):
        """What look() sees of a backup that its limit makes slow, once its threads are there."""
        process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", self.url, "--node", "n", "--profile", "directory", "--dir", str(self.source),
                                    "--limit-upload", "256KiB", *words], env=ferry.environment(), stdout=subprocess.DEVNULL, preexec_fn=before)
        try:
            end = time.monotonic() + 60
            while len(os.listdir(f"/proc/{process.pid}/task")) < 5:
                self.assertLess(time.monotonic(), end, "it started no threads")
                time.sleep(0.01)
            return look(process.pid)
        finally:
            process.kill()
            process.wait()

    def check(self, found, nice, io_class):
        self.assertGreaterEqual(len(found), 5)
        self.assertEqual({n for n, _ in found}, {nice})
        if IOPRIO_GET:
            self.assertEqual({c for _, c in found}, {io_class})

    def test_all_threads(self):
        here = os.getpriority(os.PRIO_PROCESS, 0)
        self.check(self.while_running(), here, 0)
        self.check(self.while_running("--nice", "15"), max(here, 15), 0)
        self.check(self.while_running("--io-idle", "--nice", "19"), 19, 3)

    def test_never_raised(self):
        self.check(self.while_running("--nice", "3", before=lambda: os.nice(19)), 19, 0)

    def test_words(self):
        for command in ("backup", "restore", "verify", "copy", "prune"):
            self.refused(2, "outside 1 to 19", command, "--repo", self.url, "--node", "n", "--nice", "20", *{"restore": ["latest"]}.get(command, []))
        self.refused(2, "is no number", "verify", "--repo", self.url, "--nice", "-5")
        self.refused(2, "'--nice'", "list", "--repo", self.url, "--nice", "5")
        self.ferry("verify", "--repo", self.url, "--nice", "5", "--io-idle")


ferry.main(__name__)
