#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the fake S3 server itself: a fake that is not strict proves nothing."""

import base64
import gzip
import hashlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import quote

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from s3 import faults, ops, xmlout
from s3.client import Client, read_answer
from s3.server import FakeServer

BUCKET = "bkt"
MIB = 1024 * 1024
HOSTILE = ["plain", "a b", "a+b", "a%b", "a%2Fb", "a//b", "/lead", "a/../b", "./a", "q?x=1&y", "h#x", "é中😀", "tab\tx", "del\x7f",
           "<&>\"'", "=@:$,;!()*[]{}|\\^`~", "trail/", "k" * 1024]


class FakeCase(unittest.TestCase):
    """Each test has a server of its own with one bucket."""

    options = {}

    def setUp(self):
        self.server = FakeServer(**{"buckets": [BUCKET], "part_min": 1024, **self.options}).start()
        self.addCleanup(self.server.stop)
        self.addCleanup(lambda: self.assertEqual(self.server.journal.counts["fake_bugs"], 0))
        self.client = Client.of(self.server)

    def rules(self, *rules):
        self.client.control("POST", "script", list(rules))

    def fault(self, op, action, **match):
        self.rules({"match": {"op": op, **match}, "action": action})

    def code(self, answer):
        found = re.search(rb"<Code>([^<]*)</Code>", answer.body)
        return found.group(1).decode() if found else ""

    def expect(self, answer, status, code=""):
        self.assertEqual((answer.status, self.code(answer)), (status, code), answer.body[:500])
        return answer

    def put(self, key="k", body=b"body", **headers):
        return self.client.put(BUCKET, key, body, **headers)

    def get(self, key="k", **headers):
        return self.client.get(BUCKET, key, **headers)

    def list(self, query="", **options):
        return self.client.call("GET", "/" + BUCKET, "list-type=2" + ("&" + query if query else ""), **options)

    def keys(self, answer):
        return re.findall(r"<Contents><Key>([^<]*)</Key>", answer.body.decode())

    def field(self, answer, name):
        found = re.search("<%s>([^<]*)</%s>" % (name, name), answer.body.decode())
        return found.group(1).replace("&quot;", '"') if found else None


