# SPDX-License-Identifier: Apache-2.0
"""A backup that is killed, stopped, raced or cut off anywhere: what is listed is whole, and the next one needs no repair."""
import json
import signal
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

URL = "s3://backups/prod"
BACKUP = ["backup", "--repo", URL, "--node", "kdb-1"]


def door(server):
    from s3.client import Client
    return Client.of(server)


def keys(server, part):
    return sorted(k for k in door(server).control("GET", "keys")["backups"] if part in k)


class Kill(pieces.Small):
    def whole(self, env, total, where):
        """Every listed snapshot restores; returns nothing."""
        listed = self.snapshots(URL, env=env)
        self.assertEqual(len(listed), total, where)
        target = self.dir / "restored"
        self.restore(URL, target, env=env)
        self.assert_whole(target)
        pieces.shutil.rmtree(target)

    def every_request(self, when, first):
        """Killed at the nth request, for all n; then list, a fresh backup and a restore."""
        rounds = committed = 0
        nth = 1
        while True:
            with ferry.fake_s3() as (server, env):
                self.ferry("init", "--repo", URL, env=env)
                db = self.shared / "node"
                if not first:
                    self.backup(URL, db, env=env)
                    db = self.later
                killed, code, out = pieces.run_and_hold(server, env, [*BACKUP, "--db", db], nth, when=when)
                if not killed:
                    self.assertEqual(code, 0, out)
                    break
                self.assertEqual(code, -signal.SIGKILL, out)
                where = f"killed {when} request {nth}: {door(server).control('GET', 'log')[-1:]}"
                before = 0 if first else 1
                time.sleep(0.05)
                listed = self.snapshots(URL, env=env)
                self.assertIn(len(listed), (before, before + 1), where)
                committed += len(listed) - before
                for run in listed:
                    target = self.dir / run
                    self.restore(URL, target, env=env, snapshot=run)
                    self.assert_whole(target)
                    pieces.shutil.rmtree(target)
                done = self.backup(URL, db, env=env).summary    # at once: the dead process's lease does not hold it up
                self.assertLess(done["duration_s"], 10, where)
                self.whole(env, len(listed) + 1, where)
            nth += 1
            rounds += 1
        print(f"killed {when} each of {rounds} requests ({'first' if first else 'second'} backup): {committed} were committed")
        self.assertGreater(rounds, 10)
        self.assertGreater(committed, 0)

    def test_first_backup_killed_before_each_request_counts(self):
        self.every_request("before_apply", first=True)

    def test_first_backup_killed_after_each_request_counted(self):
        self.every_request("after_apply", first=True)

    def test_second_backup_killed_before_each_request_counts(self):
        self.later = self.node_copy("later")
        done = subprocess.run([*ferry.NODE, "append", "--db", str(self.later), "--bytes", "100000"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.every_request("before_apply", first=False)

    def test_killed_at_every_step_into_a_directory(self):
        """The same with the directory store: killed at a look at the node, so somewhere between its writes."""
        trace = self.dir / "count"
        repo = self.repository_copy("count-repository")
        words = ["backup", "--node", "kdb-1", "--db", self.shared / "node", "--mode", "full"]
        self.ferry(*words, "--repo", repo.url, binary=ferry.STEPPING, env=ferry.environment(CF_STEP_TRACE=trace))
        steps = len(pieces.steps_of(trace))
        for step in range(1, steps + 1, 6):
            repo = self.repository_copy()
            process = []

            def kill(_):
                process[0].kill()
                process[0].wait()

            with pieces.Helper(self.dir, kill) as helper:
                process.append(subprocess.Popen([str(ferry.STEPPING), *map(str, words), "--repo", repo.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                env=ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="kill")))
                process[0].wait(60)
            self.assertEqual(len(repo.roots()), 1, step)
            self.backup(repo.url, self.shared / "node")
            self.assertEqual(len(self.snapshots(repo.url)), 2)
            self.restore(repo.url, self.dir / "restored")
            self.assert_whole(self.dir / "restored")
            pieces.shutil.rmtree(self.dir / "restored")
            pieces.shutil.rmtree(repo.path)


class Stop(pieces.Small):
    def test_interrupted(self):
        for sign in (signal.SIGINT, signal.SIGTERM):
            with ferry.fake_s3() as (server, env):
                self.ferry("init", "--repo", URL, env=env)
                self.backup(URL, self.shared / "node", env=env)
                for nth in (2, 6, 8, 9, 10):
                    before = len(keys(server, "/snapshots/"))
                    door(server).control("POST", "forget")
                    killed, code, out = pieces.run_and_hold(server, env, [*BACKUP, "--db", self.shared / "node", "--mode", "full"], nth, sign=sign)
                    self.assertTrue(killed)
                    self.assertEqual(code, 130, out)
                    held = self.held_request(server)
                    self.assertIn("interrupted", out)
                    self.assertEqual(len(keys(server, "/snapshots/")), before, "nothing committed")
                    self.assert_released(server, held)
                    self.assertEqual(door(server).control("GET", "uploads"), {"backups": {}})
                done = self.backup(URL, self.shared / "node", env=env)
                self.assertLess(done.summary["duration_s"], 5)

    @staticmethod
    def held_request(server):
        for _ in range(500):    # it is logged when it is let go, which may come after the client's end
            found = [x for x in door(server).control("GET", "log") if x["rule"]]
            if found:
                return found[-1]
            time.sleep(0.01)
        raise AssertionError("no request was held")

    def assert_released(self, server, held):
        # A signal while the lease itself is being taken: whether it was is not known, so it is not ours to end.
        if held["op"] == "PutObject" and "/leases/" in held["key"]:
            return
        for key in keys(server, "/leases/")[-1:]:
            body = json.loads(door(server).get("backups", key).body)
            self.assertTrue(body.get("ended") or body.get("state") == "ended", (key, body, held))

    def test_interrupted_twice_ends_at_once(self):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            door(server).control("POST", "script", [{"match": {"op": "PutObject", "nth": 2}, "action": {"hold": "before_apply"}}])
            process = subprocess.Popen([str(ferry.BINARY), *BACKUP, "--db", str(self.shared / "node")], env=env, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
            while process.poll() is None and not pieces.held_total(door(server)):
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(10), 130)
            process.stdout.close()
            door(server).control("POST", "script", [])
            door(server).control("POST", "release")
            self.backup(URL, self.shared / "node", env=env)

    def test_interrupted_while_the_node_is_looked_at(self):
        """A node that does not settle is looked at for 5 s; a signal ends the wait."""
        repo, db = self.repository_copy(), self.node_copy()
        (db / "chaser.chk").write_bytes((10 ** 9).to_bytes(8, "little"))
        process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", repo.url, "--node", "kdb-1", "--db", str(db)], env=ferry.environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=30)[0]
        self.assertEqual(process.returncode, 130, out)
        self.assertLess(time.monotonic() - began, 2)
        self.assertEqual(len(repo.roots()), 1)
        self.backup(repo.url, self.shared / "node")


class Race(pieces.Small):
    def test_two_at_once(self):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            door(server).control("POST", "script", [{"match": {"op": "PutObject", "key": "/runs/", "nth": 1}, "action": {"hold": "before_apply"}}])
            process = subprocess.Popen([str(ferry.BINARY), *BACKUP, "--db", str(self.shared / "node"), "--json"], env=env, stdout=subprocess.PIPE, text=True)
            while process.poll() is None and not pieces.held_total(door(server)):
                time.sleep(0.005)
            second = self.refused(11, f"process {process.pid} on", *BACKUP, "--db", self.shared / "node", env=env, hint="--wait-lock 10m waits for it")
            self.assertIn("holds lease 1", second.err)
            self.assertEqual(keys(server, "/snapshots/"), [])
            # Another node of the same repository is not held up.
            self.backup(URL, self.shared / "node", env=env, node="kdb-2")
            door(server).control("POST", "script", [])
            door(server).control("POST", "release")
            out = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, 0, out)
            summary = json.loads(out.splitlines()[-1])
            self.assertEqual(self.snapshots(URL, env=env), [summary["snapshot"]])
            self.backup(URL, self.shared / "node", env=env)

    def test_many_at_once_into_a_directory(self):
        repo = self.repository_copy()
        words = [str(ferry.BINARY), "backup", "--repo", repo.url, "--node", "kdb-1", "--db", str(self.shared / "node"), "--mode", "full"]
        running = [subprocess.Popen(words, env=ferry.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(5)]
        outs = [p.communicate(timeout=60)[0] for p in running]
        codes = [p.returncode for p in running]
        self.assertTrue(set(codes) <= {0, 11}, (codes, outs))
        self.assertGreater(codes.count(0), 0, outs)
        self.assertEqual(len(self.snapshots(repo.url)), 1 + codes.count(0))
        self.backup(repo.url, self.shared / "node")
        self.restore(repo.url, self.dir / "restored")
        self.assert_whole(self.dir / "restored")


class Answers(pieces.Small):
    """The commit's answer is lost, late or wrong."""

    def with_rule(self, rule, code=0, message="", snapshots=1):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            door(server).control("POST", "script", [{"match": {"op": "PutObject", "key": "/snapshots/", **rule.pop("match", {})}, "action": rule}])
            done = ferry.run(*BACKUP, "--db", self.shared / "node", env=env)
            self.assertEqual(done.code, code, done)
            self.assertIn(message, done.err)
            door(server).control("POST", "script", [])
            self.assertEqual(len(self.snapshots(URL, env=env)), snapshots)
            if snapshots:
                self.restore(URL, self.dir / f"restored-{id(rule)}", env=env)
            self.backup(URL, self.shared / "node", env=env)
            self.restore(URL, self.dir / f"again-{id(rule)}", env=env)
            self.assert_whole(self.dir / f"again-{id(rule)}")
        return done

    def test_lost_answer(self):
        self.with_rule({"close": "after_apply", "match": {"nth": 1}})

    def test_lost_answer_three_times(self):
        self.with_rule({"close": "after_apply", "match": {"nth": 1, "count": 3}})

    def test_error_although_it_took_place(self):
        self.with_rule({"status": 500, "code": "InternalError", "apply": True, "match": {"nth": 1}})

    def test_connection_cut_before(self):
        self.with_rule({"close": "before_apply", "match": {"nth": 1, "count": 2}})

    def test_denied_at_the_end(self):
        # Nothing can be written there, a fence neither: it is not known to be no snapshot.
        done = self.with_rule({"status": 403, "code": "AccessDenied"}, code=1, snapshots=0)
        self.assertTrue("no snapshot" in done.err or "unknown" in done.err, done)

    def test_fence_at_the_runs_key(self):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            door(server).control("POST", "script", [{"match": {"op": "PutObject", "key": "/snapshots/", "nth": 1}, "action": {"hold": "before_apply"}}])
            process = subprocess.Popen([str(ferry.BINARY), *BACKUP, "--db", str(self.shared / "node")], env=env, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
            while process.poll() is None and not pieces.held_total(door(server)):
                time.sleep(0.005)
            run = keys(server, "/runs/")[0].split("/runs/")[1].split("/")[0]
            self.assertEqual(door(server).put("backups", f"prod/nodes/kdb-1/snapshots/{run}", b"").status, 200)
            door(server).control("POST", "release")
            out = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, 1, out)
            self.assertIn(f"run '{run}' was fenced", out)
            self.assertIn("hint: run it again", out)
            door(server).control("POST", "script", [])
            self.assertEqual(self.snapshots(URL, env=env), [])
            self.refused(1, "has no snapshot", "show", "latest", "--repo", URL, "--node", "kdb-1", env=env)
            done = self.backup(URL, self.shared / "node", env=env).summary
            self.assertGreater(done["snapshot"], run)

    def test_clock_went_backwards(self):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            found = []
            for skew_s in (7200, 0, -86400 * 3, 600):
                door(server).control("POST", "clock", {"skew_s": skew_s})
                found.append(self.backup(URL, self.shared / "node", env=env).summary)
            ids = [x["snapshot"] for x in found]
            self.assertEqual(ids, sorted(ids), "the newest sorts last whatever the clock says")
            self.assertEqual([x["parent"] for x in found], ["", *ids[:-1]])
            self.assertEqual(self.snapshots(URL, env=env), ids)
            times = [x["time"] for x in self.ferry("list", "--repo", URL, "--json", env=env).lines if x["type"] == "snapshot"]
            self.assertLess(times[2], times[1], "the true time is told")
            self.restore(URL, self.dir / "restored", env=env)
            self.assert_whole(self.dir / "restored")

    def test_storm_of_slow_downs(self):
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            door(server).control("POST", "script", [{"match": {"op": "*", "chance": 0.3}, "action": {"slowdown": True}}])
            self.backup(URL, self.shared / "node", env=env)
            self.restore(URL, self.dir / "restored", env=env)
            self.assert_whole(self.dir / "restored")


ferry.main(__name__)
