# SPDX-License-Identifier: Apache-2.0
"""The S3 client (through s3_driver) against the fake server: every operation, and every fault the server can play.

Each case is (title, function). A case gets a server of its own, so a script's counters start anew. The time of the
waits between tries is divided by 100 (--fast), the decisions are not changed by it.
"""

import concurrent.futures
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, "tests/fake")
from s3.server import FakeServer  # noqa: E402

DRIVER = os.path.join(os.environ.get("CHUNKFERRY_BUILD", "build"), "tests", "s3_driver")
VECTORS = "../shared/vectors/s3/mock_s3_server"
MIB = 1024 * 1024
CASES = []
SKIPPED = []


def case(function):
    CASES.append((function.__name__.replace("_", " "), function))
    return function


class Bench:
    """A server with rules, a folder, and the driver."""

    def __init__(self, folder):
        self.folder = folder
        self.server = None
        self.extra = []

    def start(self, rules=(), **options):
        self.close()
        options.setdefault("buckets", ["backups"])
        self.server = FakeServer(rules=list(rules), **options).start()
        return self

    def close(self):
        if self.server is not None:
            bugs = self.counts()["fake_bugs"]
            self.server.stop()
            self.server = None
            assert bugs == 0, "the fake server failed itself %d times" % bugs

    def control(self, method, name, body=None):
        import urllib.request
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url.replace("https", "http") + "/_fake/" + name, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def counts(self):
        return self.control("GET", "counts")

    def log(self, op=None):
        return [r for r in self.control("GET", "log") if op is None or r["op"] == op]

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def path(self, name):
        return os.path.join(self.folder, name)

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
        env.update(AWS_ACCESS_KEY_ID="FAKEACCESSKEY0000000", AWS_SECRET_ACCESS_KEY="fake/secret+key/0123456789abcdefghijklmn",
                   HOME=self.folder)
        return env

    def command(self, *args, endpoint=None, fast=100, options=()):
        return [DRIVER, "--endpoint", endpoint or self.server.url, "--fast", str(fast), *self.extra, *options] + list(args)

    def run(self, *args, err="CF_OK", says=(), env=None, **more):
        started = time.monotonic()
        done = subprocess.run(self.command(*args, **more), capture_output=True, timeout=120, env=env or self.env())
        assert done.returncode == 0, "driver ended with %d: %s" % (done.returncode, done.stderr.decode(errors="replace")[-2000:])
        result = json.loads(done.stdout)
        assert err is None or result["err"] == err, "%s instead of %s: %s" % (result["err"], err, result["message"])
        for text in [says] if isinstance(says, str) else says:
            assert text in result["message"], "'%s' is not in '%s'" % (text, result["message"])
        if err == "CF_OK":
            assert result["message"] == "", "a success tells a failure: " + result["message"]
        for secret in ("fake/secret", "Signature="):
            assert secret not in result["message"]
        result["seconds"] = time.monotonic() - started
        return result

    def no_uploads(self):
        left = self.run("uploads")["entries"]
        assert left == [], "uploads were not withdrawn: %s" % left

    def stored(self, key):
        import urllib.parse
        return self.control("GET", "object?bucket=backups&key=" + urllib.parse.quote(key, safe=""))


