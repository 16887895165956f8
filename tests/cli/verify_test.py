# SPDX-License-Identifier: Apache-2.0
"""verify: every kind of damage is found and named, subsets cover everything once, what was found is recorded and acted upon."""
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

# Until the parent's lines go through repo/prior, a backup relies on damaged packs.
PRIOR = unittest.skipUnless((ferry.ROOT / "src/repo/prior.c").exists(), "repo/prior is not there yet")
SEED = int(os.environ.get("CHUNKFERRY_SEED", time.time_ns() % 2**32))


def damages(result):
    return [x for x in result.lines if x["type"] == "damage"]


def marks(repo, kind):
    return sorted(p for p in repo.node.glob(f"marks/*/{kind}-*") if p.is_file())


def packs_of(repo, hint=""):
    return repo.packs(f"-pack-{hint}")


def object_of(path):
    return f"{path.parent.name}/{path.name}"


class Look(pieces.Small):
    """Without --read-data."""

    def verify(self, repo, *words, code=0, **options):
        return self.ferry("verify", "--repo", repo.url, "--json", *words, code=code, **options)

    def one(self, repo, *words):
        """The damage that is told, when it is exactly one."""
        result = self.verify(repo, *words, code=4)
        self.assertEqual(len(damages(result)), 1, result)
        self.assertEqual(result.lines[-1]["error"], "CF_ERR_DAMAGE")
        return damages(result)[0]

    def test_fine(self):
        repo = self.repository_copy()
        summary = self.verify(repo).summary
        self.assertEqual((summary["complete"], summary["snapshots"], summary["nodes"], summary["bytes_read"]), (True, 1, 1, 0), summary)
        self.assertEqual(summary["packs"], len(packs_of(repo)))
        self.assertEqual(summary["bytes_stored"], sum(p.stat().st_size for p in packs_of(repo)))
        self.assertEqual(summary["files"], len([x for x in repo.lines() if x["type"] == "file"]))
        self.assertEqual(marks(repo, "*"), [], "looking proves nothing")
        self.assertIn("fine", self.ferry("verify", "--repo", repo.url).out)
        self.assertEqual([p for p in repo.node.glob("reads/*") if json.loads(p.read_bytes())["state"] != "ended"], [])

    def test_packs_that_are_not_there_as_they_should(self):
        def cut(p):
            os.truncate(p, p.stat().st_size - 1)

        def lengthen(p):
            p.write_bytes(p.read_bytes() + b"x")

        for act, reason in ((lambda p: p.unlink(), "missing"), (cut, "its line says"), (lengthen, "its line says"),
                            (lambda p: p.write_bytes(b""), "it has 0 bytes")):
            repo = self.repository_copy()
            pack = packs_of(repo, "chunk-000001")[0]
            pack.chmod(0o644)
            act(pack)
            found = self.one(repo)
            self.assertEqual((found["node"], found["kind"], found["object"]), ("kdb-1", "pack", f"runs/{object_of(pack)}"))
            self.assertIn(reason, found["reason"])
            self.assertEqual((found["files"], found["files_total"]), (["db/chunk-000001.000000"], 1))
            self.assertEqual(found["snapshots"], [repo.roots()[0].name])
            mark = json.loads(marks(repo, "damage")[0].read_bytes())
            self.assertEqual(mark["objects"], [object_of(pack)])
            self.one(repo)
            self.assertEqual(len(marks(repo, "damage")), 1, "known already")
            shutil.rmtree(repo.path)

    def test_segments(self):
        for kind in ("files", "packs"):
            for act, reason in ((pieces.flip, "SHA-256"), (lambda p: os.truncate(p, 10), "bytes"), (lambda p: p.unlink(), "gone"),
                                (lambda p: p.write_bytes(p.read_bytes() + b"x"), "bytes")):
                repo = self.repository_copy()
                segment = repo.run_files(kind=kind)[0]
                segment.chmod(0o644)
                act(segment)
                found = self.one(repo)
                self.assertEqual((found["kind"], found["object"]), ("segment", f"runs/{object_of(segment)}"))
                self.assertIn(reason, found["reason"])
                self.assertEqual(found["snapshots"], [repo.roots()[0].name])
                self.assertEqual(json.loads(marks(repo, "damage")[0].read_bytes())["objects"], [object_of(segment)])
                shutil.rmtree(repo.path)

    def test_roots_and_chain(self):
        repo = self.repository_copy()
        self.backup(repo.url, self.shared / "node")
        parent, child = repo.roots()
        whole = parent.read_bytes()
        parent.chmod(0o644)
        parent.write_bytes(whole[:-2])              # no JSON any more
        for words, shown in (((), [child.name, parent.name]), (("--node", "kdb-1", "all"), [parent.name])):
            found = self.one(repo, *words)
            self.assertEqual((found["kind"], found["object"]), ("root", f"snapshots/{parent.name}"))
            self.assertEqual(found["snapshots"], shown)
        self.assertEqual(json.loads(marks(repo, "damage")[0].read_bytes())["objects"], [])
        parent.write_bytes(whole.replace(b'"requires":[]', b'"requires":[],"note":1'))  # sound, but another
        self.assertIn(f"when snapshot {child.name} was made on it", self.one(repo)["reason"])
        parent.write_bytes(b"")                     # pruned: a fence
        self.assertEqual(self.verify(repo, "--node", "kdb-1", "all").summary["snapshots"], 1)
        parent.unlink()                             # gone altogether
        self.verify(repo)

    def test_descriptor(self):
        repo = self.repository_copy()
        descriptor = repo.path / "chunkferry.json"
        descriptor.chmod(0o644)
        for text, code in ((b"", 4), (b"{", 4), (descriptor.read_bytes().replace(b'"format":1', b'"format":7'), 1)):
            descriptor.write_bytes(text)
            self.refused(code, "chunkferry.json", "verify", "--repo", repo.url)
        descriptor.unlink()
        self.refused(10, "no repository", "verify", "--repo", repo.url)

    def test_lines(self):
        """What a line claims, against itself, the order and the packs."""
        def other_pack(lines):
            next(x for x in lines if x.get("extents"))["extents"][0]["pack"] = "20200101T000000Z-00000000/0000000001-pack-x.zst"

        def beyond(lines):
            line = next(x for x in lines if x.get("extents"))
            line["extents"][0]["at"] += 10**6

        def inline(lines):
            line = next(x for x in lines if x.get("inline"))
            line["sha256"] = hashlib.sha256(b"other").hexdigest()

        def order(lines):
            lines[0], lines[1] = lines[1], lines[0]

        def certificate(lines):
            line = next(x for x in lines if x.get("inline") and x["size"] < 50)
            line["cert"] = {"header": "A" * 100, "footer": "AAAA"}

        for act, reason in ((other_pack, "has no line"), (beyond, "names bytes"), (inline, "inline content"), (order, "against the order"),
                            (certificate, "certificate")):
            repo = self.repository_copy()
            lines = repo.lines()
            act(lines)
            repo.put_lines(lines)
            found = self.one(repo)
            self.assertEqual(found["kind"], "segment", found)
            self.assertIn(reason, found["reason"])
            shutil.rmtree(repo.path)
        repo = self.repository_copy()
        lines = repo.lines("packs")
        repo.put_lines(lines[:-1], kind="packs")
        self.assertIn("has no line", self.one(repo)["reason"])

    def test_words(self):
        repo = self.repository_copy()
        for part in ("", "0%", "101%", "5.55%", "x", "0/3", "4/3", "1/0", "1/", "/3", "0", "-1", "1/99999"):
            self.refused(2, "--read-data-subset", "verify", "--repo", repo.url, "--read-data-subset", part)
        self.refused(2, "give one of them", "verify", "--repo", repo.url, "--read-data-subset", "5%", "--read-data")
        self.refused(2, "of which node", "verify", "--repo", repo.url, "20261121T000000Z-00000000")
        self.refused(1, "no snapshot", "verify", "--repo", repo.url, "--node", "other")
        self.refused(1, "no snapshot '2020'", "verify", "--repo", repo.url, "--node", "kdb-1", "2020")
        self.refused(2, "48 MiB", "verify", "--repo", repo.url, "--read-data", "--memory", "1M")
        self.verify(repo, "--node", "kdb-1", repo.roots()[0].name[:12])


