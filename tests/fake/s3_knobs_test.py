#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the fake S3 server: what it does less than S3 when told so, several clients, delays, its clock."""

import base64
import calendar
import hashlib
import os
import re
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from s3.client import Client
from s3.faults import BadScript, Script
from s3_server_test import BUCKET, FakeCase


def delete_body(*keys, quiet=True):
    objects = "".join("<Object><Key>%s</Key></Object>" % key for key in keys)
    return ("<Delete><Quiet>%s</Quiet>%s</Delete>" % ("true" if quiet else "false", objects)).encode()


class KnobCase(FakeCase):
    def delete(self, body):
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        return self.client.call("POST", "/" + BUCKET, "delete=", {"content-md5": md5}, body)

    def failures(self, answer):
        return re.findall(r"<Error><Key>([^<]*)</Key><Code>([^<]*)</Code>", answer.body.decode())


class Unconditional(KnobCase):
    options = {"no_conditional": True}

    def test_writes_overwrite(self):
        self.expect(self.put(body=b"1"), 200)
        self.expect(self.put(body=b"2", if_none_match="*"), 200)
        self.expect(self.put(body=b"3", if_match='"other"'), 200)
        self.assertEqual(self.get().body, b"3")

    def test_reads_keep_their_conditions(self):
        self.expect(self.put(), 200)
        self.expect(self.get(if_match='"other"'), 412, "PreconditionFailed")


class Lesser(KnobCase):
    options = {"no_list_uploads": True, "delete_body_max": 200}

    def test_uploads_are_not_listed(self):
        self.expect(self.client.call("GET", "/" + BUCKET, "uploads="), 501, "NotImplemented")

    def test_large_batches_are_refused_whole(self):
        self.put("a")
        self.expect(self.delete(delete_body("a", *("k%d" % n for n in range(20)))), 413, "EntityTooLarge")
        self.expect(self.get("a"), 200)
        self.expect(self.delete(delete_body("a")), 200)
        self.expect(self.get("a"), 404, "NoSuchKey")

    def test_keys_of_a_batch_fail(self):
        for key in ("a1", "a2", "b1"):
            self.put(key)
        self.fault("DeleteObjects", {"delete_errors": {"key": "^a", "code": "InternalError"}}, count=1)
        answer = self.expect(self.delete(delete_body("a1", "a2", "b1")), 200, "InternalError")
        self.assertEqual(self.failures(answer), [("a1", "InternalError"), ("a2", "InternalError")])
        self.assertEqual(self.keys(self.list()), ["a1", "a2"])
        self.expect(self.delete(delete_body("a1", "a2")), 200)
        self.assertEqual(self.keys(self.list()), [])


class Clients(KnobCase):
    options = {"clients": {"SECOND": "secret-of-second"}}

    def second(self, secret="secret-of-second"):
        return Client(self.server.url, "SECOND", secret)

    def test_each_by_its_own_secret(self):
        self.expect(self.second().put(BUCKET, "k", b"2"), 200)
        self.expect(self.second("wrong").put(BUCKET, "k", b"2"), 403, "SignatureDoesNotMatch")
        self.expect(Client(self.server.url, "THIRD", "x").put(BUCKET, "k", b"2"), 403, "InvalidAccessKeyId")

    def test_rules_and_records_tell_them_apart(self):
        self.rules({"match": {"client": "SECOND", "nth": 2}, "action": {"slowdown": True}})
        second = self.second()
        statuses = [c.put(BUCKET, "k", b"x").status for c in (second, self.client, self.client, second, second)]
        self.assertEqual(statuses, [200, 200, 200, 503, 200])
        self.assertEqual([r["client"] == "SECOND" for r in self.server.journal.all_records()], [True, False, False, True, True])

    def test_one_client_is_held_and_the_other_goes_on(self):
        self.rules({"match": {"client": "SECOND", "nth": 1}, "action": {"close": "after_apply"}})
        with self.assertRaises(ConnectionError):
            self.second().put(BUCKET, "held", b"x")
        self.expect(self.client.get(BUCKET, "held"), 200)


class Delays(KnobCase):
    def test_waits_before_and_after(self):
        self.fault("PutObject", {"delay_ms": [100, 100]})
        began = time.monotonic()
        self.expect(self.put(), 200)
        self.assertGreater(time.monotonic() - began, 0.19)

    def test_the_seed_makes_it_repeatable(self):
        drawn = [[Script(seed=seed).uniform(0, 50) for _ in range(2)][1] for seed in (1, 1, 2)]
        self.assertEqual(drawn[0], drawn[1])
        self.assertNotEqual(drawn[0], drawn[2])

    def test_a_wrong_delay_is_refused(self):
        with self.assertRaises(BadScript):
            Script([{"action": {"delay_ms": 5}}])


class Clock(KnobCase):
    def test_dates_and_times_of_objects_follow_it(self):
        self.client.control("POST", "clock", {"skew_s": -600})
        expected = time.time() - 600
        answer = self.expect(self.put(), 200)
        stamp = lambda text: calendar.timegm(time.strptime(text, "%a, %d %b %Y %H:%M:%S GMT"))
        self.assertAlmostEqual(stamp(answer.headers["date"]), expected, delta=5)
        self.assertAlmostEqual(stamp(self.get().headers["last-modified"]), expected, delta=5)
        listed = self.field(self.list(), "LastModified")
        self.assertAlmostEqual(calendar.timegm(time.strptime(listed[:19], "%Y-%m-%dT%H:%M:%S")), expected, delta=5)


if __name__ == "__main__":
    unittest.main()