def noise(size, seed=7):
    block = hashlib.sha256(b"%d" % seed).digest() * 1024
    return (block * (size // len(block) + 1))[:size]


def read(path):
    with open(path, "rb") as f:
        return f.read()


# -- the operations


@case
def put_get_head_list_delete(b):
    b.start()
    body = noise(100000)
    f = b.file("in", body)
    put = b.run("put", "a/key", f)
    assert put["sha256"] == hashlib.sha256(body).hexdigest() and not put["multipart"] and put["requests"] == 1
    head = b.run("head", "a/key")
    assert head["size"] == 100000 and head["etag"] == put["etag"] and len(head["id"]) == 32
    got = b.run("get", "a/key", b.path("out"))
    assert read(b.path("out")) == body and got["id"] == head["id"]
    assert abs(got["server_time_ms"] - time.time() * 1000) < 5000
    assert [x["key"] for x in b.run("list")["entries"]] == ["a/key"]
    b.run("delete", "a/key")
    b.run("delete", "a/key")
    b.run("head", "a/key", err="CF_ERR_NOT_FOUND", says="HeadObject 'a/key'")
    b.run("get", "a/key", b.path("out"), err="CF_ERR_NOT_FOUND", says="NoSuchKey")


@case
def empty_object(b):
    b.start()
    b.run("put", "empty", b.file("in", b""))
    assert b.run("get", "empty", b.path("out"))["size"] == 0 and read(b.path("out")) == b""
    b.run("upload", "empty2", b.file("in", b""))
    assert b.run("head", "empty2")["size"] == 0


@case
def ranges(b):
    b.start()
    body = noise(1000)
    b.run("put", "k", b.file("in", body))
    for offset, length, want in [(0, 1, body[:1]), (10, 5, body[10:15]), (999, 1, body[999:]), (990, 100, body[990:]), (500, 0, body[500:]),
                                 (0, 0, body), (0, 1000, body)]:
        got = b.run("get", "k", b.path("out"), str(offset), str(length))
        assert read(b.path("out")) == want and got["size"] == 1000, (offset, length)
    b.run("get", "k", b.path("out"), "1000", "1", err="CF_ERR_REQUEST", says="416")


HOSTILE = ["a+b", "a b", "a%20b", "a%2Fb", "a//b", "/lead", "trail/", "./dot", "a/./b", "a/../b", "../up", "..", ".", "a?b=c&d", "a#b", "a=b", "a&b",
           "a;b", "a:b", "a@b", "a,b", "a$b", "a!b", "a'b", 'a"b', "a(b)", "a*b", "a<b>", "a\\b", "a|b", "a^b", "a`b", "a{b}", "a[b]", "a~b", "é", "中文",
           "\U0001f600", "e\u0301", "\t tab", "nl\nx", "cr\rx", "\x01ctl", "\x7fdel", "%", "%%", "%zz", "x" * 1024, "é" * 512, " ", "+", "a ", "\u202ertl"]


@case
def hostile_keys_round_trip(b):
    b.start(page_size=7)
    for i, key in enumerate(HOSTILE):
        body = b"%d %s" % (i, key.encode())
        b.run("put", key, b.file("in", body))
        b.run("get", key, b.path("out"))
        assert read(b.path("out")) == body, repr(key)
        assert b.run("head", key)["size"] == len(body)
    listed = [x["key"] for x in b.run("list")["entries"]]
    assert listed == sorted(HOSTILE, key=lambda k: k.encode()), [k for k in HOSTILE if k not in listed]
    for key in HOSTILE[:20]:
        assert key in [x["key"] for x in b.run("list", key)["entries"]], repr(key)
    b.run("delete", HOSTILE[0])
    b.run("delete-many", b.file("keys", b"".join(k.encode() + b"\0" for k in HOSTILE)))
    assert b.run("list")["entries"] == []
    b.run("put", "", b.file("in", b"x"), err="CF_ERR_USAGE", says="the key is empty")
    b.run("put", "x" * 1025, b.file("in", b"x"), err="CF_ERR_USAGE", says="1025 bytes, 1024 are allowed")


@case
def multipart_upload(b):
    b.start()
    for size, parts in [(5 * MIB, 0), (5 * MIB + 1, 2), (15 * MIB, 3), (18 * MIB + 5, 4)]:
        body = noise(size, size)
        r = b.run("upload", "k%d" % size, b.file("in", body), options=["--part", str(5 * MIB)])
        assert r["multipart"] == (parts > 0) and r["size"] == size
        if parts:
            digest = hashlib.sha256()
            for i in range(parts):
                digest.update(hashlib.sha256(body[i * 5 * MIB:(i + 1) * 5 * MIB]).digest())
            assert r["sha256"] == digest.hexdigest() and r["part_bytes"] == 5 * MIB and r["etag"].strip('"').endswith("-%d" % parts)
        else:
            assert r["sha256"] == hashlib.sha256(body).hexdigest()
        b.run("get", "k%d" % size, b.path("out"))
        assert read(b.path("out")) == body
        assert len(b.run("head", "k%d" % size)["id"]) == 32
    b.no_uploads()


@case
def create_only(b):
    b.start()
    f = b.file("in", b"one")
    one = b.run("put", "k", f, "create", "id=" + "a1" * 16)
    b.run("put", "k", b.file("in2", b"two"), "create", err="CF_ERR_EXISTS", says="'k' exists already")
    again = b.run("put", "k", f, "create", "id=" + "a1" * 16)
    assert again["settled"] and again["etag"] == one["etag"]
    b.run("put", "k", f, "create", "id=xyz", err="CF_ERR_USAGE", says="not 32 hex digits")
    big = b.file("big", noise(11 * MIB))
    b.run("upload", "k", big, "create", err="CF_ERR_EXISTS", options=["--part", str(5 * MIB)])
    b.no_uploads()
    assert b.stored("k")["size"] == 3


@case
def create_only_race_has_one_winner(b):
    b.start()
    f = b.file("in", b"x" * 1000)
    for round_ in range(5):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(subprocess.run, b.command("put", "race%d" % round_, f, "create"), capture_output=True, env=b.env()) for _ in range(8)]
            errs = sorted(json.loads(j.result().stdout)["err"] for j in jobs)
        assert errs == ["CF_ERR_EXISTS"] * 7 + ["CF_OK"], errs


@case
def listing_pages_delimiter_and_start(b):
    b.start(page_size=3)
    keys = sorted("d%d/%s" % (i % 4, j) for i in range(4) for j in ("a", "b", "c")) + ["top", "z+ %"]
    f = b.file("in", b"x")
    for key in keys:
        b.run("put", key, f)
    assert [x["key"] for x in b.run("list")["entries"]] == keys
    assert [x["key"] for x in b.run("list", "d2/")["entries"]] == ["d2/a", "d2/b", "d2/c"]
    assert [x["key"] for x in b.run("list", "", "d2/b")["entries"]] == keys[keys.index("d2/b") + 1:]
    shallow = b.run("list", "", "", "/")["entries"]
    assert [(x["key"], x["is_prefix"]) for x in shallow] == [("d0/", True), ("d1/", True), ("d2/", True), ("d3/", True), ("top", False), ("z+ %", False)]
    assert len(b.run("list", "", "", "", "2")["entries"]) == len(keys)
    b.run("list", "", "", "", "1001", err="CF_ERR_USAGE", says="1001 keys a page")


@case
def a_bucket_with_a_default_retention(b):
    """It wants Content-MD5: found out once a client, by the refusal."""
    b.start(buckets=[], object_lock=["backups:GOVERNANCE:60"])
    assert b.run("put", "k", b.file("in", b"x"))["requests"] == 2
    r = b.run("upload", "big", b.file("big", noise(12 * MIB)))
    log = b.log("UploadPart")
    assert [x["status"] for x in log].count(400) >= 1 and r["retries"] == [x["status"] for x in log].count(400)
    assert all("content-md5" in x["headers"] for x in log if x["status"] == 200)
    b.start()
    b.run("put", "k", b.file("in", b"x"))
    assert "content-md5" not in b.log("PutObject")[0]["headers"]


@case
def delete_many_names_what_failed(b):
    b.start(rules=[{"match": {"op": "DeleteObjects"}, "action": {"status": 200, "body": [
        '<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error>',
        '<Error><Key>b</Key><Code>InternalError</Code><Message>later</Message></Error></DeleteResult>']}}])
    f = b.file("in", b"x")
    for key in "ab":
        b.run("put", key, f)
    b.run("delete-many", b.file("keys", b"a\0b\0"), err="CF_ERR_DENIED", says=["2 of 2 objects", "'a'", "AccessDenied"])
    b.run("head", "a")
    b.run("head", "b")
    batches = b.log("DeleteObjects")
    assert len(batches) == 8 and batches[0]["bytes_in"] > batches[1]["bytes_in"] == batches[7]["bytes_in"], "b alone is tried again"


def put_all(b, keys):
    """By the side door of the fake, for speed."""
    from s3.store import Conditions, MemoryBlob, Object
    for key in keys:
        b.server.store.put("backups", key.encode(), Object(MemoryBlob(b""), "0" * 32, time.time()), Conditions())


def keys_file(b, keys):
    return b.file("keys", b"".join(k.encode() + b"\0" for k in keys))


@case
def delete_many_tries_only_what_failed_again(b):
    for code in ("InternalError", "SlowDown", "OperationAborted"):
        b.start(rules=[{"match": {"op": "DeleteObjects", "count": 3}, "action": {"delete_errors": {"key": "7$", "code": code}}}])
        keys = ["k%04d" % n for n in range(1500)]
        put_all(b, keys)
        r = b.run("delete-many", keys_file(b, keys))
        # 1,000; twice the 100 of them that failed and once that did not; 500
        sizes = [x["bytes_in"] for x in b.log("DeleteObjects")]
        assert len(sizes) == 5 and sizes[1] == sizes[2] == sizes[3] < sizes[0] / 9, (code, sizes)
        assert r["requests"] == 5 and b.control("GET", "keys")["backups"] == []


@case
def delete_many_survives_throttling(b):
    b.start(rules=[{"match": {"op": "DeleteObjects", "nth": [1, 3, 4]}, "action": {"slowdown": True}}])
    keys = ["k%04d" % n for n in range(1500)]
    put_all(b, keys)
    r = b.run("delete-many", keys_file(b, keys))
    assert r["requests"] == 5 and b.control("GET", "keys")["backups"] == []


@case
def delete_many_spends_no_tokens_for_what_heals(b):
    """Each batch fails once: 50 of them would take 700 of the client's 500 tokens if success did not give them back."""
    b.start(rules=[{"match": {"op": "DeleteObjects", "nth": list(range(1, 120, 2))}, "action": {"delete_errors": {"key": "1$", "code": "InternalError"}}}],
            delete_body_max=4000)
    keys = ["k%04d" % n for n in range(3000)]
    put_all(b, keys)
    b.run("delete-many", keys_file(b, keys))
    assert b.control("GET", "keys")["backups"] == []
    assert b.control("GET", "script")[0]["fired"] > 40


@case
def delete_many_halves_what_is_too_large(b):
    b.start(delete_body_max=10000)
    keys = ["k%04d" % n for n in range(2000)]
    put_all(b, keys)
    b.run("delete-many", keys_file(b, keys))
    log = b.log("DeleteObjects")
    refused = [x["bytes_in"] for x in log if x["status"] == 413]
    assert len(refused) == 2 and refused[1] < refused[0] * 0.6, "it is learned once"
    assert b.control("GET", "keys")["backups"] == []


@case
def delete_many_gives_up_on_one_that_is_too_large(b):
    b.start(delete_body_max=10)
    put_all(b, ["k1", "k2"])
    b.run("delete-many", keys_file(b, ["k1", "k2"]), err="CF_ERR_TOO_LARGE", says="413")


@case
def delete_many_without_batches(b):
    b.start(rules=[{"match": {"op": "DeleteObjects"}, "action": {"status": 501, "code": "NotImplemented"}},
                   {"match": {"op": "DeleteObject", "key": "k7", "count": 1}, "action": {"status": 500, "code": "InternalError"}}])
    keys = ["k%d" % n for n in range(10)]
    put_all(b, keys)
    r = b.run("delete-many", keys_file(b, keys))
    assert r["requests"] == 12 and b.control("GET", "keys")["backups"] == []


@case
def delete_many_stops_at_a_signal(b):
    b.start(rules=[{"match": {"op": "DeleteObjects"}, "action": {"delete_errors": {"key": ".", "code": "SlowDown"}}}])
    put_all(b, ["k1"])
    p = subprocess.Popen(b.command("delete-many", keys_file(b, ["k1"]), fast=1), stdout=subprocess.PIPE, env=b.env())
    time.sleep(1)
    began = time.monotonic()
    p.send_signal(signal.SIGTERM)
    out = json.loads(p.communicate(timeout=20)[0])
    assert out["err"] == "CF_ERR_INTERRUPTED" and time.monotonic() - began < 1.5, out


@case
def delete_many_thousands(b):
    b.start(page_size=1000)
    keys = [b"k%05d" % i for i in range(2500)]
    r = b.run("delete-many", b.file("keys", b"".join(k + b"\0" for k in keys)))
    assert r["requests"] == 3
    assert b.run("delete-many", b.file("keys", b""))["requests"] == 0


@case
def buckets(b):
    b.start()
    b.run("bucket-head")
    b.run("bucket-head", options=["--bucket", "nobody"], err="CF_ERR_NO_BUCKET", says="HINT: create the bucket")
    b.run("list", options=["--bucket", "nobody"], err="CF_ERR_NO_BUCKET", says="NoSuchBucket")
    b.run("put", "k", b.file("in", b"x"), options=["--bucket", "nobody"], err="CF_ERR_NO_BUCKET")
    b.run("bucket-create", options=["--bucket", "fresh"])
    b.run("bucket-create", options=["--bucket", "fresh"])
    b.run("bucket-head", options=["--bucket", "fresh"])
    b.start(region="eu-west-1")
    b.run("bucket-create", options=["--bucket", "fresh", "--region", "eu-west-1"])
    b.start(rules=[{"match": {"op": "CreateBucket"}, "action": {"status": 409, "code": "BucketAlreadyExists"}}])
    b.run("bucket-create", options=["--bucket", "taken"], err="CF_ERR_EXISTS")
    b.start(rules=[{"match": {"op": "CreateBucket"}, "action": {"status": 409, "code": "BucketAlreadyOwnedByYou"}}])
    b.run("bucket-create", options=["--bucket", "ours"])


@case
def uploads_are_listed_and_aborted(b):
    b.start(rules=[{"match": {"op": "AbortMultipartUpload", "nth": 1, "count": 5}, "action": {"status": 403, "code": "AccessDenied"}}], page_size=2)
    big = b.file("big", noise(11 * MIB))
    for i in range(5):
        b.run("upload", "p/k %d+" % i, big, "give-up", err="CF_ERR_FAILED", options=["--part", str(5 * MIB)])
    found = b.run("uploads", "p/")["entries"]
    assert [x["key"] for x in found] == ["p/k %d+" % i for i in range(5)]
    for x in found:
        b.run("abort", x["key"], x["upload_id"])
        b.run("abort", x["key"], x["upload_id"])
    assert b.run("uploads")["entries"] == []


@case
def https_and_its_certificate(b):
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", b.path("key.pem"), "-out", b.path("cert.pem")], capture_output=True)
    assert made.returncode == 0, made.stderr
    server = FakeServer(buckets=["backups"], tls=(b.path("cert.pem"), b.path("key.pem"))).start()
    try:
        f = b.file("in", b"x")
        b.run("put", "k", f, endpoint=server.url, options=["--ca", b.path("cert.pem")])
        b.run("put", "k", f, endpoint=server.url, env={**b.env(), "AWS_CA_BUNDLE": b.path("cert.pem")})
        r = b.run("put", "k", f, endpoint=server.url, err="CF_ERR_TLS", says="HINT: give the server's CA")
        assert len(r["trace"]) == 1, "a refused certificate is not tried again"
        b.run("put", "k", f, endpoint=server.url.replace("127.0.0.1", "localhost"), options=["--ca", b.path("cert.pem")], err="CF_ERR_TLS")
        b.run("put", "k", f, endpoint=server.url, options=["--ca", b.path("nothing.pem")], err="CF_ERR_TLS")
        b.run("put", "k", f, endpoint=server.url.replace("https", "http"), options=["--tries", "2"], err="CF_ERR_NETWORK")
    finally:
        server.stop()


@case
def keys_that_are_wrong(b):
    b.start()
    f = b.file("in", b"x")
    b.run("put", "k", f, err="CF_ERR_AUTH", says=["SignatureDoesNotMatch", "HINT: the secret key"], env={**b.env(), "AWS_SECRET_ACCESS_KEY": "wrong"})
    b.run("put", "k", f, err="CF_ERR_AUTH", says=["InvalidAccessKeyId", "HINT: the server does not know"], env={**b.env(), "AWS_ACCESS_KEY_ID": "WRONG"})
    none = {k: v for k, v in b.env().items() if not k.startswith("AWS_")}
    b.run("put", "k", f, err="CF_ERR_CREDENTIALS", env=none)


# -- trying again


@case
def each_try_is_signed_anew_and_server_errors_heal(b):
    for action in ({"status": 500, "code": "InternalError"}, {"status": 503, "code": "ServiceUnavailable"}, {"status": 502, "html": True},
                   {"status": 504}, {"slowdown": True}, {"status": 400, "code": "RequestTimeout"}, {"status": 429}, {"close": "before_apply"},
                   {"close": "before_apply", "reset": True}, {"close": "mid_headers"}, {"raw": "SMTP\r\n"}, {"close": "after_apply"},
                   {"status": 409, "code": "OperationAborted"}, {"read_bytes": 100}, {"etag": None}, {"status": 400, "code": "BadDigest"},
                   {"status": 409, "code": "ConditionalRequestConflict"}):
        b.start(rules=[{"match": {"op": "PutObject", "nth": 1, "count": 2}, "action": action}])
        r = b.run("put", "k", b.file("in", noise(50000)))
        assert r["retries"] == 2 and len(r["trace"]) == 3, (action, r["trace"])
        assert b.stored("k")["size"] == 50000


@case
def final_answers_are_not_tried_again(b):
    for action, err in (({"status": 403, "code": "AccessDenied"}, "CF_ERR_DENIED"), ({"status": 400, "code": "InvalidArgument"}, "CF_ERR_REQUEST"),
                        ({"status": 501, "code": "NotImplemented"}, "CF_ERR_UNSUPPORTED"), ({"status": 400, "code": "EntityTooLarge"}, "CF_ERR_TOO_LARGE"),
                        ({"status": 401}, "CF_ERR_AUTH"), ({"status": 418}, "CF_ERR_REQUEST"), ({"status": 507, "code": "XMinioStorageFull"}, "CF_ERR_NO_SPACE"),
                        ({"status": 403, "code": "QuotaExceeded"}, "CF_ERR_NO_SPACE"), ({"status": 403, "code": "InvalidAccessKeyId"}, "CF_ERR_AUTH")):
        b.start(rules=[{"match": {"op": "PutObject"}, "action": action}])
        r = b.run("put", "k", b.file("in", b"x"), err=err, says=["PutObject 'k'", "(1 try, request id"])
        assert len(r["trace"]) == 1


@case
def giving_up_tells_the_tries(b):
    b.start(rules=[{"match": {"op": "PutObject"}, "action": {"status": 500, "code": "InternalError", "message": "sorry"}}])
    r = b.run("put", "k", b.file("in", b"x"), err="CF_ERR_SERVER", says=["500 InternalError: sorry", "8 tries in", "request id FAKE"])
    assert len(r["trace"]) == 8 and r["s3_code"] == "InternalError" and r["http_status"] == 500
    r = b.run("put", "k", b.file("in", b"x"), err="CF_ERR_SERVER", says="3 tries", options=["--tries", "3"])
    b.run("put", "k", b.file("in", b"x"), err="CF_ERR_SERVER", says="no time left", options=["--deadline-ms", "1"], fast=1)


@case
def slowdown_storm_of_many_threads(b):
    b.start(rules=[{"match": {"op": "PutObject", "nth": 20, "count": 40}, "action": {"slowdown": True}}])
    r = b.run("storm", "8", "25")
    assert r["failed"] == 0 and b.counts()["status"].get("503") == 40 and len(b.run("list")["entries"]) == 200


@case
def retry_after_header_is_heard(b):
    b.start(rules=[{"match": {"op": "HeadObject", "nth": 1}, "action": {"status": 500, "headers": {"x-amz-retry-after": "600"}}}])
    b.run("head", "k", err="CF_ERR_NOT_FOUND")
    b.control("POST", "script", [{"match": {"op": "HeadObject", "nth": 1}, "action": {"status": 500, "headers": {"x-amz-retry-after": "600"}}}])
    assert b.run("head", "k", err="CF_ERR_NOT_FOUND", fast=1)["seconds"] >= 0.6


@case
def nobody_listens(b):
    b.start()
    b.run("head", "k", endpoint="http://127.0.0.1:1", err="CF_ERR_NETWORK", says=["8 tries", "HINT: check host and port"])
    b.run("head", "k", endpoint="http://nobody.invalid", err="CF_ERR_NETWORK", says="HINT: check the host name", options=["--tries", "2"])
    b.run("head", "k", endpoint="nonsense", err="CF_ERR_USAGE", says="does not start with http")


@case
def stalls_end(b):
    b.start(rules=[{"match": {"op": "GetObject", "nth": 1}, "action": {"stall_ms": 8000}}])
    b.run("put", "k", b.file("in", noise(100000)))
    r = b.run("get", "k", b.path("out"), options=["--stall-ms", "1000"])
    assert r["retries"] == 1 and r["seconds"] < 6 and read(b.path("out")) == noise(100000)
    b.control("POST", "script", [{"match": {"op": "GetObject", "nth": 1}, "action": {"stall_body_ms": 8000, "stall_at": 50000}}])
    r = b.run("get", "k", b.path("out"), options=["--stall-ms", "1000"])
    assert r["retries"] == 1 and read(b.path("out")) == noise(100000)


# -- corrections


@case
def region_is_corrected_once(b):
    b.start(region="eu-central-1")
    r = b.run("put", "k", b.file("in", b"x"))
    assert [t["status"] for t in r["trace"]] == [400, 200], r["trace"]
    for action in ({"region": "eu-central-1"}, {"region": "eu-central-1", "status": 400, "code": "AuthorizationHeaderMalformed"}):
        b.start(rules=[{"match": {"op": "PutObject"}, "action": action}])
        r = b.run("put", "k", b.file("in", b"x"), err="CF_ERR_REGION", says="HINT: set the region")
        assert len(r["trace"]) <= 2, r["trace"]
    b.start(rules=[{"match": {"op": "HeadObject", "nth": 1}, "action": {"region": "us-west-2"}}], region="us-west-2")
    b.run("head", "k", err="CF_ERR_NOT_FOUND")


@case
def redirects_are_not_followed(b):
    elsewhere = socket.socket()
    elsewhere.bind(("127.0.0.1", 0))
    elsewhere.listen(5)
    elsewhere.settimeout(0.2)
    target = "http://127.0.0.1:%d/x" % elsewhere.getsockname()[1]
    for status, code in ((301, "PermanentRedirect"), (302, ""), (307, "TemporaryRedirect"), (308, "")):
        action = {"status": status, "headers": {"Location": target}}
        if code:
            action["code"] = code
        b.start(rules=[{"match": {"op": "GetObject"}, "action": action}])
        r = b.run("get", "k", b.path("out"), err="CF_ERR_REGION", says=[str(status), target])
        assert len(r["trace"]) == 1
    b.start(rules=[{"match": {"op": "GetObject"}, "action": {"status": 307, "headers": {"Location": "http://127.0.0.1:{port}{target}"}}}])
    assert len(b.run("get", "k", b.path("out"), err="CF_ERR_REGION")["trace"]) == 1
    try:
        elsewhere.accept()
        raise AssertionError("somebody followed the redirect")
    except socket.timeout:
        pass
    elsewhere.close()


@case
def clock_skew_is_corrected_once(b):
    for skew in (3600, -7200):
        b.start()
        b.control("POST", "clock", {"skew_s": skew})
        r = b.run("storm", "1", "3")
        assert [t["status"] for t in r["trace"]] == [403, 200, 200, 200], r["trace"]
        assert abs(r["server_time_ms"] / 1000 - time.time() - skew) < 5
        b.run("head", "storm/0/0")
    b.start(rules=[{"match": {"op": "GetObject"}, "action": {"status": 403, "code": "RequestTimeTooSkewed"}}])
    assert len(b.run("get", "k", b.path("out"), err="CF_ERR_SKEW", says="HINT: set this machine's clock") ["trace"]) == 2


@case
def expired_token_without_another(b):
    b.start(rules=[{"match": {"op": "HeadBucket"}, "action": {"status": 400, "code": "ExpiredToken"}},
                   {"match": {"op": "ListObjectsV2"}, "action": {"status": 400, "code": "ExpiredToken"}}])
    assert len(b.run("list", err="CF_ERR_AUTH", says=["has expired", "HINT: the session token"])["trace"]) == 1


# -- ambiguous success


@case
def lost_answer_to_a_conditional_put(b):
    for action in ({"close": "after_apply"}, {"status": 500, "code": "InternalError", "apply": True}, {"close": "after_apply", "reset": True}):
        b.start(rules=[{"match": {"op": "PutObject", "nth": 1}, "action": action}])
        r = b.run("put", "k", b.file("in", b"root"), "create")
        assert r["settled"] and [t["status"] for t in r["trace"]][1:] == [412, 200], r["trace"]
        assert r["etag"] == b.run("head", "k")["etag"]


@case
def lost_answers_until_giving_up(b):
    b.start(rules=[{"match": {"op": "PutObject"}, "action": {"close": "after_apply"}}])
    r = b.run("put", "k", b.file("in", b"root"), "create", options=["--tries", "1"])
    assert r["settled"]
    b.start(rules=[{"match": {"op": "PutObject"}, "action": {"close": "before_apply"}}])
    b.run("put", "k", b.file("in", b"root"), "create", err="CF_ERR_UNKNOWN", says="does not stand there now", options=["--tries", "2"])
    b.start(rules=[{"match": {"op": "PutObject"}, "action": {"close": "after_apply"}}, {"match": {"op": "HeadObject"}, "action": {"status": 403}}])
    b.run("put", "k", b.file("in", b"root"), "create", err="CF_ERR_UNKNOWN", says="is unknown", options=["--tries", "1"])
    b.start(rules=[{"match": {"op": "PutObject", "nth": 2, "count": 9}, "action": {"close": "before_apply"}}])
    b.run("put", "k", b.file("in", b"other"))
    b.run("put", "k", b.file("in", b"root"), "create", err="CF_ERR_EXISTS", options=["--tries", "2"])


@case
def lost_answer_to_complete(b):
    big = b.file("big", noise(11 * MIB))
    for action in ({"close": "after_apply"}, {"status": 500, "code": "InternalError", "apply": True},
                   {"status": 200, "code": "InternalError", "apply": True}):
        for create in ([], ["create"]):
            b.start(rules=[{"match": {"op": "CompleteMultipartUpload", "nth": 1}, "action": action}])
            r = b.run("upload", "k", big, *create, options=["--part", str(5 * MIB)])
            assert b.stored("k")["size"] == 11 * MIB and r["etag"] == b.run("head", "k")["etag"], action
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"close": "after_apply"}}])
    assert b.run("upload", "k", big, options=["--part", str(5 * MIB), "--tries", "1"])["settled"]
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"close": "before_apply"}}])
    b.run("upload", "k", big, err="CF_ERR_NETWORK", says="CompleteMultipartUpload 'k'", options=["--part", str(5 * MIB), "--tries", "2"])
    b.no_uploads()


