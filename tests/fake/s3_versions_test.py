#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the fake S3 server: versions and Object Lock."""

import base64
import hashlib
import os
import re
import sys
import time
import unittest
from urllib.parse import quote

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from s3_server_test import BUCKET, FakeCase


def md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


class VersionCase(FakeCase):
    def at(self, method, key="k", **query):
        text = "&".join("%s=%s" % (n.replace("_", "-") if n != "versionId" else n, quote(v, safe="")) for n, v in query.items())
        return self.client.call(method, "/%s/%s" % (BUCKET, key), text)

    def rows(self):
        """(key, "version" or "marker") with their ids, as the side door sees them."""
        return [tuple(row) for row in self.client.control("GET", "versions")[BUCKET]]

    def kinds(self):
        return [(key, kind) for key, _, kind in self.rows()]

    def versions(self, **query):
        text = "&".join("%s=%s" % (n.replace("_", "-"), quote(str(v), safe="")) for n, v in query.items())
        return self.client.call("GET", "/" + BUCKET, "versions=" + ("&" + text if text else ""))

    def delete_batch(self, *rows):
        objects = "".join("<Object><Key>%s</Key>%s</Object>" % (k, "<VersionId>%s</VersionId>" % v if v else "") for k, v in rows)
        body = ("<Delete><Quiet>true</Quiet>%s</Delete>" % objects).encode()
        return self.client.call("POST", "/" + BUCKET, "delete=", {"content-md5": md5(body)}, body)


class Unversioned(VersionCase):
    def test_one_null_version(self):
        self.put()
        self.assertNotIn(b"Status", self.client.call("GET", "/" + BUCKET, "versioning=").body)
        self.assertIn(b"<VersionId>null</VersionId>", self.versions().body)
        self.expect(self.at("DELETE", versionId="other"), 204)
        self.expect(self.get(), 200)
        self.expect(self.at("DELETE", versionId="null"), 204)
        self.expect(self.get(), 404, "NoSuchKey")

    def test_lock_headers_are_refused(self):
        self.expect(self.put(content_md5=md5(b"body"), x_amz_object_lock_legal_hold="ON"), 400, "InvalidRequest")


class Versioned(VersionCase):
    options = {"buckets": [], "versioned": [BUCKET]}

    def test_status(self):
        self.assertIn(b"<Status>Enabled</Status>", self.client.call("GET", "/" + BUCKET, "versioning=").body)

    def test_nothing_is_lost_before_its_version_goes(self):
        self.put(body=b"1")
        self.put(body=b"2")
        self.expect(self.client.call("DELETE", "/bkt/k"), 204)
        self.expect(self.get(), 404, "NoSuchKey")
        self.assertEqual(self.kinds(), [("k", "marker"), ("k", "version"), ("k", "version")])
        (_, marker, _), (_, second, _), (_, first, _) = self.rows()
        self.assertEqual(self.at("GET", versionId=first).body, b"1")
        self.expect(self.at("HEAD", versionId=marker), 405)
        self.expect(self.at("GET", versionId="none"), 404, "NoSuchVersion")
        self.expect(self.at("DELETE", versionId=marker), 204)
        self.assertEqual(self.get().body, b"2")
        self.expect(self.delete_batch(("k", second), ("k", "absent")), 200)
        self.assertEqual(self.get().body, b"1")
        self.expect(self.at("DELETE", versionId=first), 204)
        self.expect(self.get(), 404, "NoSuchKey")
        self.assertEqual(self.rows(), [])

    def test_conditions_look_at_the_newest(self):
        self.expect(self.put(if_none_match="*"), 200)
        self.expect(self.put(if_none_match="*"), 412, "PreconditionFailed")
        self.client.call("DELETE", "/bkt/k")
        self.expect(self.put(if_none_match="*"), 200)

    def test_multipart_makes_a_version(self):
        self.put("mp", b"old")
        upload = self.field(self.client.call("POST", "/bkt/mp", "uploads="), "UploadId")
        part = self.client.call("PUT", "/bkt/mp", "partNumber=1&uploadId=" + quote(upload, safe=""), body=b"new")
        body = ("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"
                % part.headers["etag"].replace('"', "&quot;")).encode()
        done = self.expect(self.client.call("POST", "/bkt/mp", "uploadId=" + quote(upload, safe=""), body=body), 200)
        self.assertEqual(done.headers["x-amz-version-id"], self.rows()[0][1])
        self.assertEqual(self.kinds(), [("mp", "version")] * 2)

    def test_pages(self):
        for key in ("a", "b", "c/1", "c/2", "d"):
            for body in (b"1", b"2", b"3"):
                self.put(key, body)
        for size in (1, 2, 3, 7, 1000):
            found, query = [], {"prefix": "", "max_keys": size, "encoding_type": "url"}
            while True:
                answer = self.versions(**query)
                text = answer.body.decode()
                found += re.findall(r"<Version><Key>([^<]*)</Key><VersionId>([^<]*)</VersionId>", text)
                if self.field(answer, "IsTruncated") == "false":
                    break
                query.update(key_marker=self.field(answer, "NextKeyMarker"), version_id_marker=self.field(answer, "NextVersionIdMarker"))
            self.assertEqual(found, [(k, v) for k, v, _ in self.rows()], size)
        self.assertEqual(len(re.findall("<Version>", self.versions(prefix="c/").body.decode())), 6)
        self.assertEqual(len(re.findall("<Version>", self.versions(key_marker="c/1").body.decode())), 6)   # behind all of c/1
        self.expect(self.versions(version_id_marker="x"), 400, "InvalidArgument")

    def test_suspended(self):
        self.put(body=b"1")
        body = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
        self.expect(self.client.call("PUT", "/bkt", "versioning=", {"content-md5": md5(body)}, body), 200)
        self.put(body=b"2")
        self.put(body=b"3")
        self.assertEqual([v == "null" for _, v, _ in self.rows()], [True, False])


