# SPDX-License-Identifier: Apache-2.0
"""prune end to end: real backups of a real-looking node, file:// and S3, and what stays must restore."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry

DAY_S = 86400


class Local(ferry.Case):
    def setUp(self):
        super().setUp()
        self.url, self.db = self.repository(), self.make_node()
        self.root = Path(self.url[7:])

    def prune(self, *words, **options):
        return self.ferry("prune", "--repo", self.url, "--json", *words, **options)

    def told(self, result):
        return [("+" if x["keep"] else "-") + ",".join(x["reasons"]) for x in result.lines if x["type"] == "snapshot"]

    def files(self):
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())

    def age(self, seconds):
        for path in self.root.rglob("*"):
            if path.is_file():
                stamp = path.stat().st_mtime - seconds
                os.utime(path, (stamp, stamp))

    def test_keep_last(self):
        runs = [self.backup(self.url, self.db, "--mode", "full").summary["snapshot"] for _ in range(4)]
        before = self.files()
        dry = self.prune("--keep-last", "2", "--dry-run")
        self.assertEqual(self.files(), before)
        result = self.prune("--keep-last", "2")
        self.assertEqual(self.told(dry), ["-", "-", "+last", "+last,newest"])
        self.assertEqual(self.told(result), self.told(dry))
        for key in ("snapshots_kept", "snapshots_deleted", "objects_deleted", "bytes_freed"):
            self.assertEqual(dry.summary[key], result.summary[key], key)
        self.assertEqual(self.snapshots(self.url), runs[2:])
        self.assertEqual([(self.root / "nodes/kdb-1/snapshots" / r).stat().st_size == 0 for r in runs], [True, True, False, False])
        self.assertFalse([f for f in self.files() if f"runs/{runs[0]}" in f or f"runs/{runs[1]}" in f])
        for run in runs[2:]:
            self.restore(self.url, self.dir / run, snapshot=run)
            self.assert_same_tree(self.db, self.dir / run)
        # Nothing is left to do; and the text says the same.
        again = self.ferry("prune", "--repo", self.url, "--keep-last", "2")
        self.assertIn("2 snapshots stay, 0 went; 0 objects deleted", again.out)
        self.assertRegex(again.out, r"stays  \S+  \S+Z +last, newest of the node")

    def test_chain_and_dead_run(self):
        """A snapshot that rests on a pruned one keeps what it needs; what a dead run left goes a day later."""
        first = self.backup(self.url, self.db).summary["snapshot"]
        self.backup(self.url, self.db)
        self.prune("--keep-last", "1")
        self.assertTrue([f for f in self.files() if f"runs/{first}" in f and "-pack-" in f])
        self.restore(self.url, self.dir / "one")
        self.assert_same_tree(self.db, self.dir / "one")
        dead = self.root / "nodes/kdb-1/runs/20260101T000000Z-0123abcd"
        dead.mkdir()
        (dead / "0000000001-pack-x.zst").write_bytes(b"left")
        (dead / "notes.txt").write_bytes(b"not ours")
        self.assertEqual(self.prune("--keep-last", "1").summary["fenced"], 0)
        self.age(DAY_S + 60)
        summary = self.prune("--keep-last", "1").summary
        self.assertEqual((summary["fenced"], summary["objects_deleted"], summary["bytes_freed"]), (1, 1, 4))
        self.assertEqual([p.name for p in dead.iterdir()], ["notes.txt"])
        self.assertEqual((self.root / "nodes/kdb-1/snapshots/20260101T000000Z-0123abcd").read_bytes(), b"")
        self.backup(self.url, self.db)

    def test_tags_and_max_delete(self):
        runs = [self.backup(self.url, self.db, *(["--tag", t] if t else [])).summary["snapshot"] for t in ("keep", "", "weekly", "", "")]
        self.refused(5, "2 of 5 snapshots would go, --max-delete allows 1", "prune", "--repo", self.url, "--keep-tag", "weekly", "--max-delete", "1",
                     hint="--dry-run shows which")
        self.assertEqual(self.snapshots(self.url), runs)
        self.assertEqual(self.told(self.prune("--keep-tag", "weekly", "--max-delete", "2")), ["+pinned", "-", "+tag", "-", "+newest"])
        self.ferry("tag", "--repo", self.url, "--node", "kdb-1", runs[0], "--remove", "keep")
        self.assertEqual(self.told(self.prune("--keep-last", "1")), ["-", "-", "+last,newest"])

    def test_rules_by_time(self):
        for _ in range(3):
            self.backup(self.url, self.db)
        self.assertEqual(self.told(self.prune("--keep-hourly", "1", "--dry-run"))[-1], "+hourly,newest")
        self.assertEqual(self.told(self.prune("--keep-within", "1y6m2w3d12h")), ["+within", "+within", "+within,newest"])
        kept = self.told(self.prune("--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12", "--keep-yearly", "3", "--dry-run"))
        self.assertEqual(kept[-1], "+daily,weekly,monthly,yearly,newest")
        self.assertEqual(kept[0], "+oldest")

    def test_damage(self):
        runs = [self.backup(self.url, self.db, "--mode", "full").summary["snapshot"] for _ in range(3)]
        (self.root / "nodes/kdb-1/snapshots" / runs[0]).write_text("{")
        before = self.files()
        refused = self.refused(4, "nothing was deleted", "prune", "--repo", self.url, "--keep-last", "2", hint=f"--drop-damaged {runs[0]}")
        self.assertIn(runs[0], refused.err)
        result = self.prune("--keep-last", "2", "--drop-damaged", runs[0])
        self.assertIn("given up", [x["lost"] for x in result.lines if "lost" in x][0])
        self.assertEqual(self.snapshots(self.url), runs[1:])
        self.assertGreater(len(before), len(self.files()))
        segment = next((self.root / "nodes/kdb-1/runs" / runs[1]).glob("*-packs.jsonl.zst"))
        segment.write_bytes(segment.read_bytes()[:-3])
        before = [f for f in self.files() if "/runs/" in f]
        refused = self.refused(4, "has ", "prune", "--repo", self.url, "--keep-last", "2", hint=f"--drop-damaged {runs[1]}")
        self.assertIn("1 snapshots that stay rest on it", refused.err)
        self.assertEqual([f for f in self.files() if "/runs/" in f], before)
        result = self.prune("--keep-last", "2", "--drop-damaged", runs[1])
        self.assertRegex([x["lost"] for x in result.lines if "lost" in x][0], r"given up: \d+ files, [\d.]+ MiB: segment")
        self.restore(self.url, self.dir / "t")
        newest = self.root / "nodes/kdb-1/snapshots" / runs[2]
        newest.write_text("{")
        self.refused(4, "it is the newest", "prune", "--repo", self.url, "--keep-last", "1", "--drop-damaged", runs[2], hint="another backup first")

    def test_future(self):
        runs = [self.backup(self.url, self.db, "--mode", "full").summary["snapshot"] for _ in range(3)]
        root = self.root / "nodes/kdb-1/snapshots" / runs[1]
        root.write_text(json.dumps({**json.loads(root.read_text()), "requires": ["tomorrow"]}))
        result = self.prune("--keep-last", "1")
        self.assertEqual(self.told(result), ["-", "+future", "+last,newest"])
        self.assertIn("requires 'tomorrow'", [x for x in result.lines if x["type"] == "warning"][0]["text"])
        self.assertTrue(list((self.root / "nodes/kdb-1/runs" / runs[0]).glob("*-pack-*")))

    def test_nodes(self):
        for node in ("a", "b", "c"):
            for _ in range(2):
                self.backup(self.url, self.db, node=node)
        newest = sorted((self.root / "nodes/b/snapshots").iterdir())[0]
        newest.write_text("{")
        result = self.ferry("prune", "--repo", self.url, "--keep-last", "1", "--json", code=4)
        self.assertEqual((result.summary["nodes"], result.summary["nodes_failed"], result.summary["snapshots_deleted"]), (3, 1, 2))
        self.assertIn("node 'b'", result.err)
        one = self.prune("--keep-last", "1", "--node", "a")
        self.assertEqual(one.summary["nodes"], 1)

    def test_bad_words(self):
        self.backup(self.url, self.db)
        words = ["prune", "--repo", self.url]
        self.refused(2, "no rule is given, so nothing would be kept", *words, hint="--keep-daily 7")
        self.refused(2, "'--keep-last 0' is outside 1 to", *words, "--keep-last", "0")
        self.refused(2, "'--keep-daily -1' is no number", *words, "--keep-daily", "-1")
        self.refused(2, "'--keep-weekly many' is no number", *words, "--keep-weekly", "many")
        for span in ("", "30", "1d1y", "1.5d", "d", "0d", "1s", "-1d", "1d 2h"):
            self.refused(2, f"'{span}' is no span of time", *words, "--keep-within", span, hint="1y6m2w3d12h")
        self.refused(2, "is no snapshot's id", *words, "--keep-last", "1", "--drop-damaged", "2026", hint="the whole id")
        self.refused(1, "there is no node 'other'", *words, "--keep-last", "1", "--node", "other", hint="chunkferry list")
        self.refused(2, "the node's name 'A'", *words, "--keep-last", "1", "--node", "A")
        self.refused(2, "is one word too many", *words, "--keep-last", "1", "latest")
        self.refused(10, "this is no repository", "prune", "--repo", f"file://{self.dir}", "--keep-last", "1")
        self.assertEqual(len(self.snapshots(self.url)), 1)
        self.assertFalse((self.root / "nodes/other").exists())

    def test_full_repository_can_be_pruned(self):
        """Nothing but small objects is written: a disk that is nearly full has room for them."""
        for _ in range(2):
            self.backup(self.url, self.db, "--mode", "full")
        before = sum((self.root / f).stat().st_size for f in self.files())
        summary = self.prune("--keep-last", "1").summary
        after = sum((self.root / f).stat().st_size for f in self.files())
        self.assertGreater(before - after, summary["bytes_freed"] * 0.9)


class Remote(ferry.Case):
    def setUp(self):
        super().setUp()
        self.db = self.make_node()

    def start(self, server, env, bucket="backups"):
        self.url, self.env = f"s3://{bucket}/p", env
        self.ferry("init", "--repo", self.url, env=env)

    def prune(self, *words, **options):
        return self.ferry("prune", "--repo", self.url, "--json", *words, env=self.env, **options)

    def backups(self, total):
        runs = []
        for _ in range(total):
            time.sleep(1.1)     # the server's time has whole seconds
            runs.append(self.backup(self.url, self.db, "--mode", "full", env=self.env).summary["snapshot"])
        return runs

    def test_s3(self):
        with ferry.fake_s3(page_size=7) as (server, env):
            self.start(server, env)
            runs = self.backups(3)
            summary = self.prune("--keep-last", "1").summary
            self.assertEqual(summary["snapshots_deleted"], 2)
            left = [k.decode() for k in server.store.buckets["backups"].keys]
            self.assertFalse([k for k in left if f"runs/{runs[0]}" in k])
            self.restore(self.url, self.dir / "t", env=env)
            self.assert_same_tree(self.db, self.dir / "t")

    def test_versions(self):
        with ferry.fake_s3(versioned=["old"]) as (server, env):
            self.start(server, env, "old")
            self.backups(3)
            bucket = server.store.buckets["old"]
            plain = self.prune("--keep-last", "2")
            info = [x["text"] for x in plain.lines if x["type"] == "info"]
            self.assertEqual(len(info), 1, plain)
            self.assertIn("lifecycle rule", info[0])
            hidden = self.versions(bucket, "-pack-")
            self.backups(1)
            gone = self.prune("--keep-last", "2", "--delete-versions")
            self.assertFalse([x for x in gone.lines if x["type"] == "info"])
            self.assertGreater(gone.summary["objects_deleted"], 5)
            # As many as before: the second prune's went for good, and the new backup's came.
            self.assertEqual(self.versions(bucket, "-pack-"), hidden)
            self.restore(self.url, self.dir / "t", env=env)

    @staticmethod
    def versions(bucket, part):
        return sum(len(v) for k, v in bucket.history.items() if part in k.decode())

    def test_locked(self):
        with ferry.fake_s3(object_lock=["locked:COMPLIANCE:3600"]) as (server, env):
            self.start(server, env, "locked")
            self.backups(2)
            result = self.prune("--keep-last", "1", "--delete-versions")
            self.assertGreater(result.summary["objects_locked"], 5)
            self.assertEqual(result.summary["objects_deleted"], 0)
            self.assertEqual(result.summary["bytes_freed"], 0)
            until = time.strptime(result.summary["locked_until"], "%Y-%m-%dT%H:%M:%SZ")
            self.assertGreater(time.mktime(until), time.mktime(time.gmtime()) + 1800)
            info = [x["text"] for x in result.lines if x["type"] == "info"]
            self.assertRegex(info[0], r"node 'kdb-1': \d+ objects are locked by the store and stay, the last until 20")
            # They stay garbage, and the next prune tries again.
            again = self.prune("--keep-last", "1", "--delete-versions")
            self.assertEqual(again.summary["objects_locked"], result.summary["objects_locked"])
            self.restore(self.url, self.dir / "t", env=env)

    def test_deletes_are_retried(self):
        busy = {"match": {"op": "DeleteObjects", "nth": 1, "count": 2}, "action": {"slowdown": True}}
        with ferry.fake_s3(rules=[busy]) as (server, env):
            self.start(server, env)
            self.backups(2)
            self.assertEqual(self.prune("--keep-last", "1").summary["snapshots_deleted"], 1)

    def test_unconditional(self):
        """A store that ignores If-None-Match: marked first, gone a week later; unlock says what can be done instead."""
        with ferry.fake_s3(no_conditional=True) as (server, env):
            self.start(server, env)
            runs = self.backups(3)
            bucket = server.store.buckets["backups"]
            first = self.prune("--keep-last", "1")
            self.assertEqual((first.summary["snapshots_deleted"], first.summary["objects_deleted"]), (0, 0))
            self.assertGreater(first.summary["objects_marked"], 10)
            self.assertEqual([x.get("lost", "") for x in first.lines if x["type"] == "snapshot"], ["marked, and goes 7 days after that"] * 2 + [""])
            self.assertEqual(self.snapshots(self.url, env=env), runs)
            for obj in bucket.objects.values():
                obj.modified_s -= 8 * DAY_S
            second = self.prune("--keep-last", "1")
            self.assertEqual(second.summary["snapshots_deleted"], 2)
            self.assertEqual(second.summary["objects_deleted"], first.summary["objects_marked"])
            self.assertEqual(self.snapshots(self.url, env=env), runs[2:])
            self.assertFalse([k for k in bucket.keys if b"/garbage/" in k or runs[0].encode() in k and b"/runs/" in k])
            self.restore(self.url, self.dir / "t", env=env)
            self.assert_same_tree(self.db, self.dir / "t")
            lease = next(k for k in reversed(bucket.keys) if b"/leases/" in k)
            body = json.loads(b"".join(bucket.objects[lease].blob.pieces(0, len(bucket.objects[lease].blob))))
            body.update(state="held", run="20261231T000000Z-0123abcd")
            body["owner"]["machine"] = "0" * 32
            from s3.client import Client
            key = lease.decode().rsplit("/", 1)[0] + "/0000000099-20261231T000000Z-0123abcd"
            Client.of(server).put("backups", key, json.dumps(body).encode())
            self.refused(1, "has no conditional create", "unlock", "--repo", self.url, "--node", "kdb-1", "--force", env=env, hint="end process")

    def test_denied(self):
        denied = {"match": {"op": "DeleteObjects"}, "action": {"status": 403, "code": "AccessDenied"}}
        with ferry.fake_s3(rules=[denied]) as (server, env):
            self.start(server, env)
            runs = self.backups(2)
            self.refused(1, "AccessDenied", "prune", "--repo", self.url, "--keep-last", "1", env=env)
            self.assertEqual(self.snapshots(self.url, env=env), runs[1:])   # it went; its objects are left to a key that may
            self.restore(self.url, self.dir / "t", env=env)

    def killed_upload(self, server, env):
        """A backup that is killed in its first multipart upload, before any journal; its run."""
        tree = self.dir / "tree"
        tree.mkdir(exist_ok=True)
        (tree / "big").write_bytes(os.urandom(20 << 20))

        def hook(call, when):
            if when == "after_apply" and call.spec.name == "UploadPart":
                process.kill()
        server.hook = hook
        process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", self.url, "--node", "kdb-1", "--profile", "directory", "--dir", str(tree)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        process.wait(60)
        server.hook = None
        keys = [u.key.decode() for u in server.store.buckets["backups"].uploads.values()]
        self.assertEqual(len(keys), 1)
        return keys[0].split("/runs/")[1].split("/")[0]

    def test_uploads_that_no_journal_names(self):
        with ferry.fake_s3(page_size=1) as (server, env):
            self.start(server, env)
            self.backups(2)
            run = self.killed_upload(server, env)
            bucket = server.store.buckets["backups"]
            self.assertFalse([k for k in bucket.keys if f"runs/{run}".encode() in k], "there was to be no journal")
            kept = [server.store.create_upload("backups", key % run.encode(), {}, time.time())
                    for key in (b"p/nodes/kdb-1/runs/%s/notes", b"p/nodes/kdb-2/runs/%s/0000000001-pack-x.zst", b"p-2/nodes/kdb-1/runs/%s/0000000001-pack-x.zst")]
            self.assertEqual(self.prune("--keep-last", "1").summary["uploads_aborted"], 0, "it has its grace")
            server.skew_s += DAY_S + 3600
            self.assertEqual(self.prune("--keep-last", "1", "--dry-run").summary["uploads_aborted"], 1)
            self.assertEqual(len(bucket.uploads), 4)
            summary = self.prune("--keep-last", "1").summary
            self.assertEqual((summary["fenced"], summary["uploads_aborted"]), (1, 1))
            self.assertEqual(sorted(bucket.uploads), sorted(kept))
            self.assertEqual(self.prune("--keep-last", "1").summary["uploads_aborted"], 0)
            self.restore(self.url, self.dir / "t", env=env)

    def test_uploads_that_cannot_be_listed(self):
        cases = ({"no_list_uploads": True}, 0), ({"rules": [{"match": {"op": "ListMultipartUploads"}, "action": {"status": 405, "code": "MethodNotAllowed"}}]}, 0), \
            ({"rules": [{"match": {"op": "ListMultipartUploads"}, "action": {"status": 403, "code": "AccessDenied"}}]}, 1)
        for options, warnings in cases:
            with self.subTest(**options), ferry.fake_s3(**options) as (server, env):
                self.start(server, env)
                self.backups(1)
                self.killed_upload(server, env)
                server.skew_s += DAY_S + 3600
                result = self.prune("--keep-last", "1")
                told = [x for x in result.lines if x["type"] == "warning"]
                self.assertEqual(len(told), warnings, result)
                for x in told:
                    self.assertRegex(x["text"], "unfinished uploads may have been left: .*AccessDenied")
                    self.assertIn("allow this key s3:ListBucketMultipartUploads", x["hint"])
                self.assertEqual((result.summary["fenced"], result.summary["uploads_aborted"]), (1, 0))

    def test_uploads_without_conditional_create(self):
        """Nobody is fenced there: a week old, and the run dead."""
        with ferry.fake_s3(no_conditional=True) as (server, env):
            self.start(server, env)
            self.backups(1)
            self.killed_upload(server, env)
            server.skew_s += 2 * DAY_S
            self.assertEqual(self.prune("--keep-last", "1").summary["uploads_aborted"], 0)
            server.skew_s += 6 * DAY_S
            self.assertEqual(self.prune("--keep-last", "1").summary["uploads_aborted"], 1)
            self.assertFalse(server.store.buckets["backups"].uploads)

    def test_interrupt(self):
        """SIGINT in the middle: 130, within 2 s, and the next prune finishes."""
        with ferry.fake_s3() as (server, env):
            self.start(server, env)
            runs = self.backups(3)
            seen = []

            def hook(call, when):
                if when == "before_apply" and call.spec.name == "PutObject" and b"/snapshots/" in call.key:
                    seen.append(call.key)
                    if len(seen) == 1:
                        process.send_signal(signal.SIGINT)
                        time.sleep(0.3)

            command = [str(ferry.BINARY), "prune", "--repo", self.url, "--keep-last", "1", "--json"]
            server.hook = hook
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
            began = time.monotonic()
            out, err = process.communicate(timeout=30)
            server.hook = None
            self.assertEqual(process.returncode, 130, out + err)
            self.assertLess(time.monotonic() - began, 10)
            again = self.prune("--keep-last", "1")
            self.assertEqual(again.summary["snapshots_kept"], 1, again)
            left = [k.decode() for k in server.store.buckets["backups"].keys]
            self.assertFalse([k for k in left if re.search(f"runs/({runs[0]}|{runs[1]})", k)])
            self.restore(self.url, self.dir / "t", env=env)


ferry.main(__name__)