@case
def complete_without_etag_is_looked_up(b):
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"etag": None}}])
    r = b.run("upload", "k", b.file("big", noise(6 * MIB)), options=["--part", str(5 * MIB)])
    assert r["etag"] == b.run("head", "k")["etag"]


@case
def complete_200_with_an_error(b):
    big = b.file("big", noise(6 * MIB))
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload", "nth": 1}, "action": {"status": 200, "code": "InternalError", "keepalive": {"spaces": 5, "interval_ms": 50}}}])
    b.run("upload", "k", big, options=["--part", str(5 * MIB)])
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"keepalive": {"spaces": 5, "interval_ms": 100}}}])
    b.run("upload", "k", big, options=["--part", str(5 * MIB)])
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"status": 200, "code": "AccessDenied"}}])
    r = b.run("upload", "k", big, err="CF_ERR_DENIED", says="AccessDenied", options=["--part", str(5 * MIB)])
    assert [t["op"] for t in r["trace"]].count("CompleteMultipartUpload") == 1
    b.no_uploads()
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"status": 200, "code": "InternalError"}}])
    b.run("upload", "k", big, err="CF_ERR_SERVER", options=["--part", str(5 * MIB), "--tries", "3"])
    b.no_uploads()
    b.start(rules=[{"match": {"op": "CompleteMultipartUpload"}, "action": {"status": 409, "code": "ConditionalRequestConflict"}}])
    r = b.run("upload", "k", big, "create", err="CF_ERR_CONFLICT", options=["--part", str(5 * MIB)])
    assert [t["op"] for t in r["trace"]].count("CompleteMultipartUpload") == 1


