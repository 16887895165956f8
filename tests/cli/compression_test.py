#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--compression, --adaptive, --no-verify-source, --connections: what they store, what they say, and that it all comes back."""
import json
import random
import shutil
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

MIB = 1 << 20


def events(size, seed=1):
    """JSON lines of about that size that compress like a node's."""
    r, lines, total = random.Random(seed), [], 0
    words = [f"{a}-{b}" for a in ("amber", "basket", "copper", "ember", "quartz") for b in range(400)]
    while total < size:
        lines.append(json.dumps({"id": f"{r.getrandbits(64):016x}", "at": 1700000000 + len(lines), "type": r.choice(words),
                                 "note": " ".join(r.choices(words, k=12)), "price": r.randrange(100000) / 100}) + "\n")
        total += len(lines[-1])
    return "".join(lines).encode()[:size]


class Compression(ferry.Case):
    def tree(self, *blocks):
        source = self.dir / "source"
        source.mkdir(exist_ok=True)
        with open(source / "events", "wb") as f:
            for block in blocks:
                f.write(block)
        return source

    def sent(self, url, source, *words, node="n", **options):
        done = self.ferry("backup", "--repo", url, "--node", node, "--profile", "directory", "--dir", source, "--json", *words, **options)
        target = self.dir / f"restored-{node}"
        self.ferry("restore", "--repo", url, "--node", node, "latest", "--target", target, **{k: v for k, v in options.items() if k == "env"})
        self.assertEqual((source / "events").read_bytes() == (target / "events").read_bytes(), True)
        shutil.rmtree(target)
        return done.summary

    def packs(self, node):
        return [p for p in (self.dir / "repository" / "nodes" / node / "runs").rglob("*-pack-*") if p.is_file()]

    def test_levels(self):
        url, source, stored = self.repository(), self.tree(events(3 * MIB)), {}
        for level in ("off", "1", "3", "19"):
            s = self.sent(url, source, "--compression", level, node=f"level-{level}")
            packs = self.packs(f"level-{level}")
            stored[level] = sum(p.stat().st_size for p in packs)
            self.assertEqual((s["level_min"], s["level_max"]), (0, 0) if level == "off" else (int(level),) * 2)
            self.assertEqual(s["level_mean"], s["level_min"])
            self.assertEqual(s["frames_new"], 1)
            for pack in packs:  # with content checksums, whatever the level
                listed = subprocess.run(["zstd", "-lv", pack], capture_output=True, text=True, check=True).stdout
                self.assertIn("XXH64", listed)
                subprocess.run(["zstd", "-qt", pack], check=True)
        self.assertGreater(stored["off"], 3 * MIB)
        self.assertLess(stored["off"], 3 * MIB + 4096)
        self.assertLess(stored["3"], stored["off"] // 2)
        self.assertLess(stored["19"], stored["3"])
        text = self.ferry("backup", "--repo", url, "--node", "text", "--profile", "directory", "--dir", source, "--compression", "off").out
        self.assertIn("level   off: stored as it is", text)

    def test_a_high_level_needs_memory(self):
        url, source = self.repository(), self.tree(events(MIB))
        words = ["backup", "--repo", url, "--node", "n", "--profile", "directory", "--dir", source, "--compression", "19"]
        told = self.refused(2, "compression level 19 needs --memory of ", *words, "--memory", "64MiB", hint="or a lower level").err
        least = int(told.split("--memory of ")[1].split()[0])
        self.ferry(*words, "--memory", f"{least}MiB")

    def test_words(self):
        words = ["backup", "--repo", f"file://{self.dir}/none", "--node", "n", "--profile", "directory", "--dir", self.dir]
        self.refused(2, "is no number", *words, "--compression", "best")
        self.refused(2, "outside 1 to 19", *words, "--compression", "20")
        self.refused(2, "'--adaptive' chooses a level", *words, "--compression", "off", "--adaptive")
        for n in ("0", "65"):
            self.refused(2, "outside 1 to 64", *words, "--connections", n)

    def test_adaptive_on_a_slow_network(self):
        """By far slower than compressing, on a busy machine too, so the level goes up and fewer bytes are sent than at level 3."""
        url = self.repository()
        source = self.tree(*[events(MIB // 4)] * 16 * 20)
        plain = self.sent(url, source, "--compression", "3", node="plain")
        s = self.sent(url, source, "--adaptive", "--limit-upload", "400KiB", node="adaptive")
        self.assertGreater(s["level_max"], 3)
        self.assertGreater(s["level_mean"], 3)
        self.assertLess(s["bytes_uploaded"], plain["bytes_uploaded"])

    def test_connections(self):
        source = self.tree(random.Random(1).randbytes(40 * MIB))
        with ferry.fake_s3() as (_, env):
            self.ferry("init", "--repo", "s3://backups", env=env)
            for n in (1, 2, 64):
                self.sent("s3://backups", source, "--connections", n, node=f"n{n}", env=env)


class NoVerifySource(ferry.Case):
    def test_a_damaged_chunk(self):
        """Stored as it is, and never said to be good: not in the summary, not in the manifest, not by a restore, not in the next snapshot."""
        db, url = self.make_node("--chunks", "3", "--chunk-size", 1 << 20), self.repository()
        chunk = db / "chunk-000001.000000"
        bad = bytearray(chunk.read_bytes())
        bad[5000] ^= 1
        chunk.chmod(0o644)
        chunk.write_bytes(bad)
        self.refused(3, "chunk-000001.000000' is damaged", "backup", "--repo", url, "--node", "kdb-1", "--db", db)
        first = self.backup(url, db, "--no-verify-source")
        self.assertIs(first.summary["source_verified"], False)
        for again in (False, True):
            if again:  # verified now, but the chunk is the parent's: it was not read
                self.assertIs(self.backup(url, db).summary["source_verified"], True)
            self.refused(4, "chunk-000001.000000", "restore", "--repo", url, "--node", "kdb-1", "latest", "--target", self.dir / f"back-{again}",
                         hint="restore --no-verify-source")
        self.restore(url, self.dir / "as-it-was", "--no-verify-source")
        self.assertEqual((self.dir / "as-it-was/chunk-000001.000000").read_bytes(), bytes(bad))
        self.assertIn("its MD5 is", self.ferry("verify", "--repo", url, "--node", "kdb-1", "--read-data", code=4).out)
        self.refused(3, "is damaged", "backup", "--repo", url, "--node", "kdb-1", "--db", db, "--mode", "full")

    def test_a_good_node(self):
        db, url = self.make_node("--chunks", "2", "--chunk-size", 1 << 20), self.repository()
        done = self.ferry("backup", "--repo", url, "--node", "kdb-1", "--db", db, "--no-verify-source")
        self.assertIn("not held against its own MD5", done.out)
        self.restore(url, self.dir / "back")
        self.assert_same_tree(db, self.dir / "back")
        marked = subprocess.run(f"cat {self.dir}/repository/nodes/kdb-1/runs/*/*-files.jsonl.zst | zstd -dcq", shell=True, capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in marked.stdout.splitlines()]
        self.assertEqual({x["class"] for x in lines if x.get("md5_unchecked")}, {"chunk", "ptable"})
        self.check_start(self.dir / "back")


ferry.main(__name__)
