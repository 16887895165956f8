# SPDX-License-Identifier: Apache-2.0
"""Runs the store conformance suite against a real server that a script of ci/ starts and stops: in a plain bucket and in a versioned one;
then deletes by version, there and in a bucket with Object Lock and a default retention."""

import base64
import hashlib
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.environ.get("CHUNKFERRY_BUILD", ""), "tests", "store.s3_conformance_test")
VERSIONS = os.path.join(os.path.dirname(PROGRAM), "store.s3_versions_test")
SKIP = 77
VERSIONED, LOCKED, PLAIN = "chunkferry-versioned", "chunkferry-locked", "chunkferry-plain"
ENABLED = b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'
A_DAY = (b'<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>'
         b"<DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")


def buckets(given, endpoint):
    """Made by the small client of the fake: ours has no use for it. False: the server cannot do it."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "fake"))
    from s3.client import Client
    client = Client(endpoint, given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], given.get("AWS_REGION", "us-east-1"))
    def put(path, query="", body=b"", **headers):
        headers = {n.replace("_", "-"): v for n, v in headers.items()}
        if body:
            headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = client.call("PUT", path, query, headers, body)
        if answer.status not in (200, 204):
            print("PUT %s?%s: %d %s" % (path, query, answer.status, answer.body[:300]))
        return answer.status in (200, 204)
    return (put("/" + PLAIN) and put("/" + VERSIONED) and put("/" + VERSIONED, "versioning=", ENABLED)
            and put("/" + LOCKED, x_amz_bucket_object_lock_enabled="true") and put("/" + LOCKED, "object-lock=", A_DAY))


def versions(given, endpoint):
    if not buckets(given, endpoint):
        return 1
    codes = [suite(given, endpoint, command=[VERSIONS, kind, bucket])
             for kind, bucket in (("plain", PLAIN), ("versioned", VERSIONED), ("locked", LOCKED))]
    codes.append(suite(given, endpoint, bucket=VERSIONED))
    return max(abs(code) for code in codes)


def races_are_lost(given, endpoint, bucket):
    """What init finds out about this bucket: Ceph RGW lets every one of several creates at once win once a bucket is versioned."""
    chunkferry = os.environ.get("CHUNKFERRY", "")
    env = {**os.environ, **{k: v for k, v in given.items() if k.startswith("AWS_")}, "AWS_ENDPOINT_URL_S3": endpoint}
    done = subprocess.run([chunkferry, "init", "--repo", "s3://%s/probe" % bucket], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lost = "overwrites an object in spite of" in done.stderr
    print("creates at once in %s: %s" % (bucket, "all win, the repository is an unconditional one" if lost else "one wins"))
    return lost


def suite(given, endpoint, ca_bundle=None, bucket=None, command=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env.update({k: v for k, v in given.items() if k.startswith("AWS_")})
    env.update(AWS_ENDPOINT_URL_S3=endpoint, AWS_EC2_METADATA_DISABLED="true")
    if ca_bundle:
        env["AWS_CA_BUNDLE"] = ca_bundle
    if bucket:
        env["CHUNKFERRY_TEST_BUCKET"] = bucket
        if "minio" in sys.argv[0]:
            env["CHUNKFERRY_TEST_GHOST_FOLDERS"] = "1"  # a folder of delete markers stays a common prefix there
        if races_are_lost(given, endpoint, bucket):
            env["CHUNKFERRY_TEST_NO_RACES"] = "1"
    print("== %s %s" % (endpoint, " ".join(command[1:]) if command else bucket or ""), flush=True)
    return subprocess.run(command or [PROGRAM], env=env, timeout=800).returncode


def main(server, tls):
    """server: a script of ci/. tls: it also listens on https with a CA of its own."""
    if not os.path.exists(PROGRAM):
        print("skipped: %s is not built" % PROGRAM)
        return SKIP
    script = os.path.join(ROOT, "ci", server)
    with tempfile.TemporaryDirectory(prefix="chunkferry-%s-" % server) as state:
        folder = os.path.join(state, "server")
        started = subprocess.run([script, "start", folder], stdout=subprocess.PIPE, text=True)
        try:
            if started.returncode == SKIP:
                print("skipped: ci/%s cannot run here; its last words are above" % server)
                return SKIP
            if started.returncode != 0:
                print("ci/%s start failed with %d" % (server, started.returncode))
                return 1
            given = dict(line.split("=", 1) for line in started.stdout.splitlines() if "=" in line)
            code = abs(suite(given, given["AWS_ENDPOINT_URL_S3"]))
            code = max(code, versions(given, given["AWS_ENDPOINT_URL_S3"]))
            if tls:
                code = max(code, abs(suite(given, given["CHUNKFERRY_TLS_ENDPOINT"], given["CHUNKFERRY_CA_BUNDLE"])))
            return code
        finally:
            subprocess.run([script, "stop", folder], stdout=subprocess.DEVNULL)
