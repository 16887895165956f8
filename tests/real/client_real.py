# SPDX-License-Identifier: Apache-2.0
"""The S3 client (through s3_driver) against a real server, over http and https.

    eval "$(ci/server-ceph start)" with the variables exported; python3 tests/real/client_real.py

Without AWS_ENDPOINT_URL_S3 it is a counted skip (77). Buckets get names of their own and are left behind.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/s3", "tests/fake"]
from client_test import DRIVER, HOSTILE, MIB, noise, read  # noqa: E402

PART = ["--part", str(5 * MIB)]


class Real:
    def __init__(self, endpoint, folder):
        self.folder = folder
        self.base = [DRIVER, "--endpoint", endpoint, "--bucket", "client-%d-%d" % (os.getpid(), endpoint.startswith("https"))]
        if endpoint.startswith("https"):
            self.base += ["--ca", os.environ["CHUNKFERRY_CA_BUNDLE"]]

    def path(self, name):
        return os.path.join(self.folder, name)

    def file(self, data):
        with open(self.path("in"), "wb") as f:
            f.write(data)
        return self.path("in")

    def run(self, *args, err="CF_OK", options=()):
        done = subprocess.run(self.base + list(options) + list(args), capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["err"] == err, (args, result["err"], result["message"])
        return result

    def get(self, key, *more):
        self.run("get", key, self.path("out"), *more)
        return read(self.path("out"))


def small(r):
    r.run("bucket-head", err="CF_ERR_NO_BUCKET")
    r.run("bucket-create")
    r.run("bucket-create")
    r.run("bucket-head")
    put = r.run("put", "k", r.file(noise(100000)))
    head = r.run("head", "k")
    assert head["etag"] == put["etag"] and len(head["id"]) == 32 and head["size"] == 100000
    assert r.get("k") == noise(100000) and r.get("k", "5", "10") == noise(100000)[5:15] and r.get("k", "99990", "0") == noise(100000)[99990:]
    r.run("get", "k", r.path("out"), "100000", "1", err="CF_ERR_REQUEST")
    r.run("delete", "k")
    r.run("delete", "k")
    r.run("head", "k", err="CF_ERR_NOT_FOUND")
    r.run("get", "k", r.path("out"), err="CF_ERR_NOT_FOUND")


def hostile_keys_and_lists(r):
    for key in HOSTILE:
        r.run("put", key, r.file(key.encode()))
        assert r.get(key) == key.encode(), repr(key)
    want = sorted(HOSTILE, key=lambda k: k.encode())
    assert [x["key"] for x in r.run("list")["entries"]] == want
    paged = r.run("list", "", "", "", "7")
    assert [x["key"] for x in paged["entries"]] == want and paged["requests"] == (len(want) + 6) // 7
    assert [x["key"] for x in r.run("list", "a")["entries"]] == [k for k in want if k.startswith("a")]
    assert [x["key"] for x in r.run("list", "", "a b")["entries"]] == [k for k in want if k > "a b"]
    assert any(x["is_prefix"] for x in r.run("list", "", "", "/")["entries"])
    with open(r.path("keys"), "wb") as f:
        f.write(b"".join(k.encode() + b"\0" for k in HOSTILE))
    r.run("delete-many", r.path("keys"))
    assert r.run("list")["entries"] == []


def multipart(r):
    for size in (5 * MIB, 5 * MIB + 1, 18 * MIB):
        up = r.run("upload", "m%d" % size, r.file(noise(size)), options=PART)
        assert up["multipart"] == (size > 5 * MIB) and r.get("m%d" % size) == noise(size)
        assert r.run("head", "m%d" % size)["etag"] == up["etag"]
    r.run("upload", "m%d" % (18 * MIB), r.path("in"), "create", options=PART, err="CF_ERR_EXISTS")
    r.run("upload", "given-up", r.path("in"), "give-up", options=PART, err="CF_ERR_FAILED")
    assert r.run("uploads")["entries"] == []


def races(r):
    f = r.file(b"x" * 1000)
    for number in range(20):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(subprocess.run, r.base + ["put", "race%d" % number, f, "create"], capture_output=True) for _ in range(8)]
        errs = sorted(json.loads(j.result().stdout)["err"] for j in jobs)
        assert errs == ["CF_ERR_EXISTS"] * 7 + ["CF_OK"], errs


def wrong_keys(r):
    for name, code in (("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"), ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId")):
        done = subprocess.run(r.base + ["list"], capture_output=True, env={**os.environ, name: "WRONG"})
        result = json.loads(done.stdout)
        assert result["err"] == "CF_ERR_AUTH" and result["s3_code"] == code and "HINT" in result["message"], result


def main():
    if not os.environ.get("AWS_ENDPOINT_URL_S3"):
        print("skipped: no server (AWS_ENDPOINT_URL_S3 is not set; see ci/server-ceph)")
        return 77
    endpoints = [os.environ["AWS_ENDPOINT_URL_S3"]] + [e for e in [os.environ.get("CHUNKFERRY_TLS_ENDPOINT")] if e]
    for endpoint in endpoints:
        with tempfile.TemporaryDirectory() as folder:
            r = Real(endpoint, folder)
            for part in (small, hostile_keys_and_lists, multipart, races, wrong_keys):
                part(r)
                print("%-32s %s ok" % (endpoint, part.__name__.replace("_", " ")), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
