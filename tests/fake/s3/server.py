#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A strict, scriptable S3 server on 127.0.0.1: the program and the class FakeServer. README.md is its manual."""

import argparse
import collections
import copy
import json
import os
import socket
import ssl
import sys
import threading
import time
import traceback
from urllib.parse import unquote

if __package__ in (None, ""):  # started by path: make the folder above importable, and the modules here only as s3.x
    sys.dont_write_bytecode = True
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from s3 import faults, ops, xmlout
from s3.http1 import BadRequest, Connection, Gone, Response, head_bytes, pieces_of
from s3.sigv4 import AuthError, Credentials, Verifier, query_pairs
from s3.store import S3Error, Store

DRAIN_MAX = 8 * 1024 * 1024     # a refused body up to this size is read, so that the connection can be kept
IDLE_CLOSE_S = 60
RECORDS_MAX = 100000            # records kept in memory; --log keeps all of them


class Options:
    """What a FakeServer can be told; the same names as on the command line."""

    def __init__(self, **given):
        self.port = 0
        self.region = "us-east-1"
        self.access_key = "FAKEACCESSKEY0000000"
        self.secret_key = "fake/secret+key/0123456789abcdefghijklmn"
        self.session_token = ""
        self.clients = {}               # further access keys -> their secrets: several clients told apart
        self.no_conditional = False     # If-None-Match and If-Match of a write are ignored, as by a lesser server
        self.racy_versions = False      # in a versioned bucket several creates at once all win, as on Ceph RGW
        self.minio_markers = False      # key markers of ListObjectVersions have words behind the key, as MinIO's
        self.no_list_uploads = False    # ListMultipartUploads is 501
        self.delete_body_max = None     # bytes; a larger DeleteObjects is 413
        self.tls = None                 # (certificate file, key file)
        self.virtual_host = False
        self.domain = "localhost"
        self.log = None
        self.root = None
        self.page_size = 1000
        self.part_min = 5 * 1024 * 1024
        self.idle_close_s = IDLE_CLOSE_S
        self.seed = 1
        self.rules = []
        self.buckets = []               # made at the start
        self.versioned = []             # buckets, made at the start with versioning on
        self.object_lock = []           # "BUCKET", "BUCKET:GOVERNANCE:SECONDS", "BUCKET:COMPLIANCE:SECONDS": with Object Lock
        for name, value in given.items():
            if not hasattr(self, name):
                raise TypeError("unknown option '%s'" % name)
            setattr(self, name, value)