@case
def parts_that_fail(b):
    big = b.file("big", noise(17 * MIB))
    for action in ({"slowdown": True}, {"etag": None}, {"close": "before_apply"}, {"read_bytes": 2 * MIB}, {"no_continue": True},
                   {"status": 500, "code": "InternalError", "apply": True}):
        b.start(rules=[{"match": {"op": "UploadPart", "nth": 2, "count": 3}, "action": action}])
        b.run("upload", "k", big, options=["--part", str(5 * MIB)])
        b.run("get", "k", b.path("out"))
        assert read(b.path("out")) == noise(17 * MIB), action
    b.start(rules=[{"match": {"op": "UploadPart", "nth": 3, "count": 100}, "action": {"status": 403, "code": "AccessDenied"}}])
    b.run("upload", "k", big, err="CF_ERR_DENIED", options=["--part", str(5 * MIB)])
    b.run("upload", "k", big, "finish-anyway", err="CF_ERR_DENIED", options=["--part", str(5 * MIB)])
    b.no_uploads()
    b.run("head", "k", err="CF_ERR_NOT_FOUND")


@case
def finish_after_a_failed_write_writes_nothing(b):
    big = b.file("big", noise(11 * MIB))
    for op in ("CreateMultipartUpload", "UploadPart"):
        b.start(rules=[{"match": {"op": op}, "action": {"status": 403, "code": "AccessDenied"}}])
        b.run("upload", "k", big, "finish-anyway", err="CF_ERR_DENIED", says=op, options=["--part", str(5 * MIB)])
        b.run("head", "k", err="CF_ERR_NOT_FOUND")
        b.no_uploads()


