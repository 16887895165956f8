# SPDX-License-Identifier: Apache-2.0
"""Somebody acts between any two looks of a backup at a tree: files change, go, are renamed, replaced by links. The backup succeeds, what it
stored is some state of each file that was there, and nothing outside the tree is ever read."""
import os
import random
import shutil
import socket
import sys
import threading

sys.path.insert(0, "tests/cli")
import ferry
import tree

PLACES = int(os.environ.get("CHUNKFERRY_PLACES", 0 if os.environ.get("CHUNKFERRY_LONG") == "1" else 25))


class Actor:
    """Answers the stepping program: does what the test wants at that step."""

    def __init__(self, path, act):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen()
        self.act = act
        self.acted = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                self.act()
                self.acted += 1
                client.sendall(b"ok\n")


class Race(ferry.Case):
    SECRET = b"not of the tree " * 100

    def make(self):
        src = self.dir / "src"
        shutil.rmtree(src, ignore_errors=True)
        for name in ["a/one", "a/two", "b/c/three", "b/four", "small", "z"]:
            path = src / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode() * (20 if name == "small" else 400))
        return src

    def actions(self, src, outside):
        def grow():
            with open(src / "b/four", "ab") as f:
                f.write(b"+" * 1000)

        def swap_dir():
            os.rename(src / "b/c", src / "b/moved")
            (src / "b/c").symlink_to(outside)

        def swap_file():
            (src / "a/two").unlink()
            (src / "a/two").symlink_to(outside / "three")

        return {
            "a file grows": grow,
            "a file shrinks": lambda: os.truncate(src / "b/four", 100),
            "a small file is written": lambda: (src / "small").write_bytes(b"other"),
            "a file goes": lambda: (src / "b/c/three").unlink(),
            "a folder goes": lambda: shutil.rmtree(src / "b"),
            "a file is renamed": lambda: os.rename(src / "a/one", src / "a/0"),
            "a folder becomes a link": swap_dir,
            "a file becomes a link": swap_file,
            "a file becomes a fifo": lambda: ((src / "z").unlink(), os.mkfifo(src / "z")),
            "a folder becomes a file": lambda: (shutil.rmtree(src / "a"), (src / "a").write_text("x")),
        }

    def test_between_any_two_looks(self):
        rnd = random.Random(tree.seed())
        url = self.repository()
        outside = self.dir / "outside"
        outside.mkdir()
        (outside / "three").write_bytes(self.SECRET)
        trace = self.dir / "trace"
        words = ["backup", "--repo", url, "--node", "t", "--profile", "directory", "--json", "--force", "--dir"]
        src = self.make()
        self.ferry(*words, src, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=trace))
        steps = [line for line in trace.read_text().splitlines() if not line.startswith(" ")]
        places = [(n, what) for n in range(1, len(steps) + 1) for what in self.actions(src, outside)]
        tried = changed = left_out = 0
        for n, what in (rnd.sample(places, PLACES) if 0 < PLACES < len(places) else places):
            src = self.make()
            path = str(self.dir / f"s{n}.{tried}")
            actor = Actor(path, self.actions(src, outside)[what])
            with self.subTest(step=n, at=steps[n - 1], what=what):
                r = self.ferry(*words, src, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_AT=n, CF_STEP_SOCKET=path, CF_STEP_COMMANDS="act"))
                tried += 1
                changed += r.summary["files_changed"]
                left_out += r.summary["files_left_out"]
                out = self.dir / "out"
                shutil.rmtree(out, ignore_errors=True)
                self.ferry("restore", "--repo", url, "--node", "t", "latest", "--target", out)
                for file in tree.walk(out):
                    if os.path.isfile(file) and not os.path.islink(file):
                        with open(file, "rb") as f:
                            self.assertNotIn(self.SECRET[:16], f.read(), file)
                if r.summary["files_left_out"] == 0 and r.summary["files_changed"] == 0 and "goes" not in what:
                    self.assertGreaterEqual(r.summary["files_total"], 9 - 3, r)
            actor.server.close()
        print(f"{tried} of {len(places)} places tried over {len(steps)} steps: {changed} files stored as they changed, {left_out} left out")
        self.assertGreater(tried, 0)

    def test_written_to_all_the_time(self):
        """A file that changes during each backup: what step 1 sent of it is not sent again by step 2, and neither by the next run."""
        part = 4 << 20
        url = self.repository()
        src = self.dir / "src"
        src.mkdir()
        (src / "log").write_bytes(os.urandom(3 * part - 1000))
        trace = self.dir / "trace"
        words = ["backup", "--repo", url, "--node", "t", "--profile", "directory", "--json", "--dir", src]
        self.ferry(*words, "--dry-run", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=trace))
        opened = next(n for n, line in enumerate(trace.read_text().splitlines(), 1) if "file_open log" in line)

        def append():
            with open(src / "log", "ab") as f:
                f.write(os.urandom(500))

        for n, most in enumerate([3 * part + part, 2 * part, 2 * part]):
            path = str(self.dir / f"w{n}")
            append()  # else a run that took its time knows it from the step 2 before, and reads nothing
            actor = Actor(path, append)
            # The first look behind the open and its stat: the content is being read, or about to be.
            r = self.ferry(*words, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_AT=opened + 2, CF_STEP_SOCKET=path, CF_STEP_COMMANDS="act"))
            self.assertEqual(actor.acted, 1)
            actor.server.close()
            self.assertLessEqual(r.summary["bytes_changed"], most, (n, r))
            steps = [x["step"] for x in self.ferry("show", "--repo", url, "--node", "t", "latest", "-v", "--json").lines if x.get("path") == "dir/log"]
            self.assertEqual(steps, [2])
            self.ferry("restore", "--repo", url, "--node", "t", "latest", "--target", self.dir / f"o{n}")
            self.assertEqual((self.dir / f"o{n}/log").read_bytes(), (src / "log").read_bytes())

    def test_every_look_fails(self):
        """Each look at the tree that fails costs one file at the most, or the run fails clearly; never a crash, never a silent loss."""
        url = self.repository()
        src = self.make()
        trace = self.dir / "trace"
        words = ["backup", "--repo", url, "--node", "t", "--profile", "directory", "--json", "--dir", src]
        self.ferry(*words, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=trace))
        steps = [line for line in trace.read_text().splitlines() if not line.startswith(" ")]
        codes = {0: 0, 1: 0, 3: 0}
        rnd = random.Random(tree.seed())
        all_steps = range(1, len(steps) + 1)
        for n in sorted(rnd.sample(all_steps, min(PLACES, len(steps))) if PLACES else all_steps):
            with self.subTest(step=n, at=steps[n - 1]):
                r = ferry.run(*words, "--force", binary=ferry.STEPPING, env=ferry.environment(CF_STEP_AT=n, CF_STEP_ERRNO=22))
                self.assertIn(r.code, codes, r)
                codes[r.code] += 1
                if r.code == 0:
                    told = r.summary["files_left_out"]
                    self.assertTrue(told > 0 or r.summary["files_total"] == 10, r)
                else:
                    self.assertIn("injected failure", r.err, r)
        print(f"{sum(codes.values())} of {len(steps)} looks failed in turn: exit codes {codes}")
        self.ferry(*words)


ferry.main(__name__)