class Journal:
    """What happened so far: one record a request, and sums."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.clear()

    def clear(self):
        with self.lock:
            self.records = collections.deque(maxlen=RECORDS_MAX)
            self.counts = {"requests": 0, "connections": 0, "fake_bugs": 0, "ops": {}, "status": {}, "codes": {},
                           "bytes_uploaded": 0, "bytes_downloaded": 0}

    def add(self, record):
        with self.lock:
            counts = self.counts
            counts["requests"] += 1
            record["n"] = counts["requests"]
            self.records.append(record)
            counts["bytes_uploaded"] += record["bytes_in"]
            counts["bytes_downloaded"] += record["bytes_out"]
            for name, value in (("ops", record["op"]), ("status", str(record["status"])), ("codes", record["code"])):
                if value:
                    counts[name][value] = counts[name].get(value, 0) + 1
            if self.file:
                self.file.write(json.dumps(record) + "\n")
                self.file.flush()

    def correct(self, record, bytes_out):
        """The client went away before it had everything."""
        with self.lock:
            self.counts["bytes_downloaded"] += bytes_out - record["bytes_out"]
            record["bytes_out"] = bytes_out

    def bug(self):
        with self.lock:
            self.counts["fake_bugs"] += 1

    def connection(self):
        with self.lock:
            self.counts["connections"] += 1
            return self.counts["connections"]

    def all_records(self):
        with self.lock:
            return list(self.records)

    def all_counts(self):
        with self.lock:
            return copy.deepcopy(self.counts)


class Gate:
    """Where held requests wait until they are released."""

    def __init__(self):
        self.condition = threading.Condition()
        self.waiting = 0
        self.opened = 0

    def wait(self):
        with self.condition:
            self.waiting += 1
            turn = self.opened
            self.condition.wait_for(lambda: self.opened != turn, timeout=600)
            self.waiting -= 1

    def release(self):
        with self.condition:
            self.opened += 1
            self.condition.notify_all()


class FakeServer:
    """Start with start(), end with stop(), or use as a context manager."""

    def __init__(self, **given):
        self.options = Options(**given)
        self.credentials = Credentials(self.options.access_key, self.options.secret_key, self.options.session_token)
        self.verifier = Verifier(self.credentials, self.options.region, clients=self.options.clients)
        self.store = Store(self.options.root, self.options.part_min)
        self.operations = ops.Operations(self.store, self.options.region, self.options.page_size, self.now)
        self.script = faults.Script(self.options.rules, self.options.seed)
        self.journal = Journal(self.options.log)
        self.gate = Gate()
        self.skew_s = 0
        self.hook = None            # hook(call, when), when "before_apply" or "after_apply": may sleep, or raise Gone
        self.tls = self._tls_context()
        self.scheme = "https" if self.tls else "http"
        self.socket = None
        self.port = None
        self.open = set()
        self.ids = 0
        self.make_buckets()

    # -- life

    def make_buckets(self):
        """Those of the options, empty."""
        locks = [(text.split(":") + ["", "0"])[:3] for text in self.options.object_lock]
        for name in dict.fromkeys([*self.options.buckets, *self.options.versioned, *(lock[0] for lock in locks)]):
            self.store.create_bucket(name, self.now())
        for name in self.options.versioned:
            self.store.set_versioning(name, "Enabled")
        for name, mode, seconds in locks:
            self.store.set_lock(name, mode, float(seconds))

    def _tls_context(self):
        if not self.options.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.options.tls)
        return context

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % (self.scheme, self.port)

    def now(self):
        return time.time() + self.skew_s

    def start(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.options.port))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self.gate.release()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        for connection in list(self.open):
            connection.close_now()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        number = self.journal.connection()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(self.options.idle_close_s)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
        except (OSError, ssl.SSLError):
            sock.close()
            return
        connection = Connection(sock)
        self.open.add(connection)
        try:
            while Exchange(self, connection, number).run():
                pass
            connection.close()
        except Gone:
            pass
        except Exception:           # a mistake in the fake must neither hang the client nor go unnoticed
            traceback.print_exc()
            self.journal.bug()
        finally:
            connection.close_now()
            self.open.discard(connection)

    def next_id(self):
        self.ids += 1
        return "FAKE%012X" % self.ids


class Exchange:
    """One request and its answer. run() returns whether the connection can be used again."""

    def __init__(self, server, connection, number):
        self.server = server
        self.connection = connection
        self.number = number
        self.fault = faults.Fault({}, None)
        self.call = None
        self.signed = None
        self.left = 0               # bytes of the request's body not yet read
        self.bytes_in = 0
        self.record = None
        self.status = 0
        self.code = ""
        self.request_id = server.next_id()
        self.began_s = 0

    def run(self):
        try:
            request = self.connection.read_head()
        except BadRequest as failure:
            self.began_s = self.server.now()
            self._send(self._refusal(failure.status, failure.code, str(failure)), "GET", close=True)
            return False
        if request is None:
            return False
        if request.path.startswith("/_fake/"):
            return Control(self.server, self.connection, request).run()
        self.began_s = self.server.now()
        self.call = ops.Call(request, self.server.options.domain if self.server.options.virtual_host else None)
        try:
            return self._serve(request)
        finally:
            if self.call.body:
                self.call.body.discard()
            if self.record is None:
                self._record(0)

    # -- the steps

    def _serve(self, request):
        self.fault = self.server.script.pick(self.call)
        self.fault.prepare(self.call)
        self.call.lessen(self.server.options)
        self._maybe_close("before_body")
        try:
            self.left = request.content_length() or 0
            response = self._answer(request)
        except (S3Error, AuthError) as failure:
            response = self._refusal(failure.status, failure.code, failure.message, **failure.details)
        except BadRequest as failure:
            response = self._refusal(failure.status, failure.code, str(failure))
            response.close = True
        except xmlout.BadXml as failure:
            response = self._refusal(400, "MalformedXML", "The XML you provided was not well-formed or did not validate: %s" % failure)
        return self._finish(request, response)

    def _answer(self, request):
        self.signed = self.server.verifier.verify(request, self.server.now())
        ops.check(self.call)
        if self.call.spec.body == "data":
            self.server.store.bucket(self.call.bucket)      # a wrong bucket is said before the body is sent
        if self.left and request.wants_continue() and not self.fault.get("no_continue"):
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "read_bytes" in self.fault.action:
            self._read_some(self.fault.get("read_bytes"))
        self._read_body()
        ops.check_body(self.call, self.signed.payload_hash)
        self._maybe_close("before_apply")
        self._maybe_hold("before_apply")
        self._maybe_delay()
        self._call_hook("before_apply")
        scripted = self.fault.scripted(self.call, self.server)
        if scripted is not None and not self.fault.get("apply"):
            return scripted
        try:
            response = self.server.operations.run(self.call)
        except S3Error:
            self._call_hook("after_apply")
            raise
        self.fault.damage(self.call, self.server.store)
        self._maybe_hold("after_apply")
        self._maybe_delay()
        self._call_hook("after_apply")
        self._maybe_close("after_apply")
        return scripted if scripted is not None else response

    def _read_some(self, count):
        for piece in self.connection.body_pieces(min(count, self.left)):
            self.bytes_in += len(piece)
        self._close()

    def _read_body(self):
        self.call.body = self.server.store.intake(ops.hashes_for(self.call, self.signed.payload_hash))
        for piece in self.connection.body_pieces(self.left):
            self.left -= len(piece)
            self.bytes_in += len(piece)
            self.call.body.add(piece)

    def _maybe_close(self, when):
        if self.fault.get("close") == when:
            self._close()

    def _maybe_hold(self, when):
        if self.fault.get("hold") == when:
            self.server.gate.wait()

    def _maybe_delay(self):
        if "delay_ms" in self.fault.action:
            time.sleep(self.server.script.uniform(*self.fault.get("delay_ms")) / 1000)

    def _call_hook(self, when):
        if self.server.hook is not None:
            self.server.hook(self.call, when)

    def _close(self):
        if self.fault.get("reset"):
            self.connection.reset()
        raise Gone("closed by script")

    def _refusal(self, status, code, message, **details):
        resource = self.call.request.path if self.call else ""
        body = xmlout.error(code, message, self.request_id, resource, **details)
        response = Response(status, [("Content-Type", "application/xml")], body, code)
        if status == 416:
            response.headers.append(("Content-Range", "bytes */%s" % details["ActualObjectSize"]))
        if status in (301, 400) and "Region" in details:
            response.headers.append(("x-amz-bucket-region", details["Region"]))
        return response

    # -- the answer

    def _finish(self, request, response):
        """A body that was not read must not be taken for the next request: read it, or close."""
        if self.left and not request.wants_continue() and self.left <= DRAIN_MAX:
            for piece in self.connection.body_pieces(self.left):
                self.left -= len(piece)
        wants_close = (request.one("connection") or "").lower() == "close" or request.version == "HTTP/1.0"
        close = bool(self.left) or wants_close or response.close
        self._send(response, request.method, close)
        if self.fault.get("close") == "after_answer":
            self._close()
        return not close

    def _send(self, response, method, close):
        fault = self.fault
        if "stall_ms" in fault.action:
            time.sleep(fault.get("stall_ms") / 1000)
        self.status, self.code = response.status, response.code
        if "raw" in fault.action:
            self._record(0)
            self.connection.send(fault.get("raw").encode("latin-1"))
            self._close()
        fault.alter(response, self.call)
        if "keepalive" in fault.action:
            self._send_kept_alive(response, method)
            return
        headers = self._headers(response, close)
        if response.status not in (204, 304) and response.get("content-length") is None:
            headers.append(("Content-Length", fault.length_header(response.length())))
        head = head_bytes(response.status, headers)
        if fault.get("close") == "mid_headers":
            self._record(0)
            self.connection.send(head[:len(head) // 2])
            self._close()
        bodiless = method == "HEAD" or response.status in (204, 304)
        length = 0 if bodiless else min(fault.get("cut_body", response.length()), response.length())
        self._record(length)
        self.connection.send(head)
        self._send_body(response, length)

    def _headers(self, response, close):
        date = ops.http_date(self.server.now() + self.fault.get("date_skew_s", 0))
        headers = [("x-amz-id-2", "fake/" + self.request_id), ("x-amz-request-id", self.request_id), ("Date", date), ("Server", "FakeS3")]
        given = {n.lower() for n, _ in response.headers}
        headers = [(n, v) for n, v in headers if n.lower() not in given] + response.headers
        return headers + ([("Connection", "close")] if close and "connection" not in given else [])

    def _send_body(self, response, length):
        pace = faults.Pace(self.fault, self.connection, length)
        try:
            for piece in pieces_of(response.body, response.start, response.start + length):
                pace.send(piece)
        except Gone:
            self.server.journal.correct(self.record, pace.sent)
            raise
        if "cut_body" in self.fault.action:
            self._close()

    def _send_kept_alive(self, response, method):
        """Status 200 at once, white space while the work goes on, then the document: it may be an <Error>."""
        plan = self.fault.get("keepalive")
        self.status = 200
        headers = self._headers(response, False) + [("Transfer-Encoding", "chunked")]
        body = b"" if method == "HEAD" else response.read_all()
        self._record(len(body))
        self.connection.send(head_bytes(200, headers))
        head, mark, rest = body.partition(b"?>\n")
        pieces = [head + mark] + [b" "] * plan.get("spaces", 3) + [rest]
        for piece in pieces if body else []:
            if piece:
                self.connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(plan.get("interval_ms", 10) / 1000)
        if method != "HEAD":
            self.connection.send(b"0\r\n\r\n")

    def _record(self, bytes_out):
        """Before the answer goes out, so that who has the answer finds the record."""
        call = self.call
        record = {"time": round(self.began_s, 6), "ms": round((self.server.now() - self.began_s) * 1000, 3), "connection": self.number,
                  "status": self.status, "code": self.code, "bytes_in": self.bytes_in, "bytes_out": bytes_out, "rule": self.fault.name,
                  "request_id": self.request_id, "client": "", "op": "", "method": "", "bucket": "", "key": "", "target": "", "signed": [], "headers": {}}
        if call:
            hidden = ("authorization", "x-amz-security-token")
            record.update(client=call.client, op=call.op, method=call.request.method, bucket=call.bucket, key=call.key.decode("utf-8", "replace"),
                          target=call.request.target, signed=self.signed.signed_headers if self.signed else [],
                          headers={n: v for n, v in call.request.headers if n not in hidden})
        self.record = record
        self.server.journal.add(record)


# ---- control -------------------------------------------------------------------------------------------------


class Control:
    """The unsigned side door under /_fake/: scripts, log, counts, clock, damage."""

    def __init__(self, server, connection, request):
        self.server = server
        self.connection = connection
        self.request = request
        self.query = {n.decode(): v.decode() for n, v in query_pairs(request.query)}

    def run(self):
        body = b"".join(self.connection.body_pieces(self.request.content_length() or 0))
        name = "%s_%s" % (self.request.method.lower(), unquote(self.request.path[len("/_fake/"):]))
        action = getattr(self, "do_" + name, None)
        try:
            status, answer = (200, action(body)) if action else (404, {"error": "no control '%s'" % name})
        except (faults.BadScript, S3Error, KeyError, ValueError, TypeError, AttributeError) as failure:
            status, answer = 400, {"error": "%s: %s" % (type(failure).__name__, failure)}
        data = json.dumps(answer).encode() + b"\n"
        self.connection.send(head_bytes(status, [("Content-Type", "application/json"), ("Content-Length", len(data))]) + data)
        return True

    def do_post_script(self, body):
        rules = json.loads(body or b"[]")
        self.server.script.replace(rules["rules"] if isinstance(rules, dict) else rules)
        return {"rules": len(self.server.script.rules)}

    def do_get_script(self, _body):
        return self.server.script.state()

    def do_get_log(self, _body):
        return self.server.journal.all_records()

    def do_get_counts(self, _body):
        return self.server.journal.all_counts()

    def do_post_clock(self, body):
        self.server.skew_s = float(json.loads(body)["skew_s"] if body.lstrip().startswith(b"{") else body)
        return {"skew_s": self.server.skew_s}

    def do_post_reset(self, _body):
        """Everything as at the start, but without buckets other than those of --bucket; the log begins anew."""
        self.server.store.reset()
        self.server.script.replace([])
        self.server.journal.clear()
        self.server.skew_s = 0
        self.server.make_buckets()
        return {}

    def do_post_forget(self, _body):
        """Only the log and the counts begin anew."""
        self.server.journal.clear()
        return {}

    def do_get_held(self, _body):
        return {"held": self.server.gate.waiting}

    def do_post_release(self, _body):
        self.server.gate.release()
        return {}

    def _places(self):
        """The (bucket, key) pairs meant: of the bucket given, or of every bucket that has the key."""
        key = self.query["key"].encode()
        names = [self.query["bucket"]] if "bucket" in self.query else [n for n, b in self.server.store.buckets.items() if key in b.objects]
        if not names:
            raise KeyError(self.query["key"])
        return [(name, key) for name in names]

    def do_delete_object(self, _body):
        for bucket, key in self._places():
            self.server.store.get(bucket, key)
            self.server.store.delete(bucket, key, ops.Conditions())
        return {}

    def do_get_object(self, _body):
        bucket, key = self._places()[0]
        obj = self.server.store.get(bucket, key)
        return {"size": len(obj.blob), "etag": obj.etag, "headers": dict(obj.headers)}

    def do_get_keys(self, _body):
        return {name: [k.decode() for k in b.keys] for name, b in self.server.store.buckets.items()}

    def do_get_versions(self, _body):
        """Of each bucket: [key, version id, "version" or "marker"], the newest of a key first."""
        every = {}
        for name in self.server.store.buckets:
            rows, _ = self.server.store.list_versions(name, b"", b"", "", sys.maxsize)
            every[name] = [[key.decode(), obj.version_id, "marker" if obj.marker else "version"] for key, obj, _ in rows]
        return every

    def do_get_uploads(self, _body):
        return {name: {u.upload_id: u.key.decode() for u in b.uploads.values()} for name, b in self.server.store.buckets.items()}

    def do_post_corrupt(self, _body):
        for bucket, key in self._places():
            self.server.store.flip_bit(bucket, key, int(self.query.get("offset", "0")))
        return {}

    def do_post_truncate(self, _body):
        for bucket, key in self._places():
            self.server.store.truncate(bucket, key, int(self.query["length"]))
        return {}


# ---- the program ---------------------------------------------------------------------------------------------


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="server.py", description="A strict, scriptable S3 server on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one, printed")
    parser.add_argument("--port-file", help="write the port here once the server listens")
    parser.add_argument("--script", action="append", default=[], metavar="FILE.json", help="rules (see README.md); may be repeated")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--access-key")
    parser.add_argument("--secret-key")
    parser.add_argument("--session-token", default="", help="then every request must carry it")
    parser.add_argument("--client", dest="clients", action="append", default=[], metavar="KEY:SECRET",
                        help="a further access key; may be repeated")
    parser.add_argument("--no-conditional", action="store_true", help="ignore If-None-Match and If-Match of writes, as lesser servers do")
    parser.add_argument("--racy-versions", action="store_true", help="in a versioned bucket creates at the same time all win, as on Ceph")
    parser.add_argument("--no-list-uploads", action="store_true", help="ListMultipartUploads is 501")
    parser.add_argument("--delete-body-max", type=int, metavar="BYTES", help="answer a larger DeleteObjects with 413")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--virtual-host", action="store_true", help="the bucket comes from the Host header only")
    parser.add_argument("--domain", default="localhost", help="what follows the bucket in a virtual host")
    parser.add_argument("--log", metavar="FILE.jsonl", help="append one JSON record a request")
    parser.add_argument("--root", metavar="DIR", help="keep the objects' bytes here instead of in memory")
    parser.add_argument("--page-size", type=int, default=1000, help="at most so many entries a page of any listing")
    parser.add_argument("--part-min", type=int, default=5 * 1024 * 1024, help="least size of a part that is not the last")
    parser.add_argument("--idle-close", dest="idle_close_s", type=float, default=IDLE_CLOSE_S, metavar="SECONDS")
    parser.add_argument("--bucket", dest="buckets", action="append", default=[], help="make it at the start; may be repeated")
    parser.add_argument("--versioned", action="append", default=[], metavar="BUCKET", help="make it at the start, with versioning")
    parser.add_argument("--object-lock", action="append", default=[], metavar="BUCKET[:MODE:SECONDS]",
                        help="make it at the start, with Object Lock and perhaps a default retention")
    parser.add_argument("--seed", type=int, default=1, help="of the rules' chances")
    return parser.parse_args(arguments)


def main(arguments):
    given = vars(parse_arguments(arguments))
    port_file = given.pop("port_file")
    given["clients"] = dict(pair.split(":", 1) for pair in given["clients"])
    given["rules"] = [rule for path in given.pop("script") for rule in faults.load(path)]
    server = FakeServer(**{n: v for n, v in given.items() if v is not None}).start()
    if port_file:
        with open(port_file + ".new", "w", encoding="ascii") as file:
            file.write("%d\n" % server.port)
        os.replace(port_file + ".new", port_file)
    print(server.port, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
