# SPDX-License-Identifier: Apache-2.0
"""status: how each node stands; the exit code for monitoring."""
import json
import signal
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


class Status(pieces.Small):
    def status(self, repo, *words, code=0, **options):
        return self.ferry("status", "--repo", repo.url, "--json", *words, code=code, **options)

    def node(self, repo, *words, **options):
        return [x for x in self.status(repo, *words, **options).lines if x["type"] == "node"][0]

    def test_a_node(self):
        repo = self.repository_copy()
        x, root = self.node(repo), repo.root()
        self.assertEqual((x["node"], x["snapshot"], x["snapshots"]), ("kdb-1", root["run"], 1))
        self.assertEqual((x["bytes_source"], x["bytes_stored"]), (root["totals"]["source_bytes"], root["totals"]["stored_bytes"]))
        self.assertEqual((x["runs"], x["lease"], x["late"], x["damage_marks"]), (1, None, False, 0))
        self.assertEqual(x["leftovers"], {"runs": 0, "bytes": 0, "measured": True})
        self.assertNotIn("proved", x)
        self.assertLess(x["age_s"], 3600)
        self.assertIn("proved    never", self.ferry("status", "--repo", repo.url).out)

    def test_a_proof(self):
        repo, db = self.repository_copy(), self.node_copy()
        self.ferry("verify", "--repo", repo.url, "--read-data")
        x = self.node(repo)
        self.assertEqual(x["proved_snapshot"], x["snapshot"])
        self.assertLess(x["proved_age_s"], 60)
        self.backup(repo.url, db)
        y = self.node(repo)
        self.assertEqual((y["proved_snapshot"], y["proved"]), (x["snapshot"], x["proved"]), "that of the node, not of the newest")
        self.assertIn(f", of snapshot {x['snapshot']}", self.ferry("status", "--repo", repo.url).out)
        pieces.flip(repo.packs("chunk-000001")[0], 3000)
        self.ferry("verify", "--repo", repo.url, "--read-data", code=4)
        self.assertEqual(self.node(repo)["damage_marks"], 1)

    def test_late(self):
        repo = self.repository_copy()
        self.assertEqual(self.status(repo, "--max-age", "26h").summary, {"type": "summary", "nodes": 1, "late": 0})
        time.sleep(1.1)
        done = self.status(repo, "--max-age", "1s", code=5)
        self.assertEqual((done.summary["late"], done.lines[-1]["exit_code"]), (1, 5))
        self.assertIn("late: kdb-1", done.err)
        self.assertIn("no snapshot, late", self.ferry("status", "--repo", repo.url, "--node", "never", "--max-age", "1h", code=5).out)
        (repo.path / "nodes/empty/leases").mkdir(parents=True)
        (repo.path / "nodes/empty/leases/0000000001").write_text("{}")
        done = self.status(repo, "--max-age", "26h", code=5)
        self.assertIn("late: empty", done.err)
        self.refused(2, "--max-age", "status", "--repo", repo.url, "--max-age", "soon")

    def test_a_run_under_way_and_what_it_leaves(self):
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.backup(url, self.shared / "node", env=env)
            seen = []

            def look():
                seen.append([x for x in self.ferry("status", "--repo", url, "--json", env=env).lines if x["type"] == "node"][0])

            from s3.client import Client
            door = Client.of(server)
            door.control("POST", "script", [{"match": {"op": "PutObject", "key": "pack", "nth": 3, "count": 1}, "action": {"hold": "before_apply"}}])
            process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", url, "--node", "kdb-1", "--db", str(self.shared / "node"), "--mode",
                                        "full"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for _ in range(1000):
                    if pieces.held_total(door):
                        break
                    time.sleep(0.01)
                look()
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            look()
            door.control("POST", "script", [])
            running, dead = seen
            self.assertEqual((running["lease"]["state"], running["lease"]["pid"]), ("live", process.pid), running)
            self.assertEqual(running["leftovers"]["runs"], 0)
            self.assertIsNone(dead["lease"], "its process is dead, and it was of this machine")
            self.assertEqual(dead["leftovers"]["runs"], 1, dead)
            self.assertGreater(dead["leftovers"]["bytes"], 0)

    def test_damaged_newest_root(self):
        repo = self.repository_copy()
        pieces.flip(repo.roots()[0], 0)
        done = self.status(repo, code=4)
        self.assertEqual(done.summary["nodes"], 1, "the others are shown")
        self.assertIn("'chunkferry verify' says what is damaged", done.err)

    def test_requests(self):
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            for node in ("a", "b", "c"):
                for _ in range(3):
                    self.backup(url, self.shared / "node", node=node, env=env)
            before = ferry.server_counts(server)["requests"]
            self.ferry("status", "--repo", url, env=env)
            cost = ferry.server_counts(server)["requests"] - before
            print(f"status of 3 nodes with 3 snapshots each: {cost} requests")
            self.assertLessEqual(cost, 3 * 8 + 3)

    def test_none(self):
        self.ferry("init", "--repo", f"file://{self.dir}/empty")
        self.assertIn("no nodes", self.ferry("status", "--repo", f"file://{self.dir}/empty").out)
        self.assertEqual(json.loads(self.ferry("status", "--repo", f"file://{self.dir}/empty", "--json").out), {"type": "summary", "nodes": 0, "late": 0})


ferry.main(__name__)
