# SPDX-License-Identifier: Apache-2.0
"""A parent that is damaged must not stop the next backup, nor spread."""
import json
import shutil
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402


class DeadParent(ferry.Case):
    """A parent whose lists cannot be read: backup goes on without it, says so, and names nothing of it."""

    def test_every_object_of_the_parents_lists(self):
        db = self.make_node("--chunks", 4, "--chunk-size", 262144, "--seed", 9)
        whole = self.dir / "whole"
        self.ferry("init", "--repo", f"file://{whole}")
        first = self.backup(f"file://{whole}", db).summary["snapshot"]
        run = f"nodes/kdb-1/runs/{first}"
        names = [p.relative_to(whole) for p in sorted((whole / run).iterdir()) if p.name.endswith(".jsonl.zst") and "journal" not in p.name]
        names.append((whole / f"nodes/kdb-1/snapshots/{first}").relative_to(whole))
        self.assertGreaterEqual(len(names), 3)
        for name in names:
            for how in ("flipped", "cut", "gone"):
                if how != "cut" and "snapshots" in str(name):
                    continue    # gone: there is no parent; flipped: a root has no digest of its own, so only its form can tell
                broken = self.dir / "broken"
                shutil.copytree(whole, broken)
                path = broken / name
                if how == "gone":
                    path.unlink()
                else:
                    data = bytearray(path.read_bytes())
                    data[len(data) // 2] ^= 0x55
                    path.write_bytes(data if how == "flipped" else data[:len(data) // 2])
                done = self.backup(f"file://{broken}", db)
                where = f"{name} {how}: {done}"
                self.assertTrue("nothing of snapshot" in done.out + done.err or "cannot be the parent" in done.out + done.err, where)
                self.assertEqual(done.summary["files_reused"] > 8, False, where)
                root = json.loads((broken / f"nodes/kdb-1/snapshots/{done.summary['snapshot']}").read_bytes())
                self.assertEqual([s["key"] for s in root["segments"] if first in s["key"]], [], where)
                self.restore(f"file://{broken}", self.dir / "restored")
                self.check_start(self.dir / "restored")
                shutil.rmtree(broken)
                shutil.rmtree(self.dir / "restored")


ferry.main(__name__)
