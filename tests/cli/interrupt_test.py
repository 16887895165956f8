#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and --max-duration in every state a run can be in; SIGHUP and lost output, which do no harm.

The limit is 2 s; the tests allow 4, because other tests may run beside them. What is measured is printed.
"""
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry
from s3.client import Client

STOP_S = 4
MIB = 1024 * 1024
GOES_ON = "run the same command again: it goes on from what is done"
SECOND = {"clients": {"RIVALKEY": "rival-secret"}}


class Interrupt(ferry.Case):
    def setUp(self):
        super().setUp()
        self.slowest = (0, "")

    def tree(self, size=20 * MIB, name="source"):
        source = self.dir / name
        source.mkdir()
        (source / "noise").write_bytes(os.urandom(size))
        for n in range(5):
            (source / f"small-{n}").write_bytes(os.urandom(1000))
        return source

    def start(self, *words, env=None, **options):
        process = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=env or ferry.environment(), text=True, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close()))
        return process

    def catches(self, process, number):
        """Is main() as far as its signals? A busy machine takes a while to load a program."""
        with open(f"/proc/{process.pid}/status") as f:
            caught = next(line.split()[1] for line in f if line.startswith("SigCgt"))
        return int(caught, 16) >> (number - 1) & 1

    def stop(self, process, what, number=signal.SIGTERM, code=130, says="interrupted"):
        """Send the signal, wait for the end; what it said."""
        self.until(lambda: self.catches(process, number), process)
        self.assertIsNone(process.poll(), f"{what}: it ended before the signal: {process.stderr.read() if process.poll() is not None else ''}")
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        took = time.monotonic() - began
        print(f"  {what}: {took:.2f} s")
        self.assertEqual(process.returncode, code, f"{what}\n{out}\n{err}")
        self.assertLess(took, STOP_S, f"{what}: {took:.2f} s\n{err}")
        self.assertIn(says, err, what)
        return out + err

    def until(self, condition, process=None):
        deadline = time.monotonic() + 30
        while not condition() and (process is None or process.poll() is None):
            self.assertLess(time.monotonic(), deadline, "what the test waits for does not come")
            time.sleep(0.01)

    def backup_words(self, url, source, node="n"):
        return ["backup", "--repo", url, "--node", node, "--profile", "directory", "--dir", source]

    def leases(self, client):
        keys = client.control("GET", "keys")["backups"]
        return [json.loads(client.get("backups", k).body)["state"] for k in keys if "/leases/" in k]

    def left(self, client, what, lease="ended"):
        """Nothing is under way any more: no upload on the server, and the lease has ended."""
        self.assertEqual(client.control("GET", "uploads")["backups"], {}, what)
        self.assertIn(self.leases(client), ([lease], []), what)

    # -- against a server

    def at_request(self, nth, when, source, number):
        """The server answers everything but the nth request."""
        with ferry.fake_s3() as (server, env):
            client = Client.of(server)
            self.ferry("init", "--repo", "s3://backups", env=env)
            client.control("POST", "script", [{"match": {"nth": nth}, "action": {"hold": when}, "name": "held"}])
            process = self.start(*self.backup_words("s3://backups", source), env=env)
            self.until(lambda: server.gate.waiting, process)
            if process.poll() is not None:      # nth was the last
                process.communicate()
                return None
            time.sleep(0.1)
            began = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            took = time.monotonic() - began
            server.gate.release()
            self.until(lambda: any(r["rule"] == "held" for r in client.control("GET", "log")))
            held = [r for r in client.control("GET", "log") if r["rule"] == "held"]
            client.control("POST", "script", [])
            what = f"{held[0]['op'] if held else '?'} {nth} {when}: {err}"
            self.slowest = max(self.slowest, (took, what.split(":")[0]))
            self.assertLess(took, STOP_S, what)
            committed = process.returncode == 0     # by the last words, or it was the release
            self.assertIn(process.returncode, (0, 130), what)
            if not committed:
                self.assertIn("interrupted", err, what)
                self.assertIn("hint: ", err, what)
            op, key = held[0]["op"], held[0]["key"]
            # What the server did after we were gone, without an answer, nobody can take back: prune and the lease's end do.
            if op != "CreateMultipartUpload" and not (op == "PutObject" and "/leases/" in key):
                self.left(client, what)
            again = self.ferry(*self.backup_words("s3://backups", source), "--json", env=env).summary
            self.assertNotEqual(again["snapshot"], "", what)
            if nth % 4 == 0:
                self.ferry("verify", "--repo", "s3://backups", "--read-data", env=env)
            return op

    def test_every_request(self):
        source = self.tree()
        seen = []
        for when, number in (("before_apply", signal.SIGTERM), ("after_apply", signal.SIGINT)):
            for nth in range(1, 40):
                op = self.at_request(nth, when, source, number)
                if op is None:
                    break
                seen.append(op)
        print(f"  {len(seen)} requests, the slowest: {self.slowest[1]}, {self.slowest[0]:.2f} s")
        self.assertGreater(len(seen), 24)
        for op in ("GetObject", "ListObjectsV2", "PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
            self.assertIn(op, seen)

    def test_a_server_that_answers_late_leaves_nothing_behind(self):
        """The answer to CreateMultipartUpload, or to the lease, comes 300 ms after the signal: it is waited for."""
        source = self.tree()
        for match in ({"op": "CreateMultipartUpload"}, {"op": "PutObject", "key": "/leases/", "count": 1}, {"op": "CompleteMultipartUpload"}):
            with ferry.fake_s3(rules=[{"match": match, "action": {"stall_ms": 400}}]) as (server, env):
                client = Client.of(server)
                self.ferry("init", "--repo", "s3://backups", env=env)
                process = self.start(*self.backup_words("s3://backups", source), env=env)
                self.until(lambda: any(r["fired"] for r in client.control("GET", "script")))
                self.stop(process, f"a late answer to {match['op']}", says="")
                time.sleep(0.5)
                self.left(client, match)

    def test_stalled_bodies(self):
        source = self.tree(8 * MIB)
        with ferry.fake_s3(rules=[{"match": {"op": "UploadPart"}, "action": {"stall_ms": 20000}}]) as (server, env):
            client = Client.of(server)
            self.ferry("init", "--repo", "s3://backups", env=env)
            process = self.start(*self.backup_words("s3://backups", source), env=env)
            self.until(lambda: client.control("GET", "script")[0]["fired"])
            self.stop(process, "an upload that stalls")
            self.left(client, "an upload that stalls")
            client.control("POST", "script", [])
            self.ferry(*self.backup_words("s3://backups", source), env=env)
            client.control("POST", "script", [{"match": {"op": "GetObject", "key": "-pack-"}, "action": {"stall_body_ms": 20000, "stall_at": 1000}}])
            process = self.start("restore", "--repo", "s3://backups", "--node", "n", "latest", "--target", self.dir / "target", env=env)
            self.until(lambda: client.control("GET", "script")[0]["fired"])
            time.sleep(0.2)
            self.assertIn(GOES_ON, self.stop(process, "a download that stalls"))

    def test_a_black_hole(self):
        """A host that answers no packet: a listener whose queue is full."""
        with socket.socket() as hole:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for s in fillers:
                s.setblocking(False)
                s.connect_ex(hole.getsockname())
            env = ferry.environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
                                    AWS_ENDPOINT_URL_S3="http://127.0.0.1:%d" % hole.getsockname()[1])
            process = self.start(*self.backup_words("s3://backups", self.tree(10)), env=env)
            time.sleep(0.7)
            self.stop(process, "connecting to a black hole")
            for s in fillers:
                s.close()

    def test_a_server_that_vanishes(self):
        """After the lease is taken nothing is answered any more, not even the last words."""
        source = self.tree()
        with ferry.fake_s3() as (server, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            Client.of(server).control("POST", "script", [{"match": {"nth": 8, "count": 1000000}, "action": {"stall_ms": 30000}}])
            process = self.start(*self.backup_words("s3://backups", source), env=env)
            self.until(lambda: Client.of(server).control("GET", "script")[0]["fired"])
            time.sleep(0.3)
            self.stop(process, "a server that vanished")

    def test_sleeping_between_tries(self):
        with ferry.fake_s3(rules=[{"match": {"op": "GetObject"}, "action": {"slowdown": True}}]) as (_, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            process = self.start(*self.backup_words("s3://backups", self.tree(10)), env=env)
            time.sleep(1.5)
            self.stop(process, "waiting to try again")

    def test_waiting_for_a_lock(self):
        source = self.tree(1000)
        with ferry.fake_s3(**SECOND) as (server, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            Client.of(server).control("POST", "script", [{"match": {"client": "RIVALKEY", "op": "PutObject", "key": "-pack-|snapshots"},
                                                          "action": {"hold": "before_apply"}}])
            rival = self.start(*self.backup_words("s3://backups", source), env={**env, "AWS_ACCESS_KEY_ID": "RIVALKEY", "AWS_SECRET_ACCESS_KEY": "rival-secret"})
            self.until(lambda: server.gate.waiting)
            process = self.start(*self.backup_words("s3://backups", source), "--wait-lock", "10m", env=env)
            time.sleep(1)
            self.stop(process, "waiting for a lock")
            rival.kill()
            server.gate.release()

    def test_copy_and_prune(self):
        source = self.tree(12 * MIB)
        with ferry.fake_s3() as (server, env):
            client = Client.of(server)
            held = lambda op, key="": client.control("POST", "script", [{"match": {"op": op, "key": key, "count": 1}, "action": {"hold": "before_apply"}}])
            for url in ("s3://backups/a", "s3://backups/b"):
                self.ferry("init", "--repo", url, env=env)
            for _ in range(2):
                self.ferry(*self.backup_words("s3://backups/a", source), env=env)
                (source / "noise").write_bytes(os.urandom(12 * MIB))
            copy = ["copy", "--repo", "s3://backups/a", "--to-repo", "s3://backups/b", "--to-endpoint", server.url, "all"]
            prune = ["prune", "--repo", "s3://backups/a", "--keep-last", "1"]
            for words, op, key in ((copy, "UploadPart", "^b/"), (copy, "GetObject", "^a/.*-pack-"), (prune, "PutObject", "snapshots/"), (prune, "DeleteObjects", "")):
                held(op, key)
                process = self.start(*words, env=env)
                self.until(lambda: server.gate.waiting, process)
                self.assertIn("again", self.stop(process, f"{words[0]} at {op}"))
                server.gate.release()
                client.control("POST", "script", [])
                time.sleep(0.2)
                self.assertEqual(client.control("GET", "uploads")["backups"], {}, words)
                self.assertEqual(set(self.leases(client)), {"ended"}, words)
            for words in (copy, prune):
                self.ferry(*words, env=env)
            for url in ("s3://backups/a", "s3://backups/b"):
                self.ferry("verify", "--repo", url, "--read-data", env=env)

    def test_two_signals(self):
        with ferry.fake_s3(rules=[{"match": {"op": "UploadPart"}, "action": {"stall_ms": 20000}},
                                  {"match": {"op": "AbortMultipartUpload"}, "action": {"stall_ms": 20000}}]) as (server, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            process = self.start(*self.backup_words("s3://backups", self.tree(8 * MIB)), env=env)
            self.until(lambda: Client.of(server).control("GET", "script")[0]["fired"])
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            self.assertEqual(process.returncode, 130)
            self.assertLess(time.monotonic() - began, 0.5)

    def test_max_duration(self):
        source = self.tree()
        with ferry.fake_s3() as (server, env):
            client = Client.of(server)
            self.ferry("init", "--repo", "s3://backups", env=env)
            began = time.monotonic()
            result = self.refused(130, "the time of --max-duration is over", *self.backup_words("s3://backups", source), "--max-duration", "2s",
                                  "--limit-upload", "2MiB", env=env, hint=GOES_ON)
            self.assertLess(time.monotonic() - began, 2 + STOP_S)
            self.assertGreater(time.monotonic() - began, 2)
            self.assertRegex(result.err, "while reading: .*MiB")
            self.left(client, "--max-duration")
            self.ferry(*self.backup_words("s3://backups", source), "--max-duration", "10m", env=env)
            self.refused(130, "--max-duration", "verify", "--repo", "s3://backups", "--read-data", "--max-duration", "1s", "--limit-download", "2MiB", env=env)

    # -- on a disk

    def leftovers(self, name="repository"):
        return [p for p in (self.dir / name).rglob("*") if ".chunkferry-tmp/" in str(p)]

    def test_directory(self):
        source = self.tree(16 * MIB)
        url = self.repository()
        words = [*self.backup_words(url, source), "--limit-upload", "4MiB"]
        for after_s in (0.05, 0.3, 0.8, 1.5, 2.2):
            process = self.start(*words)
            time.sleep(after_s)
            self.stop(process, f"a directory after {after_s} s")
            self.assertEqual(self.leftovers(), [], after_s)
            for lease in (self.dir / "repository").glob("nodes/*/leases/*"):
                self.assertEqual(json.loads(lease.read_text())["state"], "ended")
        self.ferry(*self.backup_words(url, source))
        self.ferry("verify", "--repo", url, "--read-data")

    def test_busy_with_itself(self):
        """Compressing at level 9; hashing a file of holes."""
        source = self.dir / "source"
        source.mkdir()
        block = b"".join(b"%d %d\n" % (n, n * n) for n in range(300000))
        (source / "text").write_bytes(block * 40)
        with open(self.dir / "source/sparse", "wb") as file:
            file.truncate(16 << 30)
        url = self.repository()
        for after_s in (0.5, 1.5):
            process = self.start(*self.backup_words(url, source), "--compression", "9")
            time.sleep(after_s)
            self.stop(process, f"level 9 and 16 GiB of holes after {after_s} s")
            self.assertEqual(self.leftovers(), [])

    # -- what does no harm

    def test_hangup(self):
        url = self.repository()
        process = self.start(*self.backup_words(url, self.tree(4 * MIB)), "--limit-upload", "2MiB")
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, out + err)

    def test_a_closed_terminal(self):
        url = self.repository()
        master, slave = pty.openpty()
        process = subprocess.Popen([str(ferry.BINARY), *map(str, self.backup_words(url, self.tree(4 * MIB))), "--limit-upload", "2MiB"],
                                   env=ferry.environment(), stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        time.sleep(0.5)
        os.close(master)
        self.assertIn(process.wait(60), (0, 1))     # 1: the words at the end had no reader
        self.assertEqual(len(self.snapshots(url, node="n")), 1)

    def test_output_that_goes_nowhere(self):
        url = self.repository()
        words = [str(ferry.BINARY), *map(str, self.backup_words(url, self.tree(MIB)))]
        shell = lambda tail: subprocess.run(["sh", "-c", 'exec "$0" "$@" ' + tail, *words], env=ferry.environment(), capture_output=True, text=True)
        for tail, code in (("> /dev/full", 1), ("> /dev/full 2>&1", 1), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)):
            self.assertEqual(shell(tail).returncode, code, tail)
        self.assertIn("the command is done, but standard output could not be written", shell("> /dev/full").stderr)
        self.assertEqual(len(self.snapshots(url, node="n")), 6)
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        reader.wait()
        broken = subprocess.run(words, env=ferry.environment(), stdout=reader.stdin, stderr=subprocess.PIPE)
        self.assertEqual(broken.returncode, 1)      # SIGPIPE would be -13
        self.assertEqual(len(self.snapshots(url, node="n")), 7)
        self.ferry("verify", "--repo", url, "--read-data")


ferry.main(__name__)
