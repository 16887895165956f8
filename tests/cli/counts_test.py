# SPDX-License-Identifier: Apache-2.0
"""What a backup costs, counted at the server: requests, bytes uploaded by kind, bytes read."""
import json
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

PART = 4 * 1024 * 1024


class Counts(ferry.Case):
    def test_no_change_with_10_000_chunks(self):
        db = self.make_node("--chunks", 10000, "--chunk-size", 4096, "--filter-size", 10000, "--seed", 5)
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            url = "s3://backups/prod"
            self.ferry("init", "--repo", url, env=env)
            first = self.backup(url, db, env=env).summary
            self.assertGreaterEqual(first["files_total"], 10000)
            before = ferry.server_counts(server)
            trace = self.dir / "trace"
            env["CF_STEP_TRACE"] = str(trace)
            second = self.backup(url, db, env=env, binary=ferry.STEPPING).summary
            after = ferry.server_counts(server)
        requests = after["requests"] - before["requests"]
        sent = after["bytes_uploaded"] - before["bytes_uploaded"]
        print(f"no change, {second['files_total']} files: {requests} requests, {sent} bytes uploaded, {second['bytes_read']} bytes read, "
              f"{second['duration_s']:.2f} s")
        self.assertEqual(second["bytes_changed"], 0, second)
        self.assertEqual(second["packs_new"], 0, second)
        self.assertLessEqual(requests, 16)
        self.assertEqual(second["requests"], requests)
        self.assertLessEqual(sent, 64 * 1024)
        chunk_reads = second["bytes_read"] - self.other_bytes(db)
        self.assertLessEqual(chunk_reads, 256 * 10000, "header and footer of each chunk, once")

    @staticmethod
    def other_bytes(db):
        """Everything that is no completed chunk may be read whole."""
        chunks = sorted(db.glob("chunk-*"))
        return sum(p.stat().st_size for p in db.rglob("*") if p.is_file() and p not in chunks[:-1]) + 65536

    def test_bytes_uploaded_follow_bytes_appended(self):
        db = self.make_node("--chunks", 6, "--chunk-size", 1048576, "--seed", 6, "--tables", 2)
        url = self.repository()
        runs = self.dir / "repository/nodes/kdb-1/runs"
        self.backup(url, db)
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 0) as node:
            for appended in (3000, 700_000, 2_500_000):
                before = {p.name for p in db.glob("chunk-*")}
                ongoing = max(before)
                node.tell(f"append {appended}")
                node.tell("flush-index")
                summary = self.backup(url, db, "-v").summary
                written = {}
                for path in (runs / summary["snapshot"]).iterdir():
                    kind = path.name.split("-")[1].split(".")[0]
                    written.setdefault(kind, []).append(path)
                packs = {p.name.split("-pack-")[1] for p in written.get("pack", [])}
                completed = {f"{c}.zst" for c in {ongoing} | {p.name for p in db.glob("chunk-*")} - before
                             if c != max(p.name for p in db.glob("chunk-*"))}
                # Own packs: exactly the chunks completed since; one shared pack for parts and tables; nothing else.
                self.assertEqual({p for p in packs if p.startswith("chunk-")}, completed, summary)
                self.assertLessEqual(len([p for p in packs if not p.startswith("chunk-")]), 2, packs)
                source_new = summary["bytes_changed"]
                chunk_bytes = sum((db / c[:-4]).stat().st_size for c in completed)
                other = sum(p.stat().st_size for p in (db / "index").rglob("*") if p.is_file())
                self.assertLessEqual(source_new, chunk_bytes + PART + other, "completed chunks once more, changed parts, tables")
                segments = sum(p.stat().st_size for k in ("files", "packs") for p in written.get(k, []))
                self.assertLess(segments, 64 * 1024)
                print(f"appended {appended}: {len(completed)} completed chunks sent whole, {source_new} source bytes new, "
                      f"{summary['bytes_uploaded']} uploaded, {segments} of them segments")

    def test_full_mode_reuses_nothing(self):
        db = self.make_node("--chunks", 4, "--chunk-size", 65536, "--seed", 6)
        url = self.repository()
        self.backup(url, db)
        full = self.backup(url, db, "--mode", "full").summary
        self.assertEqual(full["files_reused"], 0, json.dumps(full))
        self.assertGreaterEqual(full["packs_new"], 4)
        self.restore(url, self.dir / "restored")
        self.check_start(self.dir / "restored", "--seed", 6)


ferry.main(__name__)