class Locked(VersionCase):
    options = {"buckets": [], "object_lock": [BUCKET + ":GOVERNANCE:60"]}

    def put(self, key="k", body=b"body", **headers):
        return super().put(key, body, content_md5=md5(body), **headers)

    def test_the_default_retention_keeps_a_version(self):
        self.expect(self.put(), 200)
        version = self.rows()[0][1]
        self.expect(self.client.call("DELETE", "/bkt/k"), 204)                                # a marker is always possible
        self.expect(self.at("DELETE", versionId=version), 403, "AccessDenied")
        failed = self.delete_batch(("k", version), ("k", self.rows()[0][1]))
        self.assertEqual(re.findall(r"<VersionId>([^<]*)</VersionId><Code>([^<]*)<", failed.body.decode()), [(version, "AccessDenied")])
        self.assertEqual(self.kinds(), [("k", "version")])
        self.client.control("POST", "clock", {"skew_s": 61})
        self.expect(self.at("DELETE", versionId=version), 204)
        self.assertEqual(self.rows(), [])

    def test_it_can_be_asked_for(self):
        self.put()
        version = self.rows()[0][1]
        answer = self.expect(self.at("GET", retention="", versionId=version), 200)
        self.assertEqual(self.field(answer, "Mode"), "GOVERNANCE")
        self.assertEqual(self.get().headers["x-amz-object-lock-mode"], "GOVERNANCE")
        self.assertEqual(self.get().headers["x-amz-object-lock-retain-until-date"], self.field(answer, "RetainUntilDate"))
        self.expect(self.at("GET", legal_hold="", versionId=version), 404, "NoSuchObjectLockConfiguration")

    def test_a_put_wants_a_digest(self):
        self.expect(FakeCase.put(self), 400, "InvalidRequest")
        self.assertEqual(self.rows(), [])

    def test_a_legal_hold_has_no_end(self):
        self.expect(self.put(x_amz_object_lock_legal_hold="ON"), 200)
        version = self.rows()[0][1]
        self.client.control("POST", "clock", {"skew_s": 800})
        self.expect(self.at("DELETE", versionId=version), 403, "AccessDenied")
        self.assertEqual(self.field(self.at("GET", legal_hold="", versionId=version), "Status"), "ON")

    def test_governance_can_be_passed_by(self):
        self.put()
        path = "versionId=" + quote(self.rows()[0][1], safe="")
        self.expect(self.client.call("DELETE", "/bkt/k", path, {"x-amz-bypass-governance-retention": "true"}), 204)
        self.assertEqual(self.rows(), [])

    def test_compliance_cannot(self):
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300))
        self.expect(self.put(x_amz_object_lock_mode="COMPLIANCE", x_amz_object_lock_retain_until_date=until), 200)
        path = "versionId=" + quote(self.rows()[0][1], safe="")
        self.expect(self.client.call("DELETE", "/bkt/k", path, {"x-amz-bypass-governance-retention": "true"}), 403, "AccessDenied")
        self.assertEqual(self.field(self.at("GET", retention=""), "RetainUntilDate")[:19], until[:19])

    def test_versioning_stays_on(self):
        body = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
        self.expect(self.client.call("PUT", "/bkt", "versioning=", {"content-md5": md5(body)}, body), 409, "InvalidBucketState")

    def test_configuration(self):
        body = (b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>"
                b"<Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")
        self.expect(self.client.call("PUT", "/bkt", "object-lock=", {"content-md5": md5(body)}, body), 200)
        self.put()
        self.assertEqual(self.field(self.at("GET", retention=""), "Mode"), "COMPLIANCE")


if __name__ == "__main__":
    unittest.main()
