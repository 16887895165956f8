# SPDX-License-Identifier: Apache-2.0
"""Memory stays under --memory, from the least of 48 MiB on, in every flow that has it: large, many, small, sparse, all of it at once.

CHUNKFERRY_LONG=1: 200,000 small files and a million empty ones; else a tenth of the first.
"""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

MIB = 1 << 20
LONG = os.environ.get("CHUNKFERRY_LONG") == "1"
# A child's peak begins with that of who starts it: not this script, but a small one.
PEAK = """
import os, resource, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(status)
"""


def small_files(folder, total, size):
    """Folders of 1,000 files, each with content of its own."""
    for at in range(0, total, 1000):
        (folder / f"{at:07}").mkdir(parents=True)
        top = os.open(folder / f"{at:07}", os.O_RDONLY)
        for i in range(at, min(at + 1000, total)):
            fd = os.open(f"event-stream-{i:07}.json", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=top)
            if size:
                os.write(fd, b"%d " % i + bytes(size))
            os.close(fd)
        os.close(top)


class Memory(ferry.Case):
    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"

    def peak_mib(self, *words, env=None):
        done = subprocess.run([sys.executable, "-S", "-c", PEAK, str(ferry.BINARY), *map(str, words)], env=env or ferry.environment(), text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return float(done.stdout)

    def check(self, name, limit, *words, env=None):
        peak = self.peak_mib(*words, "--memory", f"{limit}MiB", env=env)
        print(f"{name}, --memory {limit}MiB: {words[0]} {peak:.1f} MiB at its peak")
        self.assertLess(peak, limit, f"{name}: {words[0]}")

    def all_flows(self, name, source, limits, url=None, env=None):
        """source: what says where it is. Two backups, the second with a parent; then verify, copy, restore."""
        url = url or f"file://{self.dir}/{name}"
        for limit in limits:
            remote = ["--repo", f"{url}-{limit}", "--node", "m"]
            to = f"{url}-{limit}-copy"
            self.ferry("init", *remote[:2], env=env)
            self.ferry("init", "--repo", to, env=env)
            self.check(name, limit, "backup", *remote, *source, env=env)
            self.check(name + ", again", limit, "backup", *remote, *source, env=env)
            self.check(name, limit, "verify", "--read-data", *remote, env=env)
            self.check(name, limit, "copy", *remote, "--to-repo", to, env=env)
            self.check(name, limit, "restore", *remote, "latest", "--target", self.dir / f"{name}-{limit}-back", env=env)

    def directory(self):
        return ["--profile", "directory", "--dir", self.source]

    def test_one_large_chunk(self):
        db = self.make_node("--chunks", 1, "--chunk-size", 128 * MIB, "--seed", 2)
        self.all_flows("large", ["--db", db], (48, 64, 128))
        with ferry.fake_s3(root=str(self.dir / "objects")) as (_, env):
            self.all_flows("large-s3", ["--db", db], (48, 128), "s3://backups/m", env)

    def test_ten_thousand_chunks(self):
        db = self.make_node("--chunks", 10000, "--chunk-size", 4096, "--seed", 2)
        self.all_flows("many", ["--db", db], (48,))

    def test_incompressible_and_many_lines(self):
        """All at once: a parent of many lines, part buffers full of what does not shrink."""
        small_files(self.source / "small", 200_000 if LONG else 20_000, 100)
        with ferry.fake_s3(root=str(self.dir / "objects")) as (_, env):
            remote = ["--repo", "s3://backups/p", "--node", "m"]
            self.ferry("init", *remote[:2], env=env)
            self.check("small", 48, "backup", *remote, *self.directory(), env=env)
            with open(self.source / "noise", "wb") as f:
                for _ in range(96):
                    f.write(os.urandom(MIB))
            self.check("small and noise", 48, "backup", *remote, *self.directory(), env=env)
            self.check("small and noise", 48, "restore", *remote, "latest", "--target", self.dir / "back", env=env)

    def test_sparse(self):
        self.source.mkdir()
        with open(self.source / "sparse", "wb") as f:
            f.truncate((16 << 30) if LONG else (2 << 30))
            for at in range(4):
                f.seek(at << 29)
                f.write(os.urandom(4 * MIB))
        self.all_flows("sparse", self.directory(), (48,))

    @unittest.skipUnless(LONG, "a million files: CHUNKFERRY_LONG=1")
    def test_a_million_lines(self):
        small_files(self.source, 1_000_000, 0)
        self.all_flows("million", self.directory(), (48,))


if ferry.SANITIZED:
    ferry.skip("a sanitizer's own memory would be measured")
ferry.main(__name__)
