#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What init finds out about conditional create: one after the other, and at once (Ceph RGW in a versioned bucket)."""
import json
import sys

sys.path.insert(0, "tests/cli")
import ferry
from s3.client import Client

NOT_ASKED = [{"match": {"op": "GetBucketVersioning"}, "action": {"status": 403, "code": "AccessDenied"}}]


class Probe(ferry.Case):
    def found(self, **options):
        with ferry.fake_s3(**options) as (server, env):
            result = self.ferry("init", "--repo", "s3://backups", env=env)
            client = Client.of(server)
            descriptor = json.loads(client.get("backups", "chunkferry.json").body)
            left = [row for row in client.control("GET", "versions")["backups"] if row[0].startswith("probe-")]
            self.assertEqual("overwrites" in result.err, descriptor["create"] == "unconditional")
            return descriptor["create"], len([row for row in left if row[2] == "version"])

    def test_what_is_found(self):
        self.assertEqual(self.found()[0], "conditional")
        self.assertEqual(self.found(no_conditional=True)[0], "unconditional")
        self.assertEqual(self.found(versioned=["backups"])[0], "conditional")
        self.assertEqual(self.found(racy_versions=True)[0], "conditional")     # without versions nothing is wrong
        self.assertEqual(self.found(versioned=["backups"], racy_versions=True)[0], "unconditional")
        self.assertEqual(self.found(versioned=["backups"], racy_versions=True, rules=NOT_ASKED)[0], "unconditional")

    def test_the_race_leaves_no_versions(self):
        """But one of the question before it, which is deleted as any object is."""
        self.assertEqual(self.found(versioned=["backups"])[1], 1)


ferry.main(__name__)
