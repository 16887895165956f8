# SPDX-License-Identifier: Apache-2.0
"""Memory stays under --memory: with one large chunk and with ten thousand small ones, there and back."""
import os
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

MIB = 1 << 20


class Memory(ferry.Case):
    def peak_mib(self, *words, env=None):
        child = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=env or ferry.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        error = child.stderr.read()
        child.stderr.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0, error)
        return usage.ru_maxrss / 1024

    def there_and_back(self, name, db, url, env=None):
        self.ferry("init", "--repo", url, env=env)
        remote = ["--repo", url, "--node", "m"]
        for limit in (64, 128):
            sent = self.peak_mib("backup", *remote, "--db", db, "--mode", "full", "--memory", f"{limit}MiB", env=env)
            back = self.peak_mib("restore", *remote, "latest", "--target", self.dir / f"{name}-{limit}", "--memory", f"{limit}MiB", env=env)
            print(f"{name}, --memory {limit}MiB: backup {sent:.0f} MiB, restore {back:.0f} MiB at their peaks")
            self.assertLess(sent, limit)
            self.assertLess(back, limit)

    def test_one_large_chunk(self):
        db = self.make_node("--chunks", 1, "--chunk-size", 256 * MIB, "--seed", 2)
        self.there_and_back("large", db, f"file://{self.dir}/repository")
        with ferry.fake_s3(root=str(self.dir / "objects")) as (_, env):
            self.there_and_back("large-s3", db, "s3://backups/m", env)

    def test_ten_thousand_chunks(self):
        db = self.make_node("--chunks", 10000, "--chunk-size", 4096, "--seed", 2)
        self.there_and_back("many", db, f"file://{self.dir}/repository")


if ferry.SANITIZED:
    ferry.skip("a sanitizer's own memory would be measured")
ferry.main(__name__)
