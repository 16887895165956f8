# SPDX-License-Identifier: Apache-2.0
"""bench: the stage that is made slow is the one it names; it leaves nothing behind, also interrupted."""
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

from s3.client import Client  # noqa: E402

MIB = 1024 * 1024
# The help tells which way this build has to choose a level, and the highest.
HELP = ferry.run("bench", "--help").out if ferry.BINARY.exists() else ""
LEVEL, HIGHEST = ("--compression", "19") if "--compression" in HELP else ("--level", "9")


def content(top):
    """Every file with its bytes and times; the place of unfinished files of a directory store aside."""
    return {str(p.relative_to(top)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
            for p in sorted(top.rglob("*")) if p.is_file()}


class Bench(ferry.Case):
    def bench(self, url, *words, env=None, code=0):
        return self.ferry("bench", "--repo", url, "--size", "2MiB", *words, "--json", env=env, code=code)

    def of(self, result, kind):
        return [x for x in result.lines if x["type"] == kind]

    def backup_of(self, result):
        return next(x for x in self.of(result, "estimate") if x["flow"] == "backup")

    def keys(self, server):
        return [key for keys in Client.of(server).control("GET", "keys").values() for key in keys]

    def slow(self, server, bytes_per_s):
        """A link that all uploads share."""
        link = threading.Lock()

        def hook(call, when):
            if when == "before_apply" and call.op == "PutObject":
                with link:
                    time.sleep((call.request.content_length() or 0) / bytes_per_s)

        server.hook = hook

    # What it says
    def test_a_slow_store(self):
        with ferry.fake_s3() as (server, env):
            self.slow(server, MIB // 2)
            done = self.bench("s3://backups/prod", env=env)
            found = self.backup_of(done)
            self.assertEqual((found["bound"], done.summary["backup_bound"]), ("upload", "upload"), done)
            ratio = next(x["ratio"] for x in self.of(done, "level") if x["level"] == 3)
            self.assertGreater(found["bytes_per_s"] / ratio, MIB / 4)
            self.assertLess(found["bytes_per_s"] / ratio, MIB)
            # The remedy is a level that makes less of it.
            self.assertEqual([x["flag"] for x in self.of(done, "advice")], [LEVEL.replace("--level", "--compression")])
            self.assertEqual(self.keys(server), [])

    def test_one_job_at_the_highest_level(self):
        with ferry.fake_s3() as (server, env):
            done = self.bench("s3://backups/prod", LEVEL, HIGHEST, "--jobs", 1, "--memory", "512MiB", env=env)
            found = self.backup_of(done)
            self.assertEqual((found["level"], found["bound"]), (int(HIGHEST), "compression"), done)
            self.assertEqual(self.of(done, "machine")[0]["workers"], 1)
            self.assertEqual(self.keys(server), [])

    def test_a_store_that_is_far_away(self):
        rules = [{"match": {"op": "PutObject"}, "action": {"stall_ms": 300}}]
        with ferry.fake_s3(rules=rules) as (server, env):
            done = self.bench("s3://backups/prod", "--connections", 16, env=env)
            self.assertEqual(self.backup_of(done)["bound"], "latency", done)
            put = next(x for x in self.of(done, "latency") if x["op"] == "put")
            self.assertGreaterEqual(put["median_ms"], 300)
            advice = self.of(done, "advice")[0]
            self.assertEqual(advice["flag"], "--connections")
            self.assertGreater(advice["value"], self.of(done, "machine")[0]["upload_connections"])
            self.assertGreater(advice["after_bytes_per_s"], advice["before_bytes_per_s"])
            self.assertIn(f"--connections {advice['value']} --memory {advice['memory_bytes'] >> 20}MiB:", advice["text"])
            self.assertEqual([x["connections"] for x in self.of(done, "step") if x["op"] == "put"], [1, 2, 4, 8, 16])

    def test_its_own_limit_counts(self):
        done = self.bench(f"file://{self.dir}", "--limit-upload", "500KiB")
        self.assertEqual(self.backup_of(done)["bound"], "upload", done)

    def test_the_sums_are_those_of_the_estimate(self):
        done = self.bench(f"file://{self.dir}")
        found = self.backup_of(done)
        self.assertAlmostEqual(found["bytes_per_s"], min(found["limits"].values()), delta=1)
        self.assertEqual(done.summary["backup_bytes_per_s"], found["bytes_per_s"])
        row = next(x for x in self.of(done, "level") if x["level"] == 3)
        self.assertEqual(row["backup_bytes_per_s"], found["bytes_per_s"])
        cpu = self.of(done, "cpu")[0]
        self.assertLess(cpu["both_bytes_per_s"], cpu["sha256_bytes_per_s"])
        self.assertAlmostEqual(found["limits"]["hashing"], cpu["both_bytes_per_s"], delta=1)
        self.assertEqual([x["op"] for x in self.of(done, "latency")], ["put", "get", "head", "list"])

    def test_the_least_memory(self):
        """Objects of a directory are larger than what is kept of one."""
        done = self.ferry("bench", "--repo", f"file://{self.dir}", "--memory", "64MiB", "--size", "48MiB", "--json")
        self.assertEqual(self.of(done, "machine")[0]["part_bytes"], 5 * MIB)
        self.assertGreater(max(x["object_bytes"] for x in self.of(done, "step")), 5 * MIB)

    def test_in_words(self):
        out = self.ferry("bench", "--repo", f"file://{self.dir}", "--size", "1MiB").out
        for word in ("machine ", "hashing ", "compression ", "answers ", "send ", "receive ", "backup ", "restore ", "advice ", "Bound by "):
            self.assertIn(word, out)
        self.assertEqual([line for line in out.splitlines() if len(line) > 160], [])

    # What it reads and what it leaves
    def test_the_source(self):
        source = self.dir / "source"
        (source / "below").mkdir(parents=True)
        (source / "noise").write_bytes(os.urandom(3 * MIB))
        (source / "below/text").write_bytes(b"the same words " * 200000)
        (source / "zeros").write_bytes(bytes(MIB))
        os.symlink("/etc", source / "link")
        before = content(source)
        store = self.dir / "store"
        store.mkdir()
        for flag in ("--db", "--dir"):
            done = self.ferry("bench", "--repo", f"file://{store}", flag, source, "--size", "64MiB", "--json")
            found = self.of(done, "source")[0]
            self.assertEqual((found["files"], found["bytes_total"]), (3, sum(p.stat().st_size for p in source.rglob("*") if p.is_file() and not p.is_symlink())))
            self.assertGreater(found["bytes_read"], 0)
            self.assertIn("source", self.backup_of(done)["limits"])
        self.assertEqual(content(source), before)
        # Noise and words, half and half: made-up events shrink to a fifth.
        self.assertLess(next(x["ratio"] for x in self.of(done, "level") if x["level"] == 3), 3)

    def test_a_repository_is_left_alone(self):
        db = self.make_node("--chunks", 2, "--chunk-size", MIB, "--seed", 4)
        url = self.repository()
        self.backup(url, db)
        before = content(self.dir / "repository")
        done = self.bench(url, "--db", db)
        self.assertEqual(content(self.dir / "repository"), before)
        self.assertEqual((done.summary["objects_left"], done.summary["left"]), (0, []))
        self.assertRegex(done.summary["prefix"], r"^bench/[0-9a-f]{32}/$")
        self.assertFalse((self.dir / "repository/bench").exists())
        self.assertNotEqual(self.bench(url).summary["prefix"], done.summary["prefix"])

    def test_keys_are_below_bench(self):
        seen = set()
        with ferry.fake_s3() as (server, env):
            server.hook = lambda call, when: seen.add(call.key) if when == "before_apply" and call.op == "PutObject" else None
            done = self.bench("s3://backups/prod", env=env)
            prefix = f"prod/{done.summary['prefix']}".encode()
            self.assertGreater(len(seen), 5)
            self.assertEqual([k for k in seen if not (k if isinstance(k, bytes) else k.encode()).startswith(prefix)], [])

    def test_a_bucket_that_keeps_versions(self):
        with ferry.fake_s3(versioned=["backups"]) as (server, env):
            self.bench("s3://backups/prod", env=env)
            self.assertEqual(Client.of(server).control("GET", "versions")["backups"], [])

    # When it goes wrong
    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with ferry.fake_s3() as (server, env):
                self.slow(server, MIB)
                process = subprocess.Popen([str(ferry.BINARY), "bench", "--repo", "s3://backups/prod", "--size", "16MiB"], env=env, text=True, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
                try:
                    for _ in range(3000):
                        if len(self.keys(server)) > 2:
                            break
                        time.sleep(0.01)
                    process.send_signal(number)
                    out, err = process.communicate(timeout=60)
                finally:
                    process.kill()
                self.assertEqual(process.returncode, 130, out + err)
                self.assertIn("interrupted", err)
                server.hook = None
                self.assertEqual(self.keys(server), [], err)

    def test_the_store_fails_half_way(self):
        rules = [{"match": {"op": "PutObject", "nth": 30, "count": 1000}, "action": {"status": 403, "code": "AccessDenied"}}]
        with ferry.fake_s3(rules=rules) as (server, env):
            self.refused(1, "AccessDenied", "bench", "--repo", "s3://backups/prod", "--size", "2MiB", env=env)
            self.assertEqual(self.keys(server), [])

    def test_what_cannot_be_deleted_is_named(self):
        rules = [{"match": {"op": ["DeleteObject", "DeleteObjects"]}, "action": {"status": 403, "code": "AccessDenied"}}]
        with ferry.fake_s3(rules=rules) as (server, env):
            done = self.bench("s3://backups/prod", env=env)
            self.assertEqual(done.summary["objects_left"], len(self.keys(server)))
            self.assertGreater(done.summary["objects_left"], 5)
            self.assertEqual(len(done.summary["left"]), 8)
            self.assertTrue(all(k.startswith(done.summary["prefix"]) for k in done.summary["left"]))
            told = " ".join(x["text"] for x in self.of(done, "warning"))
            self.assertIn("could not be deleted: 'bench/", told)
            self.assertIn("AccessDenied", told)

    def test_wrong_words(self):
        url = f"file://{self.dir}"
        for code, message, words in (
                (2, "no repository given", []), (2, "neither with s3://", ["--repo", "ftp://x"]), (2, "is no size", ["--repo", url, "--size", "much"]),
                (2, "measures nothing", ["--repo", url, "--size", "10KiB"]), (2, "outside 1 to 64", ["--repo", url, "--connections", "65"]),
                (2, "is no number", ["--repo", url, "--connections", "many"]), (2, "unknown option '--node", ["--repo", url, "--node", "x"]),
                (2, "is the least", ["--repo", url, "--memory", "1MiB"]), (2, "outside", ["--repo", url, LEVEL, "20"]),
                (2, "both --db and --dir", ["--repo", url, "--db", "/", "--dir", "/"]),
                (1, "No such file or directory", ["--repo", url, "--dir", self.dir / "nowhere"]), (10, "", ["--repo", f"{url}/nowhere"])):
            self.refused(code, message, "bench", *words)
        (self.dir / "empty").mkdir()
        self.refused(3, "has no files", "bench", "--repo", url, "--dir", self.dir / "empty")
        (self.dir / "empty/zeros").write_bytes(bytes(100))
        self.refused(3, "nothing could be read but zeros", "bench", "--repo", url, "--dir", self.dir / "empty")
        with ferry.fake_s3() as (_, env):
            refused = self.refused(10, "NoSuchBucket", "bench", "--repo", "s3://nowhere/prod", env=env)
            self.assertNotIn("could not be deleted", refused.err)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir() if p.name != ".chunkferry-tmp"), ["empty"])


ferry.main(__name__)
