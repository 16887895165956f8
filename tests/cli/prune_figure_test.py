# SPDX-License-Identifier: Apache-2.0
"""The figure of issue 4: a prune of 1,000 snapshots over 100,000 packs asks no more than it must, in little memory.

The repository is made of the format alone, put into the fake server's memory: packs of one byte, roots and segments that are true.
"""
import contextlib
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry

sys.path.insert(0, "tests/fake")
from s3.server import FakeServer
from s3.store import Conditions, MemoryBlob, Object

SNAPSHOTS, PACKS_EACH, WINDOW = 1000, 100, 100      # a snapshot names the packs of the last 100 runs
KEEP = 500
RSS_MAX_KIB = 128 * 1024
NODE = "nodes/kdb-1"
OTHERS = 10


def zstd_raw(data):
    """A zstd frame of raw blocks: made in microseconds, and as true as any."""
    out = [b"\x28\xb5\x2f\xfd\xa0", len(data).to_bytes(4, "little")]
    size = 128 * 1024
    for at in range(0, len(data), size):
        piece = data[at:at + size]
        last = at + size >= len(data)
        out += [(int(last) | len(piece) << 3).to_bytes(3, "little"), piece]
    return b"".join(out)


class Repository:
    def __init__(self, server):
        self.store = server.store
        self.now_s = time.time() - 30 * 86400
        self.bytes = 0

    def put(self, key, body):
        self.bytes += len(body)
        self.store.put("backups", key.encode(), Object(MemoryBlob(body), hashlib.md5(body).hexdigest(), self.now_s), Conditions())

    def segment(self, kind, key, lines):
        text = "".join(line + "\n" for line in lines).encode()
        stored = zstd_raw(text)
        self.put(f"{NODE}/runs/{key}", stored)
        return {"kind": kind, "key": key, "bytes": len(stored), "lines": len(lines), "sha256": hashlib.sha256(stored).hexdigest()}

    def make(self):
        self.put("chunkferry.json", json.dumps({"format": 1, "requires": [], "id": "0" * 32, "created": "2026-01-01T00:00:00.000Z",
                                                "sealing": "none"}).encode())
        runs, decades = [], []
        digest = {"alg": "sha256", "value": "0" * 64}
        for i in range(SNAPSHOTS):
            stamp = time.gmtime(1767225600 + i * 3600)
            run = time.strftime("%Y%m%dT%H%M%SZ", stamp) + f"-{i:08x}"
            names = [f"{run}/{k:010}-pack-small.zst" for k in range(1, PACKS_EACH + 1)]
            for name in names:
                self.put(f"{NODE}/runs/{name}", b"x")
            runs.append(names)
            lines = [json.dumps({"pack": n, "size": 1, "used": 1, "digest": digest}, separators=(",", ":"))
                     for names in runs[i - i % 10:] for n in names]
            own = self.segment("packs", f"{run}/{PACKS_EACH + 1:010}-packs.jsonl.zst", lines)
            files = self.segment("files", f"{run}/{PACKS_EACH + 2:010}-files.jsonl.zst",
                                 [json.dumps({"step": 1, "path": "x", "type": "dir"})])
            self.root(run, stamp, decades[-WINDOW // 10 + 1:] + [own, files])
            if i % 10 == 9:
                decades.append(own)
        self.put(f"{NODE}/leases/0000000001", json.dumps({
            "format": 1, "requires": [], "run": run, "state": "ended", "uses": [], "since": "2026-01-01T00:00:00.000Z", "ttl_s": 300,
            "owner": {"host": "x", "machine": "", "boot": "", "pid_ns": "", "pid": 1, "start_ticks": 1}}).encode())

    def root(self, run, stamp, segments):
        totals = {k: 1 for k in ("files", "files_new", "files_reused", "source_bytes", "read_bytes", "uploaded_bytes", "packs", "stored_bytes",
                                 "sparse_packs")}
        self.put(f"{NODE}/snapshots/{run}", json.dumps({
            "format": 1, "requires": [], "run": run, "time": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", stamp), "profile": "kurrentdb",
            "program": "0.1.0", "lease": 1, "totals": totals, "node": {}, "segments": segments}).encode())


def run(server, *words):
    """Summary, and the most memory it had, in KiB."""
    command = [str(ferry.BINARY), "prune", "--repo", "s3://backups", "--node", "kdb-1", "--json", *words]
    env = ferry.environment(AWS_ACCESS_KEY_ID=server.options.access_key, AWS_SECRET_ACCESS_KEY=server.options.secret_key,
                            AWS_ENDPOINT_URL_S3=server.url, AWS_REGION=server.options.region)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        rss_kib = 0
        while process.poll() is None:   # not ru_maxrss: that counts what this Python was before the exec
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if next(x for x in status if x.startswith("Name:")).endswith("chunkferry"):
                    rss_kib = max(rss_kib, int(next(x for x in status if x.startswith("VmHWM:")).split()[1]))
            time.sleep(0.02)
        out.seek(0)
        err.seek(0)
        text = out.read()
        assert process.returncode == 0, text[-2000:] + err.read()
    lines = [json.loads(x) for x in text.splitlines()]
    return lines[-1], sum(x["type"] == "snapshot" and not x["keep"] for x in lines), rss_kib


class Figure(ferry.Case):
    def test_figure(self):
        with FakeServer(buckets=["backups"]) as server:
            repository = Repository(server)
            repository.make()
            objects = SNAPSHOTS * (PACKS_EACH + 2)
            began = time.monotonic()
            server.journal.clear()
            summary, gone, rss_kib = run(server, "--keep-last", str(KEEP))
            took_s = time.monotonic() - began
            ops = server.journal.counts["ops"]
            kept_runs = KEEP + WINDOW - 1  # about: what their packs rest on
            self.assertEqual(gone, SNAPSHOTS - KEEP)
            self.assertEqual(summary["snapshots_deleted"], SNAPSHOTS - KEEP)
            self.assertEqual(summary["snapshots_kept"], KEEP)
            self.assertGreater(summary["objects_deleted"], (SNAPSHOTS - kept_runs - 10) * PACKS_EACH)
            pages = ops["ListObjectsV2"]
            self.assertLessEqual(pages, math.ceil(objects / 1000) + 11)   # nodes, prunes, leases, snapshots, marks, reads: no page twice
            segments = KEEP + WINDOW // 10   # one of its own each, and those of the decades before
            deletes = math.ceil(summary["objects_deleted"] / 1000)
            limit = pages + deletes + SNAPSHOTS + segments + (SNAPSHOTS - KEEP) + OTHERS
            print(f"{summary['requests']} requests (at most {limit}): {ops}; {rss_kib / 1024:.1f} MiB; {took_s:.1f} s; "
                  f"{summary['objects_deleted']} of {objects} objects deleted")
            self.assertLessEqual(summary["requests"], limit, ops)
            self.assertEqual(ops["DeleteObjects"], deletes + (1 if ops["DeleteObjects"] > deletes else 0))
            self.assertLess(rss_kib, RSS_MAX_KIB)
            # Each root and each pack segment of those that stay, once; nothing twice.
            self.assertLessEqual(ops["GetObject"], 1 + SNAPSHOTS + segments + 5, ops)
            # Everything that is needed is there, and a second prune finds nothing to do.
            again, gone, _ = run(server, "--keep-last", str(KEEP))
            self.assertEqual((gone, again["objects_deleted"]), (0, 0))
            left = {k.decode() for k in server.store.buckets["backups"].keys}
            names = [k for k in left if "/snapshots/" in k and len(server.store.buckets["backups"].objects[k.encode()].blob) > 0]
            self.assertEqual(len(names), KEEP)


ferry.main(__name__)
