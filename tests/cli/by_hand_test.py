# SPDX-License-Identifier: Apache-2.0
"""What the program stored comes back with curl, zstd and jq by the commands of docs/FORMAT.md, and the node starts from it."""
import sys

sys.path.insert(0, "tests/cli")
import by_hand  # noqa: E402
import ferry  # noqa: E402

SEED = 11


class ByHand(ferry.Case):
    def back_up_a_live_node(self, url, env=None):
        """Two snapshots, the second with files of the first: one chunk large enough for several frames, inline files, parts, holes."""
        db = self.make_node("--chunks", 2, "--chunk-size", 9 * 1024 * 1024, "--seed", SEED)
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 0) as node:
            first = self.backup(url, db, env=env).summary
            node.tell("append-until-rollover")
            node.tell("flush-index")
            second = self.backup(url, db, env=env).summary
        self.assertGreaterEqual(second["files_reused"], 2)
        return [first["snapshot"], second["snapshot"]]

    def check_by_hand(self, address, url, snapshots, env):
        for snapshot in snapshots:
            out, target = self.dir / f"hand-{snapshot}", self.dir / f"ours-{snapshot}"
            done = by_hand.restore(address, "kdb-1", snapshot, out, env)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.check_start(out / "db", "--index", out / "index", "--seed", SEED)
            # And it is what our own restore makes.
            self.restore(url, target, "--index-target", self.dir / f"ours-index-{snapshot}", snapshot=snapshot, env=env)
            for role, mine in ("db", target), ("index", self.dir / f"ours-index-{snapshot}"):
                files = sorted(p.relative_to(mine) for p in mine.rglob("*") if p.is_file())
                self.assertEqual(files, sorted(p.relative_to(out / role) for p in (out / role).rglob("*") if p.is_file()) if (out / role).exists() else [])
                for name in files:
                    self.assertEqual((mine / name).read_bytes() == (out / role / name).read_bytes(), True, f"{role}/{name} differs")

    def test_from_a_directory(self):
        url = self.repository()
        snapshots = self.back_up_a_live_node(url)
        self.check_by_hand(url, url, snapshots, ferry.environment())

    def test_over_s3(self):
        with ferry.fake_s3() as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            snapshots = self.back_up_a_live_node(url, env)
            self.check_by_hand(f"{server.url}/backups/prod", url, snapshots, env)
            wrong = by_hand.restore(f"{server.url}/backups/prod", "kdb-1", snapshots[0], self.dir / "wrong", {**env, "AWS_SECRET_ACCESS_KEY": "no"})
            self.assertNotEqual(wrong.returncode, 0)


if __name__ == "__main__" and by_hand.lacking():
    ferry.skip("needs " + ", ".join(by_hand.lacking()))
ferry.main(__name__)
