# SPDX-License-Identifier: Apache-2.0
"""A restore and a copy while a prune runs: a reader's lease keeps what is read; what goes all the same is said as that, not as damage."""
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

URL = "s3://backups/prod"


class Held:
    """The program, standing still at its first GET of a pack; goes on at the end of the block."""

    def __init__(self, server, env, *words):
        from s3.client import Client
        self.door = Client.of(server)
        self.door.control("POST", "script", [{"match": {"op": "GetObject", "key": "-pack-", "nth": 1, "count": 1}, "action": {"hold": "before_apply"}}])
        self.process = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        while self.process.poll() is None and not pieces.held_total(self.door):
            time.sleep(0.005)
        assert self.process.poll() is None, self.process.communicate()
        return self

    def __exit__(self, *_):
        self.door.control("POST", "script", [])
        self.door.control("POST", "release")
        self.out = self.process.communicate(timeout=120)[0]

    def forget_readers(self):
        """As when the reader's machine slept longer than its lease."""
        reads = [k for k in self.door.control("GET", "keys")["backups"] if "/reads/" in k]
        for key in reads:
            self.door.call("DELETE", f"/backups/{key}")
        return len(reads)


class RestorePrune(pieces.Small):
    def setUp(self):
        super().setUp()
        server, self.env = self.enterContext(ferry.fake_s3())
        self.server = server
        self.ferry("init", "--repo", URL, env=self.env)
        db = self.shared / "node"
        self.first = self.backup(URL, db, env=self.env).summary["snapshot"]
        time.sleep(1.1)     # the server's Date counts seconds: within one, times need not be in the order of ids
        self.second = self.backup(URL, db, "--mode", "full", env=self.env).summary["snapshot"]     # needs nothing of the first

    def held_restore(self):
        return Held(self.server, self.env, "restore", "--repo", URL, "--node", "kdb-1", self.first, "--target", self.dir / "restored")

    def prune(self):
        return self.ferry("prune", "--repo", URL, "--keep-last", 1, "--json", env=self.env).summary

    def test_a_reader_keeps_its_snapshot(self):
        with self.held_restore() as restore:
            self.assertEqual(self.prune()["snapshots_deleted"], 0)
            self.assertEqual(self.snapshots(URL, env=self.env), [self.first, self.second])
        self.assertEqual(restore.process.returncode, 0, restore.out)
        self.assert_whole(self.dir / "restored")
        self.assertEqual(self.prune()["snapshots_deleted"], 1)      # the lease has ended

    def test_pruned_while_it_is_restored(self):
        with self.held_restore() as restore:
            self.assertEqual(restore.forget_readers(), 1)
            self.assertEqual(self.prune()["snapshots_deleted"], 1)
        self.assertEqual(restore.process.returncode, 1, restore.out)
        self.assertIn(f"snapshot {self.first} of node 'kdb-1' was pruned while it was restored", restore.out)
        self.assertIn("hint: empty the target and restore 'latest'", restore.out)
        self.restore(URL, self.dir / "again", env=self.env)
        self.assert_whole(self.dir / "again")

    def test_pruned_while_it_is_copied(self):
        to = self.repository("to")
        copy = ["copy", "--repo", URL, "--node", "kdb-1", "--to-repo", to]
        with Held(self.server, self.env, *copy, self.first) as held:
            self.assertEqual(self.prune()["snapshots_deleted"], 0)
        self.assertEqual(held.process.returncode, 0, held.out)
        to = self.repository("to-2")
        with Held(self.server, self.env, *copy[:-1], to, self.first) as held:
            held.forget_readers()
            self.assertEqual(self.prune()["snapshots_deleted"], 1)
        self.assertEqual(held.process.returncode, 1, held.out)
        self.assertIn("was pruned from the source while it was copied", held.out)
        self.assertEqual(self.snapshots(to), [])

    def test_latest_is_chosen_again(self):
        """What was the latest at the LIST goes before the lease is there: then there is a newer one."""
        from s3.client import Client
        door = Client.of(self.server)
        door.control("POST", "script", [{"match": {"op": "PutObject", "key": "/reads/", "nth": 1, "count": 1}, "action": {"hold": "before_apply"}}])
        target = self.dir / "restored"
        process = subprocess.Popen([str(ferry.BINARY), "restore", "--repo", URL, "--node", "kdb-1", "latest", "--target", str(target)], env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while not pieces.held_total(door):
            time.sleep(0.005)
        third = self.backup(URL, self.shared / "node", "--mode", "full", env=self.env).summary["snapshot"]
        self.prune()
        self.assertEqual(self.snapshots(URL, env=self.env), [third])
        door.control("POST", "script", [])
        door.control("POST", "release")
        out = process.communicate(timeout=120)[0]
        self.assertEqual(process.returncode, 0, out)
        self.assertIn(f"snapshot {third} of node", out)

    def test_a_key_that_may_only_read(self):
        from s3.client import Client
        Client.of(self.server).control("POST", "script", [{"match": {"op": "PutObject"}, "action": {"status": 403, "code": "AccessDenied"}}])
        self.restore(URL, self.dir / "restored", env=self.env)
        self.assert_whole(self.dir / "restored")
        self.ferry("copy", "--repo", URL, "--to-repo", self.repository("to"), env=self.env)
        self.assertEqual(self.snapshots(f"file://{self.dir}/to").__len__(), 1)


ferry.main(__name__)
