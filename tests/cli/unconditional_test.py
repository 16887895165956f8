# SPDX-License-Identifier: Apache-2.0
"""A store that ignores If-None-Match: init warns, everything works by the weaker rules."""
import json
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

URL = "s3://backups/prod"


def door(server):
    from s3.client import Client
    return Client.of(server)


class Unconditional(ferry.Case):
    def test_round_trip(self):
        db = self.make_node("--chunks", 4, "--chunk-size", 262144, "--seed", 9)
        with ferry.fake_s3(no_conditional=True) as (server, env):
            done = self.ferry("init", "--repo", URL, "--json", env=env)
            self.assertIn("overwrites an object", done.out + done.err)
            self.assertIn("a server with conditional writes", done.out + done.err)
            first = self.backup(URL, db, env=env).summary
            subprocess.run([*ferry.NODE, "append", "--db", str(db), "--bytes", "300000"], check=True, capture_output=True)
            second = self.backup(URL, db, env=env).summary
            self.assertEqual(second["parent"], first["snapshot"])
            self.assertGreater(second["files_reused"], 0)
            leases = sorted(k.split("/leases/")[1] for k in door(server).control("GET", "keys")["backups"] if "/leases/" in k)
            self.assertEqual(leases, [f"0000000001-{first['snapshot']}", f"0000000002-{second['snapshot']}"])
            for run in (first["snapshot"], second["snapshot"]):
                self.restore(URL, self.dir / run, env=env, snapshot=run)
            self.check_start(self.dir / second["snapshot"])
            self.ferry("verify", "--repo", URL, "--node", "kdb-1", "all", "--read-data", env=env)

    def test_resume(self):
        """A run that is killed is taken over there too."""
        db = self.make_node("--chunks", 40, "--chunk-size", 4194304, "--seed", 9)
        with ferry.fake_s3(no_conditional=True, root=str(self.dir / "objects")) as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            words = [str(ferry.BINARY), "backup", "--repo", URL, "--node", "kdb-1", "--db", str(db), "--memory", "64M"]
            process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while process.poll() is None and sum("-journal" in k for k in door(server).control("GET", "keys")["backups"]) < 6:
                time.sleep(0.01)
            process.kill()
            process.communicate()
            done = self.backup(URL, db, env=env)
            self.assertIn("ended without a snapshot: going on from its", done.out)
            self.assertGreater(done.summary["files_reused"], 10)
            self.restore(URL, self.dir / "restored", env=env)
            self.check_start(self.dir / "restored")

    def test_an_old_program_keeps_away(self):
        """The descriptor requires what a program that does not know the rules refuses."""
        with ferry.fake_s3(no_conditional=True) as (server, env):
            self.ferry("init", "--repo", URL, env=env)
            from s3.client import Client
            descriptor = json.loads(Client.of(server).get("backups", "prod/chunkferry.json").body)
            self.assertEqual((descriptor["requires"], descriptor["create"]), (["unconditional-create"], "unconditional"))


ferry.main(__name__)