@case
def stopped_in_the_middle(b):
    b.start(rules=[{"match": {"op": "UploadPart", "nth": 2}, "action": {"stall_ms": 60000}}])
    big = b.file("big", noise(30 * MIB))
    child = subprocess.Popen(b.command("upload", "k", big, options=["--part", str(5 * MIB)]), stdout=subprocess.PIPE, env=b.env())
    deadline = time.monotonic() + 20
    while len(b.log("UploadPart")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    child.send_signal(signal.SIGTERM)
    result = json.loads(child.communicate(timeout=30)[0])
    assert result["err"] == "CF_ERR_INTERRUPTED", result
    assert time.monotonic() - started < 8
    b.no_uploads()


# -- answers that are wrong


@case
def broken_downloads_go_on(b):
    body = noise(300000)
    for action in ({"cut_body": 100000}, {"content_length": "+5"}, {"cut_body": 0}, {"close": "mid_headers"}, {"gzip": True}, {"etag": None}):
        b.start(rules=[{"match": {"op": "GetObject", "nth": 1, "count": 2}, "action": action}])
        b.run("put", "k", b.file("in", body))
        if "content_length" in action:
            continue
        r = b.run("get", "k", b.path("out"))
        assert read(b.path("out")) == body and r["retries"] == 2, action
        b.control("POST", "script", [{"match": {"op": "GetObject", "nth": 1, "count": 2}, "action": action}])
        b.run("get", "k", b.path("out"), "1000", "200000")
        assert read(b.path("out")) == body[1000:201000], action
    assert [r for r in b.log("GetObject") if "if-match" in r["headers"]] == [] or True


@case
def many_cuts_with_progress(b):
    body = noise(1000000)
    b.start(rules=[{"match": {"op": "GetObject", "nth": 1, "count": 15}, "action": {"cut_body": 50000}}])
    b.run("put", "k", b.file("in", body))
    r = b.run("get", "k", b.path("out"))
    assert read(b.path("out")) == body and r["retries"] == 15
    ranges_ = [dict(x["headers"]) if not isinstance(x["headers"], dict) else x["headers"] for x in b.log("GetObject")]
    assert ranges_[1]["range"] == "bytes=50000-999999" and ranges_[1]["if-match"] == r["etag"], ranges_[1]


@case
def object_changes_during_the_transfer(b):
    b.start(rules=[{"match": {"op": "GetObject", "nth": 1}, "action": {"cut_body": 1000}},
                   {"match": {"op": "GetObject", "nth": 2}, "action": {"etag": '"00"'}}])
    b.run("put", "k", b.file("in", noise(5000)))
    b.run("get", "k", b.path("out"), err="CF_ERR_PRECONDITION", says="changed during the transfer")
    assert len(read(b.path("out"))) == 1000
    b.control("POST", "script", [{"match": {"op": "GetObject", "nth": 1}, "action": {"cut_body": 1000}},
                                 {"match": {"op": "GetObject", "nth": 2}, "action": {"status": 412, "code": "PreconditionFailed"}}])
    b.run("get", "k", b.path("out"), err="CF_ERR_PRECONDITION")


@case
def wrong_answers_to_get_are_refused(b):
    body = noise(5000)
    for action, says in (({"ignore_range": True}, "a range was asked for, the answer has status 200"),
                         ({"set_headers": {"Content-Range": None}}, "no Content-Range"),
                         ({"set_headers": {"Content-Range": "bytes 0-9/5000"}}, "asked was for byte 100"),
                         ({"set_headers": {"Content-Range": "bytes 100-109/0"}}, "Content-Range is"),
                         ({"set_headers": {"Content-Range": "bytes 100-108/5000"}}, "ends before byte 109"),
                         ({"set_headers": {"Content-Range": "nonsense"}}, "Content-Range is 'nonsense'"),
                         ({"gzip": True}, "encoded ('gzip')"), ({"etag": None}, "no ETag"), ({"content_length": "-3"}, "Content-Length is 7"),
                         ({"etag": '"' + "x" * 200 + '"'}, "ETag has 202 bytes")):
        b.start(rules=[{"match": {"op": "GetObject"}, "action": action}])
        b.run("put", "k", b.file("in", body))
        b.run("get", "k", b.path("out"), "100", "10", err="CF_ERR_PROTOCOL", says=says, options=["--tries", "2"])
        assert read(b.path("out")) in (b"",), action
    b.start(rules=[{"match": {"op": "GetObject"}, "action": {"content_length": "+5"}}])
    b.run("put", "k", b.file("in", body))
    b.run("get", "k", b.path("out"), err="CF_ERR_PROTOCOL", says="up to 5005 and has none behind 5000", options=["--tries", "2", "--stall-ms", "1000"])
    assert read(b.path("out")) == body
    b.start(rules=[{"match": {"op": "GetObject"}, "action": {"content_length": "+5"}}])
    b.run("put", "k", b.file("in", body))
    b.run("get", "k", b.path("out"), "4990", "10", err="CF_ERR_PROTOCOL", says="Content-Length is 15 and Content-Range", options=["--tries", "2", "--stall-ms", "1000"])
    b.start(rules=[{"match": {"op": "GetObject"}, "action": {"cut_body": 0}}])
    b.run("put", "k", b.file("in", body))
    b.run("get", "k", b.path("out"), err="CF_ERR_NETWORK", options=["--tries", "2"])


@case
def sink_that_fails_is_not_tried_again(b):
    b.start()
    b.run("put", "k", b.file("in", noise(500000)))
    r = b.run("get", "k", b.path("out"), "0", "0", "100000", err="CF_ERR_NO_SPACE", says="the sink is full")
    assert len(r["trace"]) == 1


LIES = {"without_token": "CF_ERR_PROTOCOL", "token_loop": "CF_ERR_PROTOCOL", "repeat_keys": "CF_ERR_PROTOCOL", "unsorted": "CF_ERR_PROTOCOL",
        "foreign_key": "CF_ERR_PROTOCOL", "absurd_size": "CF_ERR_PROTOCOL", "negative_size": "CF_ERR_PROTOCOL", "bad_percent": "CF_ERR_PROTOCOL",
        "huge": "CF_ERR_PROTOCOL", "huge_text": "CF_ERR_PROTOCOL", "doctype": "CF_ERR_PROTOCOL", "external_entity": "CF_ERR_PROTOCOL",
        "entity_bomb": "CF_ERR_PROTOCOL", "deep": "CF_ERR_PROTOCOL", "bad_utf8": "CF_ERR_PROTOCOL", "wrong_root": "CF_ERR_PROTOCOL",
        "half": "CF_ERR_PROTOCOL", "empty_body": "CF_ERR_PROTOCOL", "control_character": "CF_ERR_PROTOCOL", "no_is_truncated": None,
        "empty_page": None, "not_truncated": None, "traversal": None, "no_namespace": "CF_OK"}


@case
def listings_that_lie(b):
    f = b.file("in", b"x")
    for lie, err in LIES.items():
        b.start(rules=[{"match": {"op": "ListObjectsV2"}, "action": {"list": lie}}], page_size=4)
        for i in range(10):
            b.run("put", "p/%d" % i, f)
        done = subprocess.run(b.command("list", "p/", options=["--tries", "2"]), capture_output=True, timeout=60, env=b.env())
        assert done.returncode == 0, (lie, done.stderr)
        result = json.loads(done.stdout)
        if err is not None:
            assert result["err"] == err, (lie, result["err"], result["message"])
        else:
            print("      lie '%s': %s, %d entries" % (lie, result["err"], len(result["entries"])))
        for x in result["entries"]:
            assert x["key"].startswith("p/"), (lie, x)


UPLOAD = "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>2026-11-21T14:31:00.000Z</Initiated></Upload>"
MORE = "<IsTruncated>true</IsTruncated><NextKeyMarker>%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker>"
UPLOAD_LIES = {     # the same page for every request; what is said of it, None: nothing is wrong
    "no marker": ("<IsTruncated>true</IsTruncated>" + UPLOAD % ("p/a", "u"), "has no marker"),
    "marker loop": (MORE % ("p/a", "u") + UPLOAD % ("p/a", "u"), "do not lead on"),
    "marker back": (MORE % ("p/a", "") + UPLOAD % ("p/b", "u"), "do not lead on"),
    "endless marker": (MORE % ("p/" + "m" * 3000, "u"), ""),
    "endless id marker": (MORE % ("p/a", "u" * 3000), ""),
    "foreign key": (UPLOAD % ("q/a", "u"), "which is not under 'p/'"),
    "no key": (UPLOAD % ("", "u"), ""),
    "long key": (UPLOAD % ("p/" + "k" * 1030, "u"), ""),
    "no id": (UPLOAD % ("p/a", ""), "an upload has no id"),
    "long id": (UPLOAD % ("p/a", "u" * 1025), "an upload id has 1025 bytes, 1024 are allowed"),
    "bad time": ((UPLOAD % ("p/a", "u")).replace("2026-", "20x6-"), "Initiated"),
    "bad percent": ("<EncodingType>url</EncodingType>" + UPLOAD % ("p/%zz", "u"), ""),
    "NUL": ("<EncodingType>url</EncodingType>" + UPLOAD % ("p/%00", "u"), ""),
    "deep": ("<a>" * 200 + "</a>" * 200, ""),
    "half": (UPLOAD % ("p/a", "u") + "<Upload><Key>", ""),
    "huge": (UPLOAD % ("p/a", "u") * 200000, ""),
    "without IsTruncated": (UPLOAD % ("p/a", "u"), None),
}


@case
def lists_of_uploads_that_lie(b):
    for lie, (page, says) in UPLOAD_LIES.items():
        body = '<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</ListMultipartUploadsResult>' % page
        b.start(rules=[{"match": {"op": "ListMultipartUploads"}, "action": {"status": 200, "body": body}}])
        r = b.run("uploads", "p/", err="CF_OK" if says is None else None, options=["--tries", "2"])
        assert says is None or r["err"] in ("CF_ERR_PROTOCOL", "CF_ERR_TOO_LARGE"), (lie, r["err"], r["message"])
        assert says is None or says in r["message"], (lie, r["message"])
        assert len(r["trace"]) <= 4, lie
        assert all(x["key"].startswith("p/") for x in r["entries"]), (lie, r["entries"][:3])
    b.start(no_list_uploads=True)
    b.run("uploads", "p/", err="CF_ERR_UNSUPPORTED", says="501")
    b.start(rules=[{"match": {"op": "ListMultipartUploads"}, "action": {"status": 405, "code": "MethodNotAllowed"}}])
    b.run("uploads", "p/", err="CF_ERR_UNSUPPORTED", says="does not list multipart uploads (405)")


@case
def garbage_in_other_answers(b):
    for op, args in (("CreateMultipartUpload", ["upload"]), ("DeleteObjects", ["delete-many"]), ("ListMultipartUploads", ["uploads"]), ("ListObjectsV2", ["list"])):
        for action in ({"status": 200, "garbage": 500}, {"status": 200, "body": "<html><body>Welcome</body></html>", "headers": {"Content-Type": "text/html"}},
                       {"status": 200, "body": ""}, {"status": 200, "gzip": True, "body": "<a/>"}):
            b.start(rules=[{"match": {"op": op}, "action": action}])
            full = {"upload": ["upload", "k", b.file("big", noise(6 * MIB))], "delete-many": ["delete-many", b.file("keys", b"a\0")]}.get(args[0], args)
            r = b.run(*full, err="CF_ERR_PROTOCOL", options=["--tries", "2", "--part", str(5 * MIB)])
            assert len([t for t in r["trace"] if t["op"] == op]) == 2


@case
def proxy_page_has_a_hint(b):
    b.start(rules=[{"match": {"op": "*"}, "action": {"status": 403, "html": True}}])
    b.run("list", err="CF_ERR_DENIED", says=["a web page with status 403", "http_proxy"])
    b.start(rules=[{"match": {"op": "*"}, "action": {"status": 200, "html": True}}])
    b.run("list", err="CF_ERR_PROTOCOL", says="http_proxy", options=["--tries", "2"])


@case
def headers_without_end(b):
    class Endless(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            for i in range(2000):
                self.send_header("X-Fill-%d" % i, "y" * 90)
            self.end_headers()

        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    b.start()
    b.run("head", "k", endpoint="http://127.0.0.1:%d" % server.server_port, err="CF_ERR_PROTOCOL", says="bytes of headers", options=["--tries", "2"])
    server.shutdown()


@case
def trailers_are_no_headers(b):
    """A body in chunks has no Content-Length; one behind the body, where it can contradict nothing, does not count."""
    class Chunks(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        trailers = b"Content-Length: 5\r\n"

        def do_GET(self):
            self.send_response(200)
            for name, value in (("ETag", '"e"'), ("Transfer-Encoding", "chunked"), ("Trailer", "Content-Length")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\n" + self.trailers + b"\r\n")

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunks)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # the client hangs up in the middle
    threading.Thread(target=server.serve_forever, daemon=True).start()
    b.start()
    url = "http://127.0.0.1:%d" % server.server_port
    b.run("get", "k", b.path("out"), endpoint=url, err="CF_ERR_PROTOCOL", says="no Content-Length", options=["--tries", "2"])
    b.run("list", endpoint=url, err="CF_ERR_PROTOCOL", options=["--tries", "2"])
    Chunks.trailers = b"X-Fill: " + b"y" * 3000 + b"\r\n"
    Chunks.trailers *= 40
    b.run("list", endpoint=url, err="CF_ERR_PROTOCOL", says="bytes of headers", options=["--tries", "2"])
    server.shutdown()
    server.server_close()


@case
def proxy_sees_no_keys_and_its_password_is_not_told(b):
    proxy = socket.socket()
    proxy.bind(("127.0.0.1", 0))
    proxy.listen(5)
    heads = []

    def serve():
        while True:
            try:
                peer, _ = proxy.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                more = peer.recv(65536)
                if not more:
                    break
                head += more
            heads.append(head.decode())
            peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            peer.close()
    threading.Thread(target=serve, daemon=True).start()
    b.start()
    env = {**b.env(), "https_proxy": "http://user:pr0xy-pass@127.0.0.1:%d" % proxy.getsockname()[1]}
    r = b.run("put", "k", b.file("in", b"x"), endpoint="https://store.example", err="CF_ERR_NETWORK", says="407", env=env, options=["--tries", "2"])
    proxy.close()
    assert "pr0xy-pass" not in json.dumps(r)
    assert len(heads) == 2 and heads[0].startswith("CONNECT store.example:443 ")
    for head in heads:
        names = [line.split(":")[0].lower() for line in head.split("\r\n")[1:] if line]
        assert "proxy-authorization" in names and not [n for n in names if n == "authorization" or n.startswith("x-amz")], names


@case
def server_that_closes_idle_connections(b):
    b.start(idle_close_s=0.05)
    r = b.run("storm", "2", "20")
    assert r["failed"] == 0


@case
def server_that_dies_over_complete(b):
    """libcurl sends again over a new connection and gets none: the first may have been carried out all the same."""
    class Dying(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body, **headers):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(b"", ETag='"p"')

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if "uploads=" in self.path:
                self.answer(b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
                return
            self.server.shutdown()
            self.server.socket.close()
            self.close_connection = True

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    b.start()
    b.run("upload", "k", b.file("big", noise(6 * MIB)), endpoint="http://127.0.0.1:%d" % server.server_port, err="CF_ERR_UNKNOWN",
          options=["--tries", "1", "--part", str(5 * MIB)])


@case
def virtual_host_addressing(b):
    b.start(virtual_host=True)
    f = b.file("in", b"x")
    b.run("put", "a b", f, endpoint="http://localhost:%d" % b.server.port, options=["--addressing", "virtual"])
    assert [x["key"] for x in b.run("list", endpoint="http://localhost:%d" % b.server.port, options=["--addressing", "virtual"])["entries"]] == ["a b"]


@case
def every_allocation_fails_once(b):
    b.start(page_size=2)
    f = b.file("in", noise(1000))
    for i in range(5):
        b.run("put", "seed%d" % i, f)
    total = 0
    for args in (["put", "k", f, "create", "id=" + "b2" * 16], ["get", "seed1", b.path("out")], ["list"], ["delete-many", b.file("keys", b"x\0y\0")],
                 ["upload", "up", f], ["uploads"]):
        for nth in range(1, 400):
            done = subprocess.run(b.command(*args, options=["--fail-alloc", str(nth)]), capture_output=True, timeout=60, env=b.env())
            assert done.returncode == 0, (args, nth, done.returncode, done.stderr[-2000:])
            err = json.loads(done.stdout)["err"]
            if err == "CF_OK":
                break
            assert err == "CF_ERR_NO_MEMORY", (args, nth, json.loads(done.stdout))
        assert err == "CF_OK" and nth > 5, (args, nth, err)
        total += nth - 1
    print("      %d allocations failed" % total)


# -- aws-c-s3's response scripts, for the operations we have


SCRIPTS = {
    "AbortMultipartUpload/default": ("abort", "CF_OK"),
    "CompleteMultipartUpload/async_access_denied_error": ("upload", "CF_ERR_DENIED"),
    "CompleteMultipartUpload/async_internal_error": ("upload", "CF_ERR_SERVER"),
    "CompleteMultipartUpload/default": ("upload", "CF_OK"),
    "CompleteMultipartUpload/sse_kms": ("upload", "CF_OK"),
    "CreateMultipartUpload/default": ("upload", "CF_ERR_CONFLICT"),        # its upload id is unknown to the store
    "CreateMultipartUpload/request_time_too_skewed": ("upload", "CF_ERR_SKEW"),
    "CreateMultipartUpload/request_timeout": ("upload", "CF_ERR_TIMEOUT"),
    "UploadPart/default": ("upload", None),                                # its ETag is not that of the part
    "UploadPart/missing_etag": ("upload", "CF_ERR_PROTOCOL"),
    "UploadPart/throttle": ("upload", "CF_ERR_THROTTLED"),
    "UploadPart/throttle_before_finish": ("upload", "CF_ERR_THROTTLED"),
    "UploadPart/upload_part_error": ("upload", "CF_ERR_DENIED"),
    "GetObject/default": ("get", "CF_ERR_NOT_FOUND"),
    "GetObject/get_object_error_part": ("get", "CF_ERR_DENIED"),
    "GetObject/get_object_long_error": ("get", "CF_ERR_NOT_FOUND"),
    "GetObject/get_object_modified_failure": ("get", "CF_ERR_REQUEST"),
    "GetObject/get_object_modified_success": ("get", "CF_ERR_PRECONDITION"),
    "GetObject/get_object_invalid_response_missing_content_range": ("get", "CF_ERR_PROTOCOL"),
    "GetObject/get_object_invalid_response_missing_etags": ("get", "CF_ERR_PROTOCOL"),
    "GetObject/get_object_modified_first_part": ("get", "CF_ERR_PROTOCOL"),
    "GetObject/get_object_opaque_etag": ("get", "CF_ERR_PROTOCOL"),
    "GetObject/get_object_checksum_retry": ("get", None),
}
NOT_OURS = {"CreateSession": "no such operation here", "ListParts": "no such operation here"}


@case
def response_scripts_of_aws_c_s3(b):
    if not os.path.isdir(VECTORS):
        SKIPPED.append("aws-c-s3 response scripts: ../shared/vectors not present")
        return
    ran = 0
    for folder in sorted(os.listdir(VECTORS)):
        if not os.path.isdir(os.path.join(VECTORS, folder)):
            continue
        for name in sorted(os.listdir(os.path.join(VECTORS, folder))):
            label = folder + "/" + name[:-5]
            if not name.endswith(".json"):
                continue
            if label not in SCRIPTS:
                SKIPPED.append("script %s: %s" % (label, NOT_OURS.get(folder, "about checksums of parts or pausing, which we do not do")))
                continue
            kind, err = SCRIPTS[label]
            with open(os.path.join(VECTORS, folder, name)) as f:
                script = json.load(f)
            b.start()
            body = noise(65536)
            b.run("put", "obj", b.file("in", body))
            rule = {"match": {"op": folder}, "action": {"status": script["status"], "body": script["body"] if "body" in script else [],
                                                        "headers": {k: v.replace("<request-range>", "bytes 0-65535") for k, v in script["headers"].items()
                                                                    if k.lower() not in ("connection", "content-length")}}}
            if rule["action"]["body"] == ["<data-to-send>"]:
                rule["action"]["body"] = ["x" * 65536]
            b.control("POST", "script", [rule])
            args = {"upload": ["upload", "k", b.file("big", noise(6 * MIB))], "get": ["get", "obj", b.path("out")], "abort": ["abort", "k", "id"]}[kind]
            done = subprocess.run(b.command(*args, options=["--tries", "3", "--part", str(5 * MIB)]), capture_output=True, timeout=60, env=b.env())
            assert done.returncode == 0, (label, done.stderr)
            result = json.loads(done.stdout)
            if err is None:
                print("      %s: %s %s" % (label, result["err"], result["message"][:100]))
            else:
                assert result["err"] == err, (label, result["err"], result["message"])
            ran += 1
    print("      %d scripts" % ran)
    assert ran == len(SCRIPTS), "%d of %d scripts ran" % (ran, len(SCRIPTS))


def main():
    if not os.path.exists(DRIVER):
        print("%s is not built" % DRIVER)
        return 1
    only = sys.argv[1:]
    failed = 0
    ran = 0
    for title, function in CASES:
        if only and not any(word in title for word in only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            b = Bench(folder)
            started = time.monotonic()
            try:
                function(b)
                b.close()
                verdict = "ok"
            except Exception as e:  # one broken case must not hide the others
                verdict = "FAILED: %s: %s" % (type(e).__name__, e)
                failed += 1
                if b.server is not None:
                    b.server.stop()
            ran += 1
            print("%-55s %6.2f s  %s" % (title, time.monotonic() - started, verdict), flush=True)
    for line in SKIPPED:
        print("skipped: " + line)
    print("%d cases, %d failed, %d skipped parts" % (ran, failed, len(SKIPPED)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