class Signature(FakeCase):
    def refused(self, status, code, **call):
        given = {"method": "PUT", "path": "/bkt/k", "body": b"x", **call}
        return self.expect(self.client.call(**given), status, code)

    def test_good_request_passes(self):
        self.expect(self.put(), 200)

    def test_unsigned_request(self):
        self.expect(self.client.raw(b"GET /bkt/k HTTP/1.1\r\nHost: x\r\n\r\n"), 403, "AccessDenied")

    def test_wrong_secret(self):
        self.client.credentials.secret_key = "wrong"
        answer = self.refused(403, "SignatureDoesNotMatch")
        for name in (b"StringToSign", b"CanonicalRequest", b"SignatureProvided", b"AWSAccessKeyId", b"StringToSignBytes"):
            self.assertIn(b"<%s>" % name, answer.body)

    def test_unknown_access_key(self):
        self.client.credentials.access_key = "NOBODY"
        self.refused(403, "InvalidAccessKeyId")

    def test_wrong_region_names_the_right_one(self):
        self.client.region = "eu-west-9"
        answer = self.refused(400, "AuthorizationHeaderMalformed")
        self.assertEqual(self.field(answer, "Region"), "us-east-1")

    def test_skewed_clock(self):
        self.refused(403, "RequestTimeTooSkewed", amz_date=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 1000)))
        self.client.control("POST", "clock", {"skew_s": 1200})
        answer = self.refused(403, "RequestTimeTooSkewed")
        self.assertIn("Date", {n.title() for n in answer.headers})
        self.assertEqual(self.field(answer, "MaxAllowedSkewMilliseconds"), "900000")
        self.client.control("POST", "clock", {"skew_s": 600})
        self.expect(self.put(), 200)

    def test_unsigned_headers(self):
        for name in ("x-amz-meta-a", "Content-Type", "Content-MD5", "x-amz-storage-class"):
            with self.subTest(name):
                self.refused(403, "AccessDenied", unsigned={name: "x"})

    def test_payload_hash(self):
        self.refused(400, "InvalidRequest", headers={"x-amz-content-sha256": None})
        self.refused(400, "InvalidArgument", headers={"x-amz-content-sha256": "UNSIGNED"})
        self.refused(400, "XAmzContentSHA256Mismatch", headers={"x-amz-content-sha256": "0" * 64})
        self.refused(501, "NotImplemented", headers={"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"})
        self.expect(self.put(x_amz_content_sha256="UNSIGNED-PAYLOAD"), 200)

    def test_a_changed_wire_path_or_query_is_found(self):
        lines = dict(self.client.signed_headers("GET", "/bkt/a", "", {}, b""))
        head = "".join("%s: %s\r\n" % pair for pair in lines.items())
        for target in ("/bkt/b", "/bkt/a?prefix=", "/bkt//a", "/bkt/a/", "/bkt/./a"):
            with self.subTest(target):
                self.expect(self.client.raw(("GET %s HTTP/1.1\r\n%s\r\n" % (target, head)).encode()), 403, "SignatureDoesNotMatch")

    def test_malformed_authorization(self):
        for value in ("AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0"):
            with self.subTest(value):
                data = "GET /bkt/k HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % value
                self.expect(self.client.raw(data.encode()), 400, "AuthorizationHeaderMalformed")

    def test_presigned(self):
        self.put(body=b"presigned")
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.expect(self.client.raw(self.presigned(date, 60)), 200)
        self.expect(self.client.raw(self.presigned(date, 60).replace(b"/bkt/k", b"/bkt/j")), 403, "SignatureDoesNotMatch")
        self.expect(self.client.raw(self.presigned(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 100)), 60)), 403, "AccessDenied")

    def presigned(self, date, expires):
        from s3 import sigv4
        scope = "%s/us-east-1/s3/aws4_request" % date[:8]
        query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s&X-Amz-Date=%s&X-Amz-Expires=%d&X-Amz-SignedHeaders=host" % (
            quote(self.server.options.access_key + "/" + scope, safe=""), date, expires)
        text = sigv4.canonical_request("GET", "/bkt/k", query, [("host", "x")], ["host"], "UNSIGNED-PAYLOAD")
        key = sigv4.signing_key(self.server.options.secret_key, date[:8], "us-east-1", "s3")
        signature = sigv4.sign(key, sigv4.string_to_sign(date, scope, text))
        return ("GET /bkt/k?%s&X-Amz-Signature=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (query, signature)).encode()


class SessionToken(FakeCase):
    options = {"session_token": "token/+=="}

    def test_token(self):
        self.expect(self.put(), 200)
        self.client.credentials.session_token = "other"
        self.expect(self.put(), 400, "InvalidToken")
        self.client.credentials.session_token = ""
        self.expect(self.put(), 403, "InvalidAccessKeyId")


class Http(FakeCase):
    def test_length_is_required(self):
        self.expect(self.client.call("PUT", "/bkt/k", headers={"content-length": None}), 411, "MissingContentLength")

    def test_chunked_is_refused(self):
        answer = self.client.call("PUT", "/bkt/k", headers={"content-length": None}, unsigned={"Transfer-Encoding": "chunked"})
        self.expect(answer, 501, "NotImplemented")

    def test_not_http(self):
        for data in (b"GET /bkt/a b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /bkt/k HTTP/1.1\r\n\r\n", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"hello\r\n\r\n"):
            with self.subTest(data):
                self.assertEqual(self.client.raw(data).status, 400)

    def test_wrong_content_md5(self):
        good = base64.b64encode(hashlib.md5(b"body").digest()).decode()
        self.expect(self.put(content_md5=good), 200)
        self.expect(self.put(content_md5=base64.b64encode(b"0" * 16).decode()), 400, "BadDigest")
        self.expect(self.put(content_md5="short"), 400, "InvalidDigest")

    def test_checksum_headers(self):
        sums = {"crc32": "rTmmjA==", "crc32c": None, "sha256": base64.b64encode(hashlib.sha256(b"body").digest()).decode()}
        self.expect(self.put(x_amz_checksum_sha256=sums["sha256"]), 200)
        self.expect(self.put(x_amz_checksum_sha256="AAAA"), 400, "BadDigest")
        self.expect(self.put(body=b"123456789", x_amz_checksum_crc32c="4waSgw=="), 200)
        self.expect(self.put(body=b"123456789", x_amz_checksum_crc32="y/Q5Jg=="), 200)
        self.assertEqual(self.get(x_amz_checksum_mode="ENABLED").headers["x-amz-checksum-crc32"], "y/Q5Jg==")

    def test_headers_per_operation(self):
        self.expect(self.put(x_amz_storage_class="STANDARD_IA"), 200)
        answer = self.client.call("PUT", "/bkt/k", "partNumber=1&uploadId=x", headers={"x-amz-storage-class": "STANDARD_IA"})
        self.expect(answer, 400, "InvalidArgument")
        self.expect(self.get(x_amz_meta_a="x"), 400, "InvalidArgument")
        self.expect(self.put(if_none_match='"etag"'), 501, "NotImplemented")
        self.expect(self.get(if_range='"etag"'), 501, "NotImplemented")

    def test_unknown_parameters(self):
        self.expect(self.list("nonsense=1"), 501, "NotImplemented")
        self.expect(self.list("prefix=a&prefix=b"), 400, "InvalidArgument")
        self.expect(self.client.call("GET", "/bkt"), 501, "NotImplemented")

    def test_limits(self):
        self.expect(self.put("k" * 1025), 400, "KeyTooLongError")
        self.expect(self.put(x_amz_meta_a="m" * 2100), 400, "MetadataTooLarge")

    def test_connection_is_kept(self):
        self.put()
        lines = "".join("%s: %s\r\n" % p for p in self.client.signed_headers("GET", "/bkt/k", "", {}, b""))
        request = ("GET /bkt/k HTTP/1.1\r\n%s\r\n" % lines).encode()
        with socket.create_connection(self.client.address, timeout=5) as sock:
            stream = sock.makefile("rb")
            for _ in range(3):
                sock.sendall(request)
                self.assertEqual(read_answer(stream, "GET").body, b"body")
        log = [r["connection"] for r in self.client.control("GET", "log") if r["op"] == "GetObject"]
        self.assertEqual((len(log), len(set(log))), (3, 1))


class Objects(FakeCase):
    def test_hostile_keys_round_trip(self):
        for key in HOSTILE:
            with self.subTest(key):
                self.expect(self.put(key, key.encode()), 200)
                self.assertEqual(self.get(key).body, key.encode())
        answer = self.list("encoding-type=url")
        self.assertEqual(self.keys(answer), [quote(k, safe="/~") for k in sorted(HOSTILE, key=str.encode)])

    def test_metadata_comes_back(self):
        self.put(x_amz_meta_id="42", content_type="text/x", x_amz_storage_class="STANDARD_IA", x_amz_tagging="a=b&c=d")
        answer = self.client.call("HEAD", "/bkt/k")
        self.assertEqual((answer.headers["x-amz-meta-id"], answer.headers["content-type"], answer.headers["x-amz-storage-class"],
                          answer.headers["x-amz-tagging-count"], answer.headers["content-length"]), ("42", "text/x", "STANDARD_IA", "2", "4"))
        self.assertEqual(answer.headers["etag"], '"%s"' % hashlib.md5(b"body").hexdigest())

    def test_head_errors_have_no_body(self):
        answer = self.client.call("HEAD", "/bkt/none")
        self.assertEqual((answer.status, answer.body), (404, b""))

    def test_ranges(self):
        self.put(body=b"0123456789")
        for text, status, body, where in (("bytes=2-4", 206, b"234", "bytes 2-4/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
                                          ("bytes=-3", 206, b"789", "bytes 7-9/10"), ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
                                          ("bytes=5-4", 200, b"0123456789", None), ("lines=1-2", 200, b"0123456789", None)):
            with self.subTest(text):
                answer = self.get(range=text)
                self.assertEqual((answer.status, answer.body, answer.headers.get("content-range")), (status, body, where))
        self.assertEqual(self.expect(self.get(range="bytes=10-"), 416, "InvalidRange").headers["content-range"], "bytes */10")

    def test_conditions(self):
        self.expect(self.put(if_none_match="*"), 200)
        self.expect(self.put(if_none_match="*"), 412, "PreconditionFailed")
        etag = self.put(body=b"2").headers["etag"]
        self.expect(self.put(body=b"3", if_match='"0"'), 412, "PreconditionFailed")
        self.expect(self.put(body=b"3", if_match=etag), 200)
        self.expect(self.put("new", if_match=etag), 404, "NoSuchKey")
        self.expect(self.get(if_match=etag), 412, "PreconditionFailed")
        self.assertEqual(self.get(if_none_match=self.get().headers["etag"]).status, 304)
        self.expect(self.client.call("DELETE", "/bkt/k", headers={"if-match": etag}), 412, "PreconditionFailed")

    def test_racing_conditional_puts_have_one_winner(self):
        results = []
        threads = [threading.Thread(target=lambda n=n: results.append((self.put("race", b"%d" % n, if_none_match="*").status, n))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [n for status, n in results if status == 200]
        self.assertEqual((len(results), len(winners)), (8, 1))
        self.assertEqual(self.get("race").body, b"%d" % winners[0])

    def test_buckets(self):
        self.expect(self.client.call("PUT", "/other"), 200)
        self.expect(self.client.call("PUT", "/other"), 409, "BucketAlreadyOwnedByYou")
        self.assertEqual(self.client.call("HEAD", "/other").headers["x-amz-bucket-region"], "us-east-1")
        self.client.put("other", "k", b"")
        self.expect(self.client.call("DELETE", "/other"), 409, "BucketNotEmpty")
        self.assertEqual(self.client.call("DELETE", "/other/k").status, 204)
        self.assertEqual(self.client.call("DELETE", "/other").status, 204)
        self.expect(self.client.call("GET", "/other/k"), 404, "NoSuchBucket")
        self.assertEqual(self.client.call("HEAD", "/other").status, 404)
        self.expect(self.client.call("PUT", "/Bad_Name"), 400, "InvalidBucketName")

    def delete_many(self, keys, md5=True, quiet=False):
        rows = "".join("<Object><Key>%s</Key></Object>" % xmlout.escape(k) for k in keys)
        body = ("<Delete>%s%s</Delete>" % (rows, "<Quiet>true</Quiet>" if quiet else "")).encode()
        headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()} if md5 else {}
        return self.client.call("POST", "/bkt", "delete=", headers=headers, body=body)

    def test_delete_objects(self):
        for key in ("a", "b&c", "d"):
            self.put(key)
        self.expect(self.delete_many(["a"], md5=False), 400, "InvalidRequest")
        self.assertEqual(self.delete_many(["a", "b&c", "none"]).body.count(b"<Deleted>"), 3)
        self.assertEqual(self.delete_many(["d"], quiet=True).body.count(b"<Deleted>"), 0)
        self.assertEqual(self.keys(self.list()), [])
        self.expect(self.delete_many(["x"] * 1001), 400, "MalformedXML")
        self.expect(self.delete_many([]), 400, "MalformedXML")

    def test_object_lock_headers_need_a_digest(self):
        self.server.store.set_lock(BUCKET)
        lock = {"x_amz_object_lock_mode": "GOVERNANCE", "x_amz_object_lock_retain_until_date": "2099-01-01T00:00:00Z"}
        self.expect(self.put(**lock), 400, "InvalidRequest")
        self.expect(self.put(content_md5=base64.b64encode(hashlib.md5(b"body").digest()).decode(), **lock), 200)


class Listing(FakeCase):
    options = {"page_size": 3}

    def walk(self, query):
        keys, groups, token, pages = [], [], None, 0
        while True:
            answer = self.expect(self.list(query + ("&continuation-token=" + quote(token, safe="") if token else "")), 200)
            keys += self.keys(answer)
            groups += re.findall(r"<CommonPrefixes><Prefix>([^<]*)<", answer.body.decode())
            pages += 1
            token = self.field(answer, "NextContinuationToken")
            self.assertEqual(self.field(answer, "IsTruncated"), "true" if token else "false")
            if not token:
                return keys, groups, pages

    def test_pages_prefix_delimiter_and_start(self):
        names = ["a/%02d" % n for n in range(7)] + ["b/1/x", "b/1/y", "b/2", "c"]
        for name in names:
            self.put(name)
        self.assertEqual(self.walk(""), (names, [], 4))
        self.assertEqual(self.walk("prefix=a%2F"), (names[:7], [], 3))
        self.assertEqual(self.walk("delimiter=%2F"), (["c"], ["a/", "b/"], 1))
        self.assertEqual(self.walk("prefix=b%2F&delimiter=%2F&max-keys=1"), (["b/2"], ["b/1/"], 2))
        self.assertEqual(self.walk("start-after=b%2F1%2Fx"), (["b/1/y", "b/2", "c"], [], 1))
        self.assertEqual(self.walk("max-keys=0"), ([], [], 1))

    def test_tokens_need_escaping_and_are_checked(self):
        for name in "abcdef":
            self.put(name)
        token = self.field(self.list(), "NextContinuationToken")
        self.assertTrue(set("+/=") <= set(token))
        self.expect(self.list("continuation-token=" + token), 400, "InvalidArgument")       # "+" unescaped is a space
        self.expect(self.list("continuation-token=nonsense"), 400, "InvalidArgument")

    def test_uploads_and_parts_in_pages(self):
        ids = []
        for n in range(4):
            ids.append(self.field(self.client.call("POST", "/bkt/u%d" % n, "uploads="), "UploadId"))
        first = self.client.call("GET", "/bkt", "uploads=")
        marker = "key-marker=%s&upload-id-marker=%s" % (self.field(first, "NextKeyMarker"), quote(self.field(first, "NextUploadIdMarker"), safe=""))
        second = self.client.call("GET", "/bkt", marker + "&uploads=")
        self.assertEqual([first.body.count(b"<Upload>"), second.body.count(b"<Upload>")], [3, 1])
        for n in range(1, 6):
            self.client.call("PUT", "/bkt/u0", "partNumber=%d&uploadId=%s" % (n, quote(ids[0], safe="")), body=b"x")
        parts = self.client.call("GET", "/bkt/u0", "uploadId=" + quote(ids[0], safe=""))
        rest = self.client.call("GET", "/bkt/u0", "part-number-marker=%s&uploadId=%s" % (self.field(parts, "NextPartNumberMarker"), quote(ids[0], safe="")))
        self.assertEqual(re.findall(rb"<PartNumber>(\d)<", parts.body + rest.body), [b"1", b"2", b"3", b"4", b"5"])


class Multipart(FakeCase):
    def begin(self, key="m", **headers):
        self.id = quote(self.field(self.client.call("POST", "/bkt/" + key, "uploads=", headers=headers), "UploadId"), safe="")

    def part(self, number, body, key="m"):
        return self.client.call("PUT", "/bkt/" + key, "partNumber=%d&uploadId=%s" % (number, self.id), body=body).headers.get("etag")

    def complete(self, parts, key="m", **headers):
        rows = "".join("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % p for p in parts)
        body = ('<CompleteMultipartUpload xmlns="%s">%s</CompleteMultipartUpload>' % (xmlout.NAMESPACE, rows)).encode()
        return self.client.call("POST", "/bkt/" + key, "uploadId=" + self.id, headers={n.replace("_", "-"): v for n, v in headers.items()}, body=body)

    def test_parts_make_an_object(self):
        self.begin(**{"x-amz-meta-id": "7"})
        one, two = self.part(1, b"a" * 1024), self.part(2, b"tail")
        answer = self.expect(self.complete([(1, one), (2, two)]), 200)
        digest = hashlib.md5(bytes.fromhex(one.strip('"')) + bytes.fromhex(two.strip('"'))).hexdigest()
        self.assertEqual(self.field(answer, "ETag"), '"%s-2"' % digest)
        got = self.get("m")
        self.assertEqual((got.body, got.headers["x-amz-meta-id"]), (b"a" * 1024 + b"tail", "7"))
        self.assertEqual(self.get("m", range="bytes=1022-1025").body, b"aata")
        self.expect(self.complete([(1, one), (2, two)]), 404, "NoSuchUpload")

    def test_refusals(self):
        self.begin()
        one, two = self.part(1, b"a" * 1023), self.part(2, b"b" * 1024)
        self.expect(self.complete([(2, two), (1, one)]), 400, "InvalidPartOrder")
        self.expect(self.complete([(1, two), (2, two)]), 400, "InvalidPart")
        self.expect(self.complete([(1, one), (3, two)]), 400, "InvalidPart")
        self.expect(self.complete([(1, one), (2, two)]), 400, "EntityTooSmall")
        self.expect(self.complete([]), 400, "MalformedXML")
        self.expect(self.complete([(2, two)], x_amz_mp_object_size="1"), 400, "InvalidRequest")
        self.put("m")
        self.expect(self.complete([(2, two)], if_none_match="*"), 412, "PreconditionFailed")
        self.expect(self.client.call("PUT", "/bkt/m", "partNumber=10001&uploadId=" + self.id), 400, "InvalidArgument")
        self.expect(self.complete([(2, two)], x_amz_mp_object_size="1024"), 200)

    def test_abort(self):
        self.begin()
        self.part(1, b"x")
        self.assertEqual(self.client.call("DELETE", "/bkt/m", "uploadId=" + self.id).status, 204)
        self.expect(self.client.call("DELETE", "/bkt/m", "uploadId=" + self.id), 404, "NoSuchUpload")
        self.expect(self.client.call("GET", "/bkt/m", "uploadId=" + self.id), 404, "NoSuchUpload")
        self.assertIsNone(self.part(1, b"x"))

    def test_lost_answer_to_complete(self):
        self.begin()
        parts = [(1, self.part(1, b"x"))]
        self.fault("CompleteMultipartUpload", {"close": "after_apply"}, nth=1)
        with self.assertRaises(ConnectionError):
            self.complete(parts)
        self.assertEqual(self.get("m").body, b"x")
        self.expect(self.complete(parts), 404, "NoSuchUpload")

    def test_late_error_on_complete(self):
        self.begin()
        parts = [(1, self.part(1, b"x"))]
        self.fault("CompleteMultipartUpload", {"status": 200, "code": "InternalError", "keepalive": {"spaces": 4, "interval_ms": 5}}, nth=1)
        answer = self.expect(self.complete(parts), 200, "InternalError")
        self.assertIn(b"?>\n    <Error>", answer.body)
        self.expect(self.complete(parts), 200)

    def test_late_success_on_complete(self):
        self.begin()
        self.fault("Complete*", {"keepalive": {"spaces": 2, "interval_ms": 5}})
        self.expect(self.complete([(1, self.part(1, b"x"))]), 200)


class Faults(FakeCase):
    def test_storm_then_ok(self):
        self.fault("PutObject", {"slowdown": True}, times=3)
        self.assertEqual([self.put().status for _ in range(4)], [503, 503, 503, 200])

    def test_nth_count_list_and_key(self):
        self.fault("PutObject", {"status": 500, "code": "InternalError"}, nth=2, count=2, key="^k")
        self.assertEqual([self.put().status for _ in range(4)] + [self.put("other").status], [200, 500, 500, 200, 200])
        self.fault("PutObject", {"status": 500}, nth=[1, 3])
        self.assertEqual([self.put().status for _ in range(4)], [500, 200, 500, 200])

    def test_verbatim_answer(self):
        self.fault("GetObject", {"status": 418, "headers": {"X-Tea": "{bucket} {key} {port}"}, "body": "<a/>"})
        answer = self.get("p/q")
        self.assertEqual((answer.status, answer.headers["x-tea"], answer.body), (418, "bkt p/q %d" % self.server.port, b"<a/>"))

    def test_scripted_answer_after_applying(self):
        self.fault("PutObject", {"status": 500, "code": "InternalError", "apply": True}, nth=1)
        self.expect(self.put(), 500, "InternalError")
        self.assertEqual(self.get().body, b"body")

    def test_closes(self):
        for when, stored in (("before_body", False), ("before_apply", False), ("after_apply", True), ("mid_headers", True)):
            for reset in (False, True):
                with self.subTest(when=when, reset=reset):
                    self.client.control("DELETE", "object?key=k") if "k" in self.client.control("GET", "keys")[BUCKET] else None
                    self.fault("PutObject", {"close": when, "reset": reset})
                    with self.assertRaises(ConnectionError):
                        self.put()
                    self.assertEqual("k" in self.client.control("GET", "keys")[BUCKET], stored)

    def test_close_after_a_full_answer(self):
        self.fault("PutObject", {"close": "after_answer"})
        answer = self.put()
        self.assertNotIn("connection", answer.headers)
        self.expect(answer, 200)

    def test_upload_is_cut(self):
        self.fault("PutObject", {"read_bytes": 1000, "reset": True}, nth=1)
        with self.assertRaises(ConnectionError):
            self.put(body=b"x" * MIB)
        self.assertEqual(self.client.control("GET", "log")[-1]["bytes_in"], 1000)

    def test_download_is_cut(self):
        self.put(body=b"x" * 1000)
        self.fault("GetObject", {"cut_body": 100})
        answer = self.get()
        self.assertEqual((answer.headers["content-length"], len(answer.body), answer.cut), ("1000", 100, True))

    def test_stalls_and_slowness(self):
        self.put(body=b"x" * 1000)
        for action, least_s in (({"stall_ms": 150}, 0.15), ({"stall_body_ms": 150, "stall_at": 10}, 0.15), ({"rate": 5000}, 0.15), ({"slice": 1}, 0)):
            with self.subTest(action):
                self.fault("GetObject", action)
                began = time.monotonic()
                self.assertEqual(self.get().body, b"x" * 1000)
                self.assertGreaterEqual(time.monotonic() - began, least_s)

    def test_wrong_lengths(self):
        self.put(body=b"x" * 10)
        self.fault("GetObject", {"content_length": "+5"})
        self.client.timeout_s = 0.3
        with self.assertRaises(OSError):
            self.get()
        self.fault("GetObject", {"content_length": 3, "set_headers": {"Connection": "close"}})
        self.assertEqual(self.get().body, b"xxx")

    def test_wrong_and_missing_etag(self):
        self.fault("PutObject", {"etag": '"00"'})
        self.assertEqual(self.put().headers["etag"], '"00"')
        self.fault("PutObject", {"etag": None})
        self.assertNotIn("etag", self.put().headers)

    def test_flipped_bit_on_the_way_and_in_store(self):
        self.put(body=b"\0" * 8)
        self.fault("GetObject", {"flip_bit": 3}, nth=1)
        self.assertEqual(self.get().body, b"\0\0\0\1\0\0\0\0")
        self.assertEqual(self.get().body, b"\0" * 8)
        self.client.control("POST", "corrupt?bucket=bkt&key=k&offset=-1")
        self.assertEqual(self.get().body, b"\0" * 7 + b"\1")
        self.fault("PutObject", {"corrupt_stored": 0})
        self.put("c", b"\0\0")
        self.fault("PutObject", {"truncate_stored": 1})
        self.put("t", b"ab")
        self.assertEqual((self.get("c").body, self.get("t").body), (b"\1\0", b"a"))

    def test_redirect_and_region(self):
        self.fault("PutObject", {"status": 307, "code": "TemporaryRedirect", "headers": {"Location": "http://127.0.0.1:1{target}"}}, nth=1)
        self.assertEqual(self.expect(self.put(), 307, "TemporaryRedirect").headers["location"], "http://127.0.0.1:1/bkt/k")
        self.fault("*", {"region": "eu-central-9"})
        answer = self.expect(self.put(), 301, "PermanentRedirect")
        self.assertEqual((answer.headers["x-amz-bucket-region"], self.field(answer, "Region")), ("eu-central-9", "eu-central-9"))
        self.fault("HeadBucket", {"region": "eu-central-9", "status": 400})
        self.assertEqual(self.client.call("HEAD", "/bkt").headers["x-amz-bucket-region"], "eu-central-9")

    def test_skewed_date(self):
        self.fault("*", {"date_skew_s": -86400 * 365})
        self.assertNotIn(time.strftime("%Y", time.gmtime()), self.put().headers["date"])

    def test_ignored_conditions_and_range(self):
        self.put()
        self.fault("PutObject", {"ignore_conditions": True})
        self.expect(self.put(if_none_match="*"), 200)
        self.fault("GetObject", {"ignore_range": True})
        self.assertEqual(self.get(range="bytes=0-1").status, 200)

    def test_proxy_page_gzip_garbage_raw(self):
        self.put(body=b"plain")
        self.fault("*", {"status": 502, "html": True}, nth=1)
        answer = self.get()
        self.assertEqual((answer.status, answer.headers["content-type"]), (502, "text/html"))
        self.fault("*", {"gzip": True}, nth=1)
        self.assertEqual(gzip.decompress(self.get().body), b"plain")
        self.fault("*", {"status": 200, "garbage": 100}, nth=1)
        self.assertEqual(len(self.list().body), 100)
        self.fault("*", {"raw": "SMTP ready\r\n"}, nth=1)
        with self.assertRaises(ConnectionError):
            self.get()

    def test_no_continue_is_not_sent(self):
        self.client.timeout_s = 0.3
        lines = "".join("%s: %s\r\n" % p for p in self.client.signed_headers("PUT", "/bkt/k", "", {}, b"abc"))
        head = ("PUT /bkt/k HTTP/1.1\r\nExpect: 100-continue\r\n%s\r\n" % lines).encode()
        self.fault("PutObject", {"no_continue": True})
        with self.assertRaises(OSError):
            self.client.raw(head, "PUT")

    def test_hold_and_release(self):
        self.fault("PutObject", {"hold": "after_apply"})
        thread = threading.Thread(target=self.put)
        thread.start()
        deadline = time.time() + 5
        while self.client.control("GET", "held")["held"] == 0 and time.time() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.get().body, b"body")
        self.client.control("POST", "release")
        thread.join(5)
        self.assertFalse(thread.is_alive())

    def test_lies_in_listings(self):
        for name in ("a", "b"):
            self.put("p/" + name)
        marks = {"without_token": b"<IsTruncated>true", "token_loop": b"<NextContinuationToken>", "empty_page": b"<KeyCount>",
                 "not_truncated": b"false", "repeat_keys": b"p/a", "unsorted": b"p/b", "foreign_key": b"zz-outside", "traversal": b"..",
                 "absurd_size": b"9999", "negative_size": b">-1<", "bad_percent": b"%zz", "huge": b"filler", "huge_text": b"kkkk",
                 "doctype": b"<!DOCTYPE", "external_entity": b"&x;", "entity_bomb": b"&e9;", "deep": b"<a><a>", "bad_utf8": b"\xff\xfe",
                 "control_character": b"\x01", "wrong_root": b"ListSomethingResult", "no_namespace": b"<ListBucketResult>", "half": b"<?xml",
                 "no_is_truncated": b"KeyCount", "empty_body": b""}
        self.assertEqual(sorted(marks), sorted(faults.LIES))
        for name, mark in marks.items():
            with self.subTest(name):
                self.fault("ListObjectsV2", {"list": name, "list_size": 100000})
                answer = self.list("prefix=p%2F")
                self.assertEqual(answer.status, 200)
                self.assertIn(mark, answer.body)
        self.fault("ListObjectsV2", {"list": "unsorted"})
        self.assertEqual(self.keys(self.list()), ["p/b", "p/a"])
        self.fault("ListObjectsV2", {"list": "token_loop"})
        token = self.field(self.list(), "NextContinuationToken")
        self.assertEqual(self.field(self.list("continuation-token=" + quote(token, safe="")), "NextContinuationToken"), token)

    def test_listing_lags(self):
        self.put()
        self.fault("ListObjectsV2", {"list_lag_s": 60})
        self.assertEqual((self.keys(self.list()), self.get().status), ([], 200))

    def test_bad_scripts_are_refused(self):
        for rules in ([{"action": {"nonsense": 1}}], [{"match": {"nonsense": 1}}], [{"actions": {}}], [{"action": {"close": "never"}}]):
            with self.subTest(rules), self.assertRaises(OSError):
                self.rules(*rules)

    def test_log_and_counts(self):
        self.put(body=b"12345", x_amz_meta_a="x")
        self.get()
        self.expect(self.get("none"), 404, "NoSuchKey")
        put, got, missed = self.client.control("GET", "log")
        self.assertEqual((put["op"], put["key"], put["status"], put["bytes_in"]), ("PutObject", "k", 200, 5))
        self.assertIn("x-amz-meta-a", put["signed"])
        self.assertNotIn("authorization", put["headers"])
        self.assertEqual((got["op"], got["bytes_out"], missed["code"]), ("GetObject", 5, "NoSuchKey"))
        counts = self.client.control("GET", "counts")
        self.assertEqual((counts["ops"], counts["bytes_uploaded"]), ({"PutObject": 1, "GetObject": 2}, 5))
        self.client.control("POST", "reset")
        self.assertEqual(self.client.control("GET", "counts")["requests"], 0)


class OnDisk(FakeCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.options = {"root": self.folder.name}
        super().setUp()

    def test_bytes_are_files_and_go_away(self):
        self.put(body=b"x" * MIB)
        self.put(body=b"y" * MIB)
        self.assertEqual(self.get(range="bytes=1048574-").body, b"yy")
        self.client.control("POST", "corrupt?key=k&offset=0")
        self.assertEqual(self.get(range="bytes=0-0").body, b"x")
        deadline = time.time() + 2
        while len(os.listdir(self.folder.name)) > 1 and time.time() < deadline:
            time.sleep(0.01)
        self.assertEqual(len(os.listdir(self.folder.name)), 1)
        self.expect(self.client.call("PUT", "/bkt/k", headers={"x-amz-content-sha256": "0" * 64}, body=b"z"), 400, "XAmzContentSHA256Mismatch")


class VirtualHost(FakeCase):
    options = {"virtual_host": True}

    def test_bucket_comes_from_the_host(self):
        self.expect(self.client.call("PUT", "/k", headers={"host": "bkt.localhost:%d" % self.server.port}, body=b"v"), 200)
        self.assertEqual(self.client.control("GET", "keys"), {BUCKET: ["k"]})
        self.expect(self.client.call("GET", "/bkt/k"), 501, "NotImplemented")


class Program(unittest.TestCase):
    """The server as a program, met by curl: a signer that is not ours."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def start(self, *arguments):
        here = os.path.dirname(os.path.abspath(__file__))
        process = subprocess.Popen([sys.executable, os.path.join(here, "s3", "server.py"), "--port", "0", "--port-file", self.path("port"),
                                    "--access-key", "AK", "--secret-key", "SK", *arguments], stdout=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        port = int(process.stdout.readline())
        with open(self.path("port"), encoding="ascii") as file:
            self.assertEqual(int(file.read()), port)
        return port

    def curl(self, *arguments):
        command = ["curl", "-sS", "-m", "10", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "AK:SK",
                   "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return done.stdout

    def test_curl_round_trip_with_log_and_script(self):
        with open(self.path("script.json"), "w", encoding="utf-8") as file:
            json.dump([{"match": {"op": "DeleteObject"}, "action": {"slowdown": True}}], file)
        port = self.start("--script", self.path("script.json"), "--log", self.path("log.jsonl"))
        url = "http://127.0.0.1:%d/first" % port
        self.curl("-X", "PUT", url)
        self.curl("-X", "PUT", "-H", "content-type: text/plain", "--data-binary", "by curl", url + "/dir/key~1")
        self.assertEqual(self.curl(url + "/dir/key~1"), b"by curl")
        self.assertIn(b"<Key>dir/key~1</Key>", self.curl(url + "?list-type=2"))
        self.assertIn(b"SlowDown", self.curl("-X", "DELETE", url + "/dir/key~1"))
        with open(self.path("log.jsonl"), encoding="utf-8") as file:
            log = [json.loads(line) for line in file]
        self.assertEqual([r["op"] for r in log], ["CreateBucket", "PutObject", "GetObject", "ListObjectsV2", "DeleteObject"])
        self.assertEqual([r["status"] for r in log], [200, 200, 200, 200, 503])

    def test_tls(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.path("key.pem"),
                        "-out", self.path("cert.pem")], check=True, stderr=subprocess.DEVNULL)
        port = self.start("--tls", self.path("cert.pem"), self.path("key.pem"))
        self.curl("--cacert", self.path("cert.pem"), "-X", "PUT", "https://127.0.0.1:%d/secure" % port)
        self.assertIn(b"secure", self.curl("--cacert", self.path("cert.pem"), "https://127.0.0.1:%d/" % port))


@unittest.skipUnless(importlib.util.find_spec("boto3"), "boto3 not present")
class Boto3(unittest.TestCase):
    """A whole client that is not ours: what it signs, escapes and pages must be understood."""

    def setUp(self):
        self.server = FakeServer(buckets=[BUCKET], page_size=7, session_token="token/+=", part_min=1).start()
        self.addCleanup(self.server.stop)
        import boto3
        from botocore.config import Config
        options = self.server.options
        config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required",
                        s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        self.s3 = boto3.client("s3", endpoint_url=self.server.url, region_name=options.region, aws_access_key_id=options.access_key,
                               aws_secret_access_key=options.secret_key, aws_session_token=options.session_token, config=config)
        self.addCleanup(self.s3.close)

    def pages(self, operation, field, **given):
        found = []
        for page in self.s3.get_paginator(operation).paginate(Bucket=BUCKET, **given):
            found += page.get(field, [])
        return found

    def test_objects_and_listing(self):
        for key in HOSTILE:
            with self.subTest(key):
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata={"id": "a  b"})
                got = self.s3.get_object(Bucket=BUCKET, Key=key)
                self.assertEqual((got["Body"].read(), got["Metadata"]), (key.encode(), {"id": "a  b"}))
        self.assertEqual([o["Key"] for o in self.pages("list_objects_v2", "Contents")], sorted(HOSTILE, key=str.encode))
        with self.assertRaisesRegex(Exception, "PreconditionFailed"):
            self.s3.put_object(Bucket=BUCKET, Key="plain", Body=b"x", IfNoneMatch="*")
        gone = [{"Key": key} for key in HOSTILE if key.isprintable()]      # boto3 does not escape control characters in XML
        self.assertEqual(len(self.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": gone})["Deleted"]), len(gone))

    def test_multipart(self):
        upload = {"Bucket": BUCKET, "Key": "mp/é", "UploadId": self.s3.create_multipart_upload(Bucket=BUCKET, Key="mp/é")["UploadId"]}
        parts = [{"PartNumber": n, "ETag": self.s3.upload_part(PartNumber=n, Body=b"%d" % n, **upload)["ETag"]} for n in range(1, 11)]
        listed = self.pages("list_parts", "Parts", Key="mp/é", UploadId=upload["UploadId"])
        self.assertEqual([p["PartNumber"] for p in listed], list(range(1, 11)))
        self.assertEqual(len(self.pages("list_multipart_uploads", "Uploads")), 1)
        self.s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, IfNoneMatch="*", **upload)
        self.assertEqual(self.s3.get_object(Bucket=BUCKET, Key="mp/é", Range="bytes=8-")["Body"].read(), b"910")


class Table(unittest.TestCase):
    def test_every_operation_is_implemented(self):
        for spec in ops.SPECS:
            name = "do_" + re.sub(r"(?<!^)(?=[A-Z])", "_", spec.name).lower()
            self.assertTrue(hasattr(ops.Operations, name), name)


if __name__ == "__main__":
    unittest.main()
