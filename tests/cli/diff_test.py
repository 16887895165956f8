# SPDX-License-Identifier: Apache-2.0
"""diff: what changed between two snapshots."""
import os
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


class Diff(ferry.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        (self.tree / "a").mkdir(parents=True)
        for name, size in (("same", 1000), ("grows", 2000), ("goes", 3000), ("touched", 4000), ("a/moved", 500), ("rewritten", 700)):
            (self.tree / name).write_bytes(os.urandom(size))
        (self.tree / "link").symlink_to("same")
        self.url = self.repository()

    def snapshot(self):
        done = self.ferry("backup", "--repo", self.url, "--node", "n", "--profile", "directory", "--dir", self.tree, "--force", "--json")
        return done.summary["snapshot"]

    def diff(self, a, b, *words):
        return self.ferry("diff", "--repo", self.url, "--node", "n", a, b, "--json", *words)

    def test_changes(self):
        first = self.snapshot()
        with open(self.tree / "grows", "ab") as f:
            f.write(b"x" * 50)
        (self.tree / "goes").unlink()
        os.chmod(self.tree / "touched", 0o600)
        (self.tree / "comes").write_bytes(b"y" * 123)
        (self.tree / "rewritten").write_bytes(os.urandom(700))
        (self.tree / "link").unlink()
        (self.tree / "link").symlink_to("grows")
        second = self.snapshot()
        done = self.diff(first, second)
        files = {x["path"]: (x["change"], x["bytes_before"], x["bytes_after"]) for x in done.lines if x["type"] == "file"}
        expected = {"dir/grows": ("changed", 2000, 2050), "dir/goes": ("removed", 3000, 0), "dir/touched": ("metadata", 4000, 4000),
                    "dir/comes": ("added", 0, 123), "dir/rewritten": ("changed", 700, 700), "dir/link": ("changed", 0, 0)}
        self.assertEqual({k: v for k, v in files.items() if k != "dir"}, expected)      # the top's own time may count
        summary = done.summary
        self.assertEqual((summary["from"], summary["to"], summary["added"], summary["removed"], summary["changed"]), (first, second, 1, 1, 3))
        self.assertEqual((summary["bytes_added"], summary["bytes_removed"]), (173, 3000))
        self.assertGreaterEqual(summary["packs_new"], 1)
        back = self.diff(second, first).summary
        self.assertEqual((back["added"], back["removed"], back["bytes_added"], back["bytes_removed"]), (1, 1, 3000, 173))
        text = self.ferry("diff", "--repo", self.url, "--node", "n", first[:16], "latest").out
        self.assertIn("-  dir/goes", text)
        self.assertNotIn("dir/touched", text)
        self.assertIn("m  dir/touched", self.ferry("diff", "--repo", self.url, "--node", "n", first, second, "-v").out)

    def test_nothing(self):
        first = self.snapshot()
        second = self.snapshot()
        done = self.diff(first, second)
        self.assertEqual([x for x in done.lines if x["type"] == "file"], [])
        self.assertEqual(done.summary["packs_new"], 0)
        self.assertEqual(self.diff("latest", "latest").summary["changed"], 0)

    def test_another_step(self):
        """A path that moved to another step of the profile's order is the same path."""
        first = self.snapshot()
        second = self.snapshot()
        repo = pieces.Repository(self.dir / "repository", node="n")
        lines = repo.lines()
        line = next(x for x in lines if x["path"] == "dir/same")
        lines.remove(line)
        line["step"] = max(x["step"] for x in lines) + 1
        root = repo.root()
        name = f"{second}/0000009999-files.jsonl.zst"      # not the segment that both share
        for segment in root["segments"]:
            if segment["kind"] == "files":
                data = (repo.node / "runs" / segment["key"]).read_bytes()
                segment["key"] = name
        (repo.node / "runs" / second).mkdir(exist_ok=True)
        (repo.node / "runs" / name).write_bytes(data)
        repo.put_root(root)
        repo.put_lines([*lines, line])
        self.assertEqual([x for x in self.diff(first, second).lines if x["type"] == "file"], [])

    def test_words(self):
        self.snapshot()
        self.refused(2, "a word is missing", "diff", "--repo", self.url, "--node", "n", "latest")
        self.refused(2, "no node given", "diff", "--repo", self.url, "latest", "latest")
        self.refused(1, "no snapshot '2020'", "diff", "--repo", self.url, "--node", "n", "2020", "latest")


ferry.main(__name__)
