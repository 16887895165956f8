# SPDX-License-Identifier: Apache-2.0
"""unlock: what it shows, whom it fences, and what the fenced run then meets."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, "tests/cli")
import ferry


class Unlock(ferry.Case):
    def setUp(self):
        super().setUp()
        self.url, self.db = self.repository(), self.make_node()
        self.words = ["unlock", "--repo", self.url, "--node", "kdb-1"]
        self.folder = Path(self.url[7:]) / "nodes/kdb-1"

    def lease(self, number, state="held", age_s=0, run="20261121T143100Z-0123abcd", machine="0" * 32, **more):
        """As a run on another machine left it."""
        body = json.loads(sorted(self.folder.glob("leases/*"))[0].read_text())
        body.update(run=run, state=state, **more)
        body["owner"].update(host="elsewhere", machine=machine, pid=4711)
        path = self.folder / "leases" / f"{number:010}"
        path.write_text(json.dumps(body))
        stamp = time.time() - age_s
        os.utime(path, (stamp, stamp))
        return run

    def test_nothing(self):
        self.assertEqual(self.ferry(*self.words).out, "node kdb-1: no run is under way, there is nothing to unlock\n")
        self.backup(self.url, self.db)
        result = self.ferry(*self.words, "--json")
        self.assertEqual(result.summary, {"type": "summary", "node": "kdb-1", "leases": 0, "fenced": 0})
        self.ferry(*self.words, "--force")
        self.assertEqual(len(list(self.folder.glob("snapshots/*"))), 1)

    def test_free(self):
        """A free lease holds nobody up: shown, and fenced only when asked."""
        self.backup(self.url, self.db)
        for number, options in ((2, {"state": "ended"}), (3, {"age_s": 3600})):
            run = self.lease(number, run=f"20260101T00000{number}Z-0123abcd", **options)
            plain = self.ferry(*self.words)
            self.assertIn("free: ", plain.out)
            self.assertIn("goes on from what it uploaded", plain.out)
            self.assertIn("there is nothing to unlock", plain.out)
            self.assertFalse((self.folder / "snapshots" / run).exists())
            result = self.ferry(*self.words, "--force", "--json")
            shown = [x for x in result.lines if x["type"] == "lease"]
            self.assertEqual([(x["lease"], x["run"], x["state"], x["fenced"], x["host"], x["pid"]) for x in shown],
                             [(number, run, "ended" if number == 2 else "ran-out", True, "elsewhere", 4711)])
            self.assertEqual((self.folder / "snapshots" / run).read_bytes(), b"")
            # Once is enough, and the lease itself is not touched.
            self.assertEqual(self.ferry(*self.words, "--force", "--json").summary["leases"], 0)
            self.assertTrue((self.folder / "leases" / f"{number:010}").exists())
        self.backup(self.url, self.db)

    def test_live(self):
        self.backup(self.url, self.db)
        run = self.lease(2)
        busy = self.refused(11, "lease 2 is live", *self.words, hint="--force")
        self.assertIn("process 4711 on elsewhere", busy.out)
        self.assertIn("what it uploaded is lost", busy.err)
        self.assertFalse((self.folder / "snapshots" / run).exists())
        self.refused(11, "4711", "backup", "--repo", self.url, "--node", "kdb-1", "--db", self.db)
        self.assertIn("it can never commit", self.ferry(*self.words, "--force").out)
        self.assertEqual((self.folder / "snapshots" / run).read_bytes(), b"")
        self.backup(self.url, self.db)

    def test_fenced_run_fails(self):
        """A real run, stopped; another machine unlocks and backs up; it wakes and is told."""
        self.backup(self.url, self.db)
        command = [str(ferry.BINARY), "backup", "--repo", self.url, "--node", "kdb-1", "--db", str(self.db), "--mode", "full", "--limit-upload", "100K"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ferry.environment())
        try:
            deadline = time.monotonic() + 20
            # Behind its claim: before that it would just take a new id.
            while len(list(self.folder.glob("runs/*"))) < 2 and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGSTOP)
            if process.poll() is not None or len(list(self.folder.glob("snapshots/*"))) > 1:
                self.skipTest("the run was too fast to be stopped")
            self.assertIn("it can never commit", self.ferry(*self.words, "--force").out)
            self.backup(self.url, self.db)
        finally:
            process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=120)
        self.assertNotEqual(process.returncode, 0, out + err)
        self.assertEqual(len(self.snapshots(self.url)), 2)

    def test_unreadable(self):
        self.backup(self.url, self.db)
        (self.folder / "leases/0000000002").write_text("{")
        self.refused(11, "cannot be understood", *self.words, hint="it runs out by itself")
        self.refused(11, "cannot be understood", *self.words, "--force")
        os.utime(self.folder / "leases/0000000002", (1e9, 1e9))
        self.assertIn("unknown", self.ferry(*self.words).out)

    def test_refused(self):
        self.refused(2, "no node given", "unlock", "--repo", self.url)
        self.refused(2, "the node's name 'A'", "unlock", "--repo", self.url, "--node", "A")
        self.refused(10, "this is no repository", "unlock", "--repo", f"file://{self.dir}", "--node", "kdb-1")
        self.refused(2, "is one word too many", *self.words, "0000000001")


ferry.main(__name__)
