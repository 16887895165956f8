# SPDX-License-Identifier: Apache-2.0
"""Every real directory goes into a repository and back: byte for byte, and fit to start."""
import os
import shutil
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

URL = os.environ.get("FERRY_URL")          # else a directory; tests/real sets it for real servers
ENV = {k: v for k, v in os.environ.items() if k.startswith("AWS_")} if URL else {}
PREPARED = "single-prepared-for-restore"    # truncate.chk >= 0: a live directory like that must be refused
RUNNING_SCAVENGE = "single-scavenging-running"


class Fixtures(ferry.Case):
    def setUp(self):
        super().setUp()
        self.env = ferry.environment(**ENV)
        if URL:
            self.url = f"{URL}/{self.id().split('.')[-1]}"
            self.ferry("init", "--repo", self.url, env=self.env)
        else:
            self.url = self.repository()

    def round_trip(self, archive, node):
        db, index = ferry.unpack(archive, self.dir / node / "source")
        words = ["--index", index] if index != db / "index" else []
        if archive.name.startswith(PREPARED):
            self.refused(3, "truncat", "backup", "--repo", self.url, "--node", node, "--db", db, *words, env=self.env, hint="")
            (db / "truncate.chk").write_bytes(b"\xff" * 8)  # as it was before somebody prepared it
        self.backup(self.url, db, *words, node=node, env=self.env)
        again = self.backup(self.url, db, *words, node=node, env=self.env).summary
        self.assertEqual(again["bytes_changed"], 0, again)
        self.assertEqual(again["files_new"], 0, again)
        target = self.dir / node / "restored"
        targets = ["--index-target", self.dir / node / "restored-index"] if words else []
        self.restore(self.url, target, *targets, node=node, env=self.env)
        ongoing = sorted(p.name for p in target.glob("chunk-*"))[-1]
        self.assert_same_tree(db, target, ongoing=[ongoing])
        if words:
            self.assert_same_tree(index, self.dir / node / "restored-index")
        missing = {p.name for p in db.glob("chunk-*")} - {p.name for p in target.glob("chunk-*")}
        self.assertEqual(missing, set())
        self.check_start(target, *(["--index", self.dir / node / "restored-index"] if words else []))

    def test_every_fixture(self):
        archives = ferry.fixtures()
        for archive in archives:
            with self.subTest(archive=str(archive.relative_to(ferry.FIXTURES))):
                node = f"{archive.parent.name}-{archive.name[:-8]}".lower()[:60]
                self.round_trip(archive, node)
        print(f"{len(archives)} of {len(archives)} fixtures went there and back")

    def test_equally_named_scavenged_chunks_are_never_mixed(self):
        one = ferry.FIXTURES / "eventstore-4.1.4/cluster-node1-scavenged.tar.zst"
        three = ferry.FIXTURES / "eventstore-4.1.4/cluster-node3-scavenged.tar.zst"
        db1, _ = ferry.unpack(one, self.dir / "one")
        db3, _ = ferry.unpack(three, self.dir / "three")
        name = "chunk-000000.000002"
        self.assertEqual((db1 / name).stat().st_size, (db3 / name).stat().st_size)
        self.assertNotEqual((db1 / name).read_bytes(), (db3 / name).read_bytes())
        # Two nodes of one cluster, and then one directory in the other's place under the same node name.
        self.backup(self.url, db1, node="node1", env=self.env)
        self.backup(self.url, db3, node="node3", env=self.env)
        self.backup(self.url, db3, node="node1", env=self.env)
        for node, snapshot, db in (("node1", "latest", db3), ("node3", "latest", db3), ("node1", self.snapshots(self.url, "node1", env=self.env)[0], db1)):
            target = self.dir / f"restored-{node}-{snapshot}"
            self.restore(self.url, target, node=node, snapshot=snapshot, env=self.env)
            self.assertEqual((target / name).read_bytes(), (db / name).read_bytes(), (node, snapshot))
            shutil.rmtree(target)


if not ferry.fixtures():
    ferry.skip("../shared/fixtures not present")
ferry.main(__name__)
