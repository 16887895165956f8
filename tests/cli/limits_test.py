#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--limit-upload and --limit-download: bytes over time, on a server and in a directory.

The times are the test machine's: an upper bound leaves room for a busy one, the lower bound (never faster than the limit) is exact.
"""
import os
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry

KIB, MIB = 1024, 1024 * 1024
EARLY = 0.88        # of the time that the limit needs: 200 ms of burst, and the first step is free


class Limits(ferry.Case):
    def tree(self, size):
        source = self.dir / "source"
        source.mkdir()
        (source / "noise").write_bytes(os.urandom(size))
        return source

    def timed(self, least_s, *words, **options):
        began = time.monotonic()
        result = self.ferry(*words, "--json", **options)
        took = time.monotonic() - began
        self.assertGreater(took, least_s * EARLY, f"faster than the limit\n{result}")
        self.assertLess(took, least_s * 1.5 + 4)
        return result

    def both_ways(self, url, env=None):
        node = ["--repo", url, "--node", "n"]
        self.ferry("init", "--repo", url, env=env)
        self.timed(2, "backup", *node, "--profile", "directory", "--dir", self.tree(2 * MIB), "--limit-upload", "1MiB", env=env)
        db = self.make_node()
        node[-1] = "kdb-1"
        sent = self.ferry("backup", *node, "--db", db, "--json", env=env).summary["bytes_uploaded"]
        rate = max(sent // 2, KIB)
        received = self.timed(1.6, "restore", *node, "latest", "--target", self.dir / "target", "--limit-download", rate, env=env).summary
        self.assertGreater(received["bytes_downloaded"], 1.6 * rate)
        self.assert_same_tree(db, self.dir / "target")

    def test_server(self):
        with ferry.fake_s3() as (_, env):
            self.both_ways("s3://backups/p", env)

    def test_directory(self):
        self.both_ways(f"file://{self.dir}/repository")

    def test_retries_count(self):
        source = self.tree(2 * MIB)
        rules = [{"match": {"op": "PutObject", "key": "-pack-", "nth": 1}, "action": {"status": 500, "code": "InternalError"}},
                 {"match": {"op": "UploadPart", "nth": 1}, "action": {"status": 500, "code": "InternalError"}}]
        with ferry.fake_s3(rules=rules) as (server, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            began = time.monotonic()
            self.ferry("backup", "--repo", "s3://backups", "--node", "n", "--profile", "directory", "--dir", source,
                       "--limit-upload", "1MiB", env=env)
            sent = ferry.server_counts(server)["bytes_uploaded"]
            self.assertGreater(sent, 4 * MIB)
            self.assertGreater(time.monotonic() - began, sent / MIB * EARLY)

    def test_words(self):
        for value, said in (("0", "1 byte is the least"), ("1000", "1024 is the least"), ("fast", "is no size")):
            self.refused(2, said, "backup", "--repo", f"file://{self.dir}/r", "--node", "n", "--db", self.dir, "--limit-upload", value)


ferry.main(__name__)
