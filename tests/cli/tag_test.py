# SPDX-License-Identifier: Apache-2.0
"""tag, backup --tag, and where tags are shown."""
import json
import sys
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry


class Tag(ferry.Case):
    def setUp(self):
        super().setUp()
        self.url, self.db = self.repository(), self.make_node()

    def tag(self, run, *words, **options):
        return self.ferry("tag", "--repo", self.url, "--node", "kdb-1", run, "--json", *words, **options).summary

    def tags(self):
        return {x["snapshot"]: x["tags"] for x in self.ferry("list", "--repo", self.url, "--json").lines if x["type"] == "snapshot"}

    def test_tags(self):
        first = self.backup(self.url, self.db).summary["snapshot"]
        second = self.backup(self.url, self.db, "--tag", "keep", "--tag", "before-upgrade").summary["snapshot"]
        self.assertEqual(self.tags(), {first: [], second: ["before-upgrade", "keep"]})
        self.assertEqual(self.tag(first, "--add", "v1.2_A:b-c")["tags"], ["v1.2_A:b-c"])
        self.assertEqual(self.tag("latest", "--remove", "keep", "--add", "x"), {"type": "summary", "node": "kdb-1", "snapshot": second, "tags": ["before-upgrade", "x"]})
        self.assertEqual(self.tag("latest", "--remove", "never-was")["tags"], ["before-upgrade", "x"])
        shown = self.ferry("show", "--repo", self.url, "--node", "kdb-1", "latest", "--json").summary
        self.assertEqual(shown["tags"], ["before-upgrade", "x"])
        self.assertIn("tags      before-upgrade, x", self.ferry("show", "--repo", self.url, "--node", "kdb-1", "latest").out)
        self.assertIn("before-upgrade, x", self.ferry("list", "--repo", self.url).out)
        text = self.ferry("tag", "--repo", self.url, "--node", "kdb-1", first, "--remove", "v1.2_A:b-c").out
        self.assertEqual(text, f"snapshot {first} of node kdb-1: no tags\n")
        # The newest is proved; nothing was overwritten: a mark a change.
        marks = sorted(Path(self.url[7:]).glob("nodes/kdb-1/marks/*/tag-*Z"))
        self.assertEqual(len(marks), 5)
        self.assertEqual(json.loads(marks[0].read_text()), {"format": 1, "requires": [], "add": ["v1.2_A:b-c"], "remove": []})

    def test_tags_of_a_backup_come_before_its_root(self):
        """A prune that may take the snapshot reads the marks later (model: core.pml, -DM_TAGLATE)."""
        run = self.backup(self.url, self.db, "--tag", "keep").summary["snapshot"]
        node = Path(self.url[7:]) / "nodes/kdb-1"
        root, [mark] = node / "snapshots" / run, list(node.glob(f"marks/{run}/tag-*Z"))
        self.assertLess(mark.stat().st_mtime_ns, root.stat().st_mtime_ns)

    def test_refused(self):
        run = self.backup(self.url, self.db).summary["snapshot"]
        words = ["tag", "--repo", self.url, "--node", "kdb-1"]
        self.refused(2, "no tag given", *words, "latest", hint="--add TAG")
        self.refused(2, "a tag is empty", *words, "latest", "--add", "")
        self.refused(2, "tag 'a b' has a byte 0x20 at position 2", *words, "latest", "--add", "a b")
        self.refused(2, "is longer than 64 bytes", *words, "latest", "--add", "x" * 65)
        self.refused(2, "is to be added and to be taken away", *words, "latest", "--add", "a", "--remove", "a")
        self.refused(1, "has no snapshot '2001'", *words, "2001", "--add", "a")
        self.refused(1, "node 'other' has no snapshot", "tag", "--repo", self.url, "--node", "other", run, "--add", "a")
        self.refused(2, "no node given", "tag", "--repo", self.url, run, "--add", "a")
        self.refused(2, "a word is missing", "tag", "--repo", self.url, "--node", "kdb-1", "--add", "a")
        self.refused(2, "tag 'x/y'", "backup", "--repo", self.url, "--node", "kdb-1", "--db", self.db, "--tag", "x/y")
        self.assertFalse(list(Path(self.url[7:]).glob("nodes/kdb-1/marks/*/*")))
        self.assertEqual(self.snapshots(self.url), [run])

    def test_unreadable_mark(self):
        run = self.backup(self.url, self.db, "--tag", "a").summary["snapshot"]
        mark = next(Path(self.url[7:]).glob("nodes/kdb-1/marks/*/tag-*Z"))
        mark.write_text("{")
        listed = self.ferry("list", "--repo", self.url, "--json")
        self.assertEqual([x["tags"] for x in listed.lines if x["type"] == "snapshot"], [[]])
        self.assertIn(f"marks/{run}/tag-", [x["text"] for x in listed.lines if x["type"] == "warning"][0])
        self.refused(4, "malformed JSON", "tag", "--repo", self.url, "--node", "kdb-1", "latest", "--add", "b")

    def test_a_prune_runs(self):
        old = self.backup(self.url, self.db).summary["snapshot"]
        self.backup(self.url, self.db)
        # The lease of a prune on another machine, as it stands while it runs.
        lease = next(Path(self.url[7:]).glob("nodes/kdb-1/leases/*"))
        body = json.loads(lease.read_text())
        body.update(state="held", uses=[])
        body["owner"].update(host="elsewhere", machine="0" * 32)
        prunes = lease.parent.parent / "prunes"
        prunes.mkdir()
        (prunes / "0000000001").write_text(json.dumps(body))
        self.refused(11, "a prune is running", "tag", "--repo", self.url, "--node", "kdb-1", old, "--add", "keep", hint="run the same command again")
        (prunes / "0000000001").unlink()
        self.assertEqual(self.tag(old, "--add", "keep")["tags"], ["keep"])
        (Path(self.url[7:]) / "nodes/kdb-1/snapshots" / old).write_text("")
        self.refused(1, "has no snapshot", "tag", "--repo", self.url, "--node", "kdb-1", old, "--add", "keep")


ferry.main(__name__)
