#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fake's signature verifier against published vectors of others (../shared/vectors/sigv4, not part of the product).

Exit code 77 when the folder is absent.
"""

import json
import os
import sys
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from s3 import faults, sigv4
from s3.client import Client
from s3.http1 import Request
from s3.server import FakeServer

SHARED = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(HERE))), "shared", "vectors")
VECTORS = os.path.join(SHARED, "sigv4")


def load(name):
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        return json.load(file)


def wire(text):
    """The vectors hold text; the wire holds its UTF-8, which this code keeps as Latin-1."""
    return text.encode().decode("latin-1")


def canonical_of(case, mode, expected):
    """The canonical request of a vector, from its raw parts; the signed header names are taken from `expected`."""
    names = expected.split("\n")[-2].split(";")
    headers = [(n.lower(), wire(v)) for n, v in case["headers"]]
    path = sigv4.canonical_path_s3(wire(case["path"])) if mode == "s3" else sigv4.canonical_path_generic(wire(case["path"]), mode == "normal")
    return sigv4.canonical_request(case["method"], path, sigv4.canonical_query(wire(case["query"])), headers, names, expected.split("\n")[-1])


class Suite(unittest.TestCase):
    def test_header_cases(self):
        ran = 0
        for case in load("suite.json"):
            expected = case.get("header")
            if not expected:
                continue
            with self.subTest(case["name"]):
                complete = dict(case, headers=with_signer_headers(case, expected["canonical_request"]))
                mode = "raw" if not case["normalize_path"] else "normal"
                text = canonical_of(complete, mode, expected["canonical_request"])
                self.assertEqual(text, wire(expected["canonical_request"]))
                self.check_signature(case, text, expected)
                ran += 1
        self.assertGreaterEqual(ran, 70)

    def check_signature(self, case, text, expected):
        scope = "%s/%s/%s/aws4_request" % (case["amz_date"][:8], case["region"], case["service"])
        to_sign = sigv4.string_to_sign(case["amz_date"], scope, text)
        self.assertEqual(to_sign, expected["string_to_sign"])
        key = sigv4.signing_key(case["secret_access_key"], case["amz_date"][:8], case["region"], case["service"])
        self.assertEqual(sigv4.sign(key, to_sign), expected["signature"])
        if "authorization" in expected:
            credential, names, signature = sigv4.parse_authorization(expected["authorization"])
            self.assertEqual((credential[0], ";".join(names), signature),
                             (case["access_key_id"], expected["canonical_request"].split("\n")[-2], expected["signature"]))


def with_signer_headers(case, canonical):
    """The suite's requests come without what the signer adds; take those headers from the canonical request."""
    headers = list(case["headers"])
    present = {n.lower() for n, _ in headers}
    for line in canonical.split("\n")[3:]:
        name, colon, value = line.partition(":")
        if colon and name not in present and name.startswith("x-amz-"):
            headers.append((name, value))
    return headers


class S3Vectors(unittest.TestCase):
    def test_whole_requests_through_the_verifier(self):
        ran = {"header": 0, "presigned": 0}
        self.verified = 0
        for case in load("sigv4-s3.json")["vectors"]:
            if case["kind"] in ran and case["service"] == "s3":
                with self.subTest(case["id"]):
                    getattr(self, "check_" + case["kind"])(case)
                    ran[case["kind"]] += 1
        self.assertGreaterEqual((ran["header"], ran["presigned"], self.verified), (21, 14, 14))

    def verify(self, case, target, headers, secret=None):
        sent = next((v for n, v in headers if n.lower() == "x-amz-security-token"), None)   # some vectors only have the header
        token = case["session_token"] or sent or ""
        credentials = sigv4.Credentials(case["access_key_id"], secret or case["secret_access_key"], token)
        request = Request(case["method"], target, "HTTP/1.1", [(n.lower(), wire(v)) for n, v in headers])
        return sigv4.Verifier(credentials, case["region"]).verify(request, sigv4.epoch_of(case["amz_date"]))

    def check_header(self, case):
        text = canonical_of(case, case["uri_mode"], case["canonical_request"])
        self.assertEqual(text, case["canonical_request"])
        target = wire(case["path"] + ("?" + case["query"] if case["query"] else ""))
        headers = case["headers"] + [["authorization", case["authorization"]]]
        if verifiable(case):
            self.verified += 1
            self.assertEqual(self.verify(case, target, headers).amz_date, case["amz_date"])
            with self.assertRaises(sigv4.AuthError):
                self.verify(case, target + "x", headers)
            with self.assertRaises(sigv4.AuthError):
                self.verify(case, target, headers, secret="wrong")

    def check_presigned(self, case):
        url = case["url"]
        target = wire(url[url.index("/", url.index("://") + 3):])
        if case.get("session_token_in_signature") is False:
            return
        self.assertTrue(self.verify(case, target, case["headers"]).presigned)
        with self.assertRaises(sigv4.AuthError):
            self.verify(case, target.replace("X-Amz-Expires=", "X-Amz-Expires=1"), case["headers"])

    def test_signing_keys(self):
        for case in load("sigv4-s3.json")["vectors"]:
            if case["kind"] == "signing_key":
                key = sigv4.signing_key(case["secret_access_key"], case["date"], case["region"], case["service"])
                self.assertEqual(key.hex(), case["signing_key"])