class Data(Look):
    """With --read-data. The tests of Look run again: a run that reads finds no less."""

    def verify(self, repo, *words, code=0, **options):
        return self.ferry("verify", "--repo", repo.url, "--json", "--read-data", *words, code=code, **options)

    test_words = test_descriptor = None

    def test_fine(self):
        repo = self.repository_copy()
        summary = self.verify(repo).summary
        self.assertEqual(summary["files_whole"], summary["files"], summary)
        self.assertEqual((summary["files_part"], summary["proved"], summary["packs_read"]), (0, 1, summary["packs"]))
        self.assertEqual(summary["packs_digested"], summary["packs"], "all of them are small enough to be read whole")
        self.assertEqual(summary["bytes_read"], summary["bytes_stored"])
        proof = json.loads(marks(repo, "proof")[0].read_bytes())
        self.assertEqual((proof["files"], proof["packs"], proof["bytes"]), (summary["files"], summary["packs"], summary["bytes_stored"]))

    def test_all_reads_shared_things_once(self):
        repo = self.repository_copy()
        for _ in range(3):
            self.backup(repo.url, self.shared / "node")
        one, four = self.verify(repo, "--node", "kdb-1").summary, self.verify(repo, "--node", "kdb-1", "all").summary
        self.assertEqual((four["snapshots"], four["proved"]), (4, 4))
        self.assertEqual(four["bytes_read"], one["bytes_read"])
        self.assertEqual(four["files"], one["files"])

    def test_any_byte(self):
        """Flips at random places of random packs: always found, always the right pack, and only files that lie there."""
        print(f"CHUNKFERRY_SEED={SEED}")
        rng = random.Random(SEED)
        repo = self.repository_copy()
        names = {}
        for line in repo.lines():
            for x in line.get("extents", []):
                names.setdefault(x["pack"], set()).add(line["path"])
        for _ in range(25):
            pack = rng.choice(packs_of(repo))
            whole = pack.read_bytes()
            at = rng.randrange(len(whole))
            pieces.flip(pack, at)
            result = self.verify(repo, code=4)
            found = damages(result)
            self.assertEqual([x["object"] for x in found], [f"runs/{object_of(pack)}"], f"byte {at}: {result}")
            self.assertTrue(set(found[0]["files"]) <= names[object_of(pack)], found)
            pack.write_bytes(whole)
        self.assertEqual(self.verify(repo).summary["damaged_packs"], 0)

    def test_swapped(self):
        """Two packs of equal length change places: every frame is sound."""
        db = self.make_node("--chunks", 3, "--chunk-size", 65536, "--seed", 5, name="other")
        repo = self.repository_copy()
        self.backup(repo.url, db, node="other")
        a, b = packs_of(repo, "chunk-000000")[0], packs_of(repo, "chunk-000001")[0]
        data = a.read_bytes()
        b.chmod(0o644)
        b.write_bytes((data + bytes(b.stat().st_size))[:b.stat().st_size])
        self.assertEqual(self.one(repo, "--node", "kdb-1")["object"], f"runs/{object_of(b)}")
        self.assertEqual(self.verify(repo, "--node", "other").summary["proved"], 1, "another node's is fine")

    def test_certificate_and_digest_of_lines(self):
        def certificate(lines):
            next(x for x in lines if x["class"] == "chunk")["cert"]["header"] = "AAAA"

        def sha256(lines):
            next(x for x in lines if x["class"] == "chunk")["sha256"] = "0" * 64

        for act, reason in ((certificate, "certificate"), (sha256, "the manifest says 000")):
            repo = self.repository_copy()
            lines = repo.lines()
            act(lines)
            repo.put_lines(lines)
            found = self.one(repo)
            self.assertIn(reason, found["reason"])
            self.assertEqual(found["files_total"], 1)
            shutil.rmtree(repo.path)

    def test_subsets_cover_everything_once(self):
        repo = self.repository_copy()
        packs = packs_of(repo)
        for total in (1, 2, 3, 5):
            sums = [self.ferry("verify", "--repo", repo.url, "--json", "--read-data-subset", f"{n + 1}/{total}").summary for n in range(total)]
            self.assertEqual(sum(s["packs_read"] for s in sums), len(packs))
            self.assertEqual(sum(s["bytes_read"] for s in sums), sum(p.stat().st_size for p in packs))
            self.assertEqual([s["proved"] for s in sums], [0] * total, "a part is no proof")
        for pack in packs:
            whole = pack.read_bytes()
            pieces.flip(pack)
            codes = [ferry.run("verify", "--repo", repo.url, "--read-data-subset", f"{n + 1}/3").code for n in range(3)]
            self.assertEqual(sorted(codes), [0, 0, 4], f"exactly one of three reads {pack.name}")
            pack.write_bytes(whole)

    def test_shares_are_others_each_time(self):
        repo = self.repository_copy()
        total = sum(p.stat().st_size for p in packs_of(repo))
        for part, most in (("30%", total * 0.3), (str(total // 3), total / 3)):
            read = [self.ferry("verify", "--repo", repo.url, "--json", "--read-data-subset", part).summary for _ in range(12)]
            self.assertTrue(all(s["bytes_read"] <= most or s["packs_read"] == 1 for s in read), read)
            self.assertTrue(all(s["bytes_read"] > 0 for s in read), read)
            self.assertGreater(len({s["bytes_read"] for s in read}), 1, "twelve times the same packs")
        whole = self.ferry("verify", "--repo", repo.url, "--json", "--read-data-subset", "100%").summary
        self.assertEqual(whole["bytes_read"], total)

    @PRIOR
    def test_the_next_backup_sends_it_again(self):
        repo, db = self.repository_copy(), self.node_copy()
        pieces.flip(packs_of(repo, "chunk-000001")[0], 3000)
        self.one(repo)
        again = self.backup(repo.url, db).summary
        self.assertGreaterEqual(again["packs_new"], 1, "a damaged pack is not relied upon")
        self.assertEqual(self.verify(repo).summary["proved"], 1)
        self.restore(repo.url, self.dir / "restored")
        self.assert_whole(self.dir / "restored")

    @PRIOR
    def test_the_next_backup_does_not_use_a_damaged_segment(self):
        repo, db = self.repository_copy(), self.node_copy()
        for segment in repo.run_files(kind="files"):
            pieces.flip(segment)
        self.verify(repo, code=4)
        self.backup(repo.url, db)
        self.assertEqual(self.verify(repo).summary["proved"], 1)

    def test_other_repository(self):
        repo = self.repository_copy()
        mirror = self.repository_copy("mirror")
        copied = self.repository("copied")
        self.ferry("copy", "--repo", repo.url, "--to-repo", copied)
        pack, second = packs_of(repo, "chunk-000001")[0], packs_of(repo, "chunk-000002")[0]
        pieces.flip(pack, 3000)
        found = self.one(repo, "--other-repo", mirror.url)
        self.assertEqual(found["other_copy"], f"nodes/kdb-1/runs/{object_of(pack)}")
        found = self.one(repo, "--other-repo", copied)
        self.assertTrue((self.dir / "copied" / found["other_copy"]).is_file(), found)
        copy = pieces.Repository(self.dir / "copied")
        self.assertEqual(found["other_copy"], f"nodes/kdb-1/runs/{object_of(packs_of(copy, 'chunk-000001')[0])}", "by its origin")
        pieces.flip(packs_of(copy, "chunk-000001")[0], 3000)
        self.assertIsNone(self.one(repo, "--other-repo", copied)["other_copy"], "it is really read")
        # The other way: the copy's own damage, and what it was copied from.
        mine = packs_of(copy, "chunk-000002")[0]
        pieces.flip(packs_of(copy, "chunk-000001")[0], 3000)
        pieces.flip(mine, 3000)
        found = [x for x in damages(self.verify(copy, "--other-repo", repo.url, code=4)) if x["object"] == f"runs/{object_of(mine)}"]
        self.assertEqual(found[0]["other_copy"], f"nodes/kdb-1/runs/{object_of(second)}")
        self.refused(10, "--other-repo", "verify", "--repo", repo.url, "--read-data", "--other-repo", f"file://{self.dir}/none")

    def test_read_only_medium(self):
        """Nothing can be recorded: a warning, the verdict is the same."""
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            from s3.client import Client
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.backup(url, self.shared / "node", env=env)
            door = Client.of(server)
            door.control("POST", "script", [{"match": {"op": "PutObject"}, "action": {"status": 403, "code": "AccessDenied"}}])
            done = self.ferry("verify", "--repo", url, "--read-data", "--json", env=env)
            self.assertEqual(done.summary["proved"], 0)
            warnings = [x["text"] for x in done.lines if x["type"] == "warning"]
            self.assertTrue(any("no lease could be put" in w for w in warnings) and any("proof could not be recorded" in w for w in warnings), done)

    def test_wrong_once_and_right_the_second_time(self):
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            from s3.client import Client
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.backup(url, self.shared / "node", env=env)
            door = Client.of(server)
            door.control("POST", "script", [{"match": {"op": "GetObject", "key": "pack", "nth": 2, "count": 1}, "action": {"flip_bit": 9000}}])
            done = self.ferry("verify", "--repo", url, "--read-data", "--json", "--jobs", 1, env=env)
            self.assertEqual((done.summary["proved"], done.summary["damaged_packs"]), (1, 0), done)
            self.assertEqual(door.control("GET", "script")[0]["fired"], 1)

    def test_what_a_server_did_to_it(self):
        """Stored with another byte, or cut: told by the pack's name, also from a bucket."""
        for action, words in (({"corrupt_stored": True}, ["--read-data"]), ({"truncate_stored": 5}, [])):
            with ferry.fake_s3() as (server, env):
                from s3.client import Client
                url, door = "s3://backups/prod", Client.of(server)
                self.ferry("init", "--repo", url, env=env)
                door.control("POST", "script", [{"match": {"op": "PutObject", "key": "chunk-000001", "nth": 1, "count": 1}, "action": action}])
                self.backup(url, self.shared / "node", env=env)
                self.assertEqual(door.control("GET", "script")[0]["fired"], 1)
                done = self.ferry("verify", "--repo", url, "--json", *words, code=4, env=env)
                self.assertEqual([x["files"] for x in damages(done)], [["db/chunk-000001.000000"]], done)
                again = self.backup(url, self.shared / "node", env=env).summary
                self.assertEqual(again["packs_new"], 1)
                self.assertEqual(self.ferry("verify", "--repo", url, "--json", "--read-data", env=env).summary["proved"], 1)

    def test_requests(self):
        """Small files beside each other are one request; a LIST, not a HEAD a pack."""
        tree = self.dir / "tree"
        tree.mkdir()
        rng = random.Random(3)
        for i in range(3000):
            (tree / f"{i:05d}").write_bytes(rng.randbytes(700 + i % 900))
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.ferry("backup", "--repo", url, "--node", "files", "--profile", "directory", "--dir", tree, env=env)
            before = ferry.server_counts(server)["requests"]
            looked = self.ferry("verify", "--repo", url, "--json", env=env).summary
            between = ferry.server_counts(server)["requests"]
            read = self.ferry("verify", "--repo", url, "--json", "--read-data", env=env).summary
            after = ferry.server_counts(server)["requests"]
        print(f"3,000 small files in {looked['packs']} packs: {between - before} requests to look, {after - between} to read, {read['bytes_read']} bytes")
        self.assertEqual(read["files_whole"], 3000)
        self.assertLessEqual(between - before, 14)
        self.assertLessEqual(after - between, 14 + 3 + read["bytes_stored"] // (1024 * 1024) + 8)


class Interrupt(pieces.Small):
    def test_max_duration(self):
        with ferry.fake_s3() as (server, env):
            from s3.client import Client
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.backup(url, self.shared / "node", env=env)
            Client.of(server).control("POST", "script", [{"match": {"op": "GetObject", "key": "-pack-"}, "action": {"delay_ms": [700, 700]}}])
            done = ferry.run("verify", "--repo", url, "--read-data", "--json", "--jobs", 1, "--max-duration", "1s", env=env)
            self.assertEqual(done.code, 130, done)
            self.assertEqual((done.summary["complete"], done.summary["proved"]), (False, 0))

    def test_interrupt(self):
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            self.backup(url, self.shared / "node", env=env)
            got, code, text = pieces.run_and_hold(server, env, ["verify", "--repo", url, "--read-data", "--json"], 2, sign=signal.SIGINT,
                                                  match={"op": "GetObject", "key": "pack"})[:3]
            self.assertTrue(got)
            self.assertEqual(code, 130, text)
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            summary = next(x for x in lines if x["type"] == "summary")
            self.assertEqual((summary["complete"], summary["proved"]), (False, 0))
            self.assertIn("nothing is recorded", text)
            self.assertEqual([p for p in Path(self.dir / "objects").rglob("proof-*")], [])


ferry.main(__name__)