def verifiable(case):
    """Vectors that our server takes: whole payload hash, everything that must be signed is, date in x-amz-date."""
    names = set(case["signed_headers"].split(";"))
    present = {n.lower(): v for n, v in case["headers"]}
    required = {n for n in present if n.startswith("x-amz-") or n in sigv4.MUST_SIGN}
    digest = present.get("x-amz-content-sha256", "")
    plain = digest == sigv4.UNSIGNED_PAYLOAD or sigv4.HEX_64.match(digest)
    return bool(required <= names and plain and "x-amz-date" in present)


class Canonicalisation(unittest.TestCase):
    def test_paths(self):
        for case in load("canonicalisation.json")["paths"]:
            if case["ref_agrees"]:
                with self.subTest(case["wire_path"], mode=case["mode"]):
                    path = wire(case["wire_path"])
                    got = sigv4.canonical_path_s3(path) if case["mode"] == "s3" else sigv4.canonical_path_generic(path)
                    self.assertEqual(got, case["canonical"])

    def test_queries(self):
        for case in load("canonicalisation.json")["queries"]:
            if case["ref_agrees"]:
                with self.subTest(case["query"]):
                    self.assertEqual(sigv4.canonical_query(wire(case["query"])), case["canonical"])

    def test_header_values(self):
        for case in load("canonicalisation.json")["header_values"]:
            if case["ref_agrees"]:
                with self.subTest(case["value"]):
                    self.assertEqual(sigv4.canonical_header_value(wire(case["value"])), wire(case["canonical"]))


class MockScripts(unittest.TestCase):
    """aws-c-s3's response scripts load as rules and are answered as written."""

    def test_all_of_them(self):
        root = os.path.join(SHARED, "s3", "mock_s3_server")
        paths = sorted(os.path.join(d, f) for d, _, files in os.walk(root) for f in files if f.endswith(".json"))
        self.assertGreaterEqual(len(paths), 30)
        with FakeServer(buckets=["bkt"]) as server:
            client = Client.of(server)
            for path in paths:
                with self.subTest(os.path.relpath(path, root)):
                    rule = faults.load(path)[0]
                    rule["action"].pop("stall_ms", None)
                    if rule["match"]["op"] != "CreateSession":      # of directory buckets, which the fake does not have
                        self.check(client, rule, CALLS[rule["match"]["op"]])

    def check(self, client, rule, call):
        client.control("POST", "script", [rule])
        answer = client.call(*call)
        self.assertEqual(answer.status, rule["action"]["status"])
        for name, value in rule["action"]["headers"].items():
            if "<request-range>" not in value:
                self.assertEqual(answer.headers[name.lower()], value)


BODY = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
CALLS = {
    "HeadObject": ("HEAD", "/bkt/k"),
    "GetObject": ("GET", "/bkt/k", "", {"Range": "bytes=0-99"}),
    "CreateMultipartUpload": ("POST", "/bkt/k", "uploads="),
    "UploadPart": ("PUT", "/bkt/k", "partNumber=1&uploadId=u", {}, b"x"),
    "ListParts": ("GET", "/bkt/k", "uploadId=u"),
    "AbortMultipartUpload": ("DELETE", "/bkt/k", "uploadId=u"),
    "CompleteMultipartUpload": ("POST", "/bkt/k", "uploadId=u", {}, BODY),
}


if __name__ == "__main__":
    if not os.path.isdir(VECTORS):
        print("skipped: ../shared/vectors not present")
        sys.exit(77)
    unittest.main()
