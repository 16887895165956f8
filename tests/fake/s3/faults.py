# SPDX-License-Identifier: Apache-2.0
"""Scripted faults: which requests they meet, and what they do to the answer. README.md lists them with examples."""

import base64
import fnmatch
import gzip
import json
import os
import random
import re
import threading
import time

from s3 import xmlout
from s3.http1 import Response

MATCH_KEYS = {"op", "bucket", "client", "key", "query", "nth", "count", "times", "chance"}
ACTION_KEYS = {
    # an answer of the script's own
    "status", "code", "message", "details", "headers", "body", "body_base64", "html", "garbage", "raw", "apply", "region", "slowdown",
    # changes to the real one
    "set_headers", "etag", "content_length", "date_skew_s", "flip_bit", "gzip", "list", "list_size", "keepalive",
    # the connection
    "close", "reset", "read_bytes", "cut_body", "stall_ms", "stall_body_ms", "stall_at", "rate", "slice", "no_continue", "hold", "delay_ms",
    # the store
    "corrupt_stored", "truncate_stored", "ignore_conditions", "ignore_range", "list_lag_s", "delete_errors", "mock",
}
CLOSE_WHEN = ("before_body", "before_apply", "after_apply", "mid_headers", "after_answer")
HOLD_WHEN = ("before_apply", "after_apply")
HTML = ("<html><head><title>%(status)d %(reason)s</title></head><body><center><h1>%(status)d %(reason)s</h1></center>"
        "<hr><center>proxy</center></body></html>\r\n")


class BadScript(Exception):
    """The script names something that does not exist; better refused than silently without effect."""


class Rule:
    """Counts the requests it matches and says for which of them its action is due."""

    def __init__(self, source, index):
        if set(source) - {"match", "action", "name"}:
            raise BadScript("rule %d: unknown field in %s" % (index, sorted(source)))
        self.name = source.get("name", "rule %d" % index)
        self.match = source.get("match", {})
        self.action = check_action(dict(source.get("action", {})), self.name)
        if set(self.match) - MATCH_KEYS:
            raise BadScript("%s: unknown match %s" % (self.name, sorted(set(self.match) - MATCH_KEYS)))
        self.seen = 0
        self.fired = 0

    def fits(self, call):
        wanted = self.match
        ops = wanted.get("op", "*")
        return (any(fnmatch.fnmatchcase(call.op, o) for o in ([ops] if isinstance(ops, str) else ops))
                and wanted.get("bucket", call.bucket) == call.bucket
                and wanted.get("client", call.client) == call.client
                and re.search(wanted.get("key", ""), call.key.decode("utf-8", "replace")) is not None
                and re.search(wanted.get("query", ""), call.request.query) is not None)

    def due(self, chance):
        """To be called once for each request that fits."""
        self.seen += 1
        nth = self.match.get("nth")
        if isinstance(nth, list):
            on = self.seen in nth
        elif nth is not None:
            on = nth <= self.seen < nth + self.match.get("count", 1)
        else:
            on = self.seen <= self.match.get("count", self.seen)
        on = on and self.fired < self.match.get("times", self.fired + 1)
        on = on and chance < self.match.get("chance", 2)
        self.fired += on
        return on


def check_action(action, name):
    if set(action) - ACTION_KEYS:
        raise BadScript("%s: unknown action %s" % (name, sorted(set(action) - ACTION_KEYS)))
    if action.get("close") not in (None,) + CLOSE_WHEN:
        raise BadScript("%s: close is one of %s" % (name, ", ".join(CLOSE_WHEN)))
    if action.get("hold") not in (None,) + HOLD_WHEN:
        raise BadScript("%s: hold is one of %s" % (name, ", ".join(HOLD_WHEN)))
    if action.get("list") not in (None,) + tuple(LIES):
        raise BadScript("%s: list is one of %s" % (name, ", ".join(sorted(LIES))))
    delay = action.get("delay_ms", [0, 0])
    if not isinstance(delay, list) or len(delay) != 2:
        raise BadScript("%s: delay_ms is [least, most]" % name)
    if set(action.get("delete_errors", {"key": "", "code": ""})) - {"message"} != {"key", "code"}:
        raise BadScript("%s: delete_errors has key, code and perhaps message" % name)
    if action.pop("slowdown", False):
        action = {"status": 503, "code": "SlowDown", "message": "Please reduce your request rate.", **action}
    return action


class Script:
    """The rules in force. The first rule that is due wins; every rule that fits counts the request."""

    def __init__(self, rules=(), seed=1):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.replace(rules)

    def replace(self, rules):
        made = [Rule(source, index) for index, source in enumerate(rules)]
        with self.lock:
            self.rules = made

    def pick(self, call):
        with self.lock:
            due = [rule for rule in self.rules if rule.fits(call) and rule.due(self.random.random())]
        return Fault(due[0].action, due[0].name) if due else Fault({}, None)

    def uniform(self, low, high):
        with self.lock:
            return self.random.uniform(low, high)

    def state(self):
        with self.lock:
            return [{"name": r.name, "seen": r.seen, "fired": r.fired} for r in self.rules]


# ---- loading -------------------------------------------------------------------------------------------------


def load(path):
    """Rules of a file: ours (a list, or an object with "rules"), or an aws-c-s3 response script Operation/case.json."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    if isinstance(content, list):
        return content
    if "rules" in content:
        return content["rules"]
    operation = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return [from_mock(content, "HeadObject" if path.endswith("_head.json") else operation)]


def from_mock(content, operation):
    """A rule from one of aws-c-s3's response scripts (status, headers, body lines, delay in seconds)."""
    action = {"status": content["status"], "headers": content.get("headers", {}), "body": content.get("body", []), "mock": True}
    if "delay" in content:
        action["stall_ms"] = int(content["delay"] * 1000)
    return {"match": {"op": operation}, "action": action}


# ---- one fault on one request --------------------------------------------------------------------------------


class Fault:
    def __init__(self, action, name):
        self.action = action
        self.name = name

    def get(self, key, default=None):
        return self.action.get(key, default)

    def prepare(self, call):
        """Before the operation runs: what it is to leave out."""
        call.ignore_conditions = self.get("ignore_conditions", False)
        call.ignore_range = self.get("ignore_range", False)
        call.list_lag_s = self.get("list_lag_s", 0)
        call.delete_errors = self.get("delete_errors")

    def scripted(self, call, server):
        """The script's own answer, or None when the real one is wanted."""
        own = {"status", "body", "body_base64", "html", "garbage", "region", "raw"} & set(self.action)
        if not own:
            return None
        status = self.get("status", 301 if "region" in self.action else 200)
        body, kind = self._scripted_body(call, status)
        if call.request.method == "HEAD":
            body = b""
        response = Response(status, [("Content-Type", kind)] if body else [], body, code=self.get("code", ""))
        for name, value in self.get("headers", {}).items():
            response.set(name, expand(value, call, server))
        if "region" in self.action:
            response.set("x-amz-bucket-region", self.get("region"))
        return response

    def _scripted_body(self, call, status):
        if "garbage" in self.action:
            return random.Random(1).randbytes(self.get("garbage")), "application/xml"
        if "html" in self.action:
            return (HTML % {"status": status, "reason": "Error"}).encode(), "text/html"
        if "body_base64" in self.action:
            return base64.b64decode(self.get("body_base64")), "application/octet-stream"
        if "body" in self.action:
            body = self.get("body")
            text = body if isinstance(body, str) else "\n".join(body)
            return (mock_body(text, call) if self.get("mock") else text.encode()), "application/xml"
        code = self.get("code") or ("PermanentRedirect" if "region" in self.action else "")
        if not code:
            return b"", ""
        details = dict(self.get("details", {}), **({"Region": self.get("region")} if "region" in self.action else {}))
        return xmlout.error(code, self.get("message", "scripted"), "SCRIPTED", call.request.path, **details), "application/xml"

    def alter(self, response, call):
        """Change an answer, real or scripted, before its Content-Length is written."""
        if "list" in self.action and response.status == 200:
            response.body = LIES[self.get("list")](response.read_all(), call, self.get("list_size", 64 * 1024 * 1024))
            response.start, response.end = 0, None
        if "etag" in self.action:
            self._alter_etag(response)
        if "flip_bit" in self.action and response.length():
            body = bytearray(response.read_all())
            body[self.get("flip_bit") % len(body)] ^= 1
            response.body, response.start, response.end = bytes(body), 0, None
        if self.get("gzip"):
            response.body, response.start, response.end = gzip.compress(response.read_all()), 0, None
            response.set("Content-Encoding", "gzip")
        for name, value in self.get("set_headers", {}).items():
            response.set(name, value)

    def _alter_etag(self, response):
        etag = self.get("etag")
        if response.get("etag") is not None:
            response.set("ETag", etag)
        elif response.body:
            text = re.sub(rb"<ETag>[^<]*</ETag>", b"" if etag is None else xmlout.element("ETag", etag).encode(), response.read_all())
            response.body, response.start, response.end = text, 0, None

    def damage(self, call, store):
        """After the operation has run: harm what it stored."""
        if "corrupt_stored" in self.action:
            store.flip_bit(call.bucket, call.key, self.get("corrupt_stored"))
        if "truncate_stored" in self.action:
            store.truncate(call.bucket, call.key, self.get("truncate_stored"))

    def length_header(self, real):
        """The Content-Length to claim: a number, or text such as "+5" to add to the real one."""
        claimed = self.get("content_length", real)
        return real + int(claimed) if isinstance(claimed, str) and claimed[:1] in "+-" else int(claimed)


def expand(value, call, server):
    """Fill {host}, {port}, {scheme}, {path}, {target}, {bucket} and {key} in a scripted header."""
    request = call.request
    for name, text in (("host", request.one("host")), ("port", server.port), ("scheme", server.scheme), ("path", request.path),
                       ("target", request.target), ("bucket", call.bucket), ("key", call.raw_key)):
        value = str(value).replace("{%s}" % name, str(text))
    if "<request-range>" in value:
        first, last = mock_range(call)
        value = value.replace("<request-range>", "bytes %d-%d" % (first, last))
    return value


def mock_range(call):
    match = re.match(r"bytes=(\d+)-(\d+)\Z", call.request.one("range") or "bytes=0-65535")
    return (int(match.group(1)), int(match.group(2))) if match else (0, 65535)


def mock_body(text, call):
    first, last = mock_range(call)
    return text.replace("<data-to-send>", "a" * (last + 1 - first)).encode()


# ---- listings that lie ---------------------------------------------------------------------------------------
# Each takes (document, call, size) and returns bytes. They work on the text, so that anything can be broken.

CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
TOKEN = re.compile(rb"<NextContinuationToken>[^<]*</NextContinuationToken>")


def truncated(document, flag=b"true"):
    return re.sub(rb"<IsTruncated>[a-z]*</IsTruncated>", b"<IsTruncated>%s</IsTruncated>" % flag, document)


def before_end(document, extra):
    at = document.rindex(b"</")
    return document[:at] + extra + document[at:]


def after_declaration(document, extra):
    at = document.index(b"?>") + 2
    return document[:at] + extra + document[at:]


def entry(key, size=b"1"):
    return (b"<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            b'<ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>%s</Size><StorageClass>STANDARD</StorageClass></Contents>' % (key, size))


def own_prefix(call):
    return xmlout.escape(call.text("prefix", "")).encode()


def lie_without_token(document, _call, _size):
    return TOKEN.sub(b"", truncated(document))


def lie_token_loop(document, call, _size):
    """The same token for ever; the server takes it, so the client meets the same page again and again."""
    token = xmlout.element("NextContinuationToken", call.text("continuation-token") or "1+/==").encode()
    return before_end(TOKEN.sub(b"", truncated(document)), token)


def lie_empty_page(document, call, size):
    """No keys, but truncated and with a token that goes on where this page began: allowed, if not for ever."""
    return CONTENTS.sub(b"", lie_token_loop(document, call, size))


def lie_not_truncated(document, _call, _size):
    return TOKEN.sub(b"", truncated(document, b"false"))


def lie_repeat_keys(document, _call, _size):
    return CONTENTS.sub(lambda m: m.group(0) * 2, document)


def lie_unsorted(document, _call, _size):
    found = CONTENTS.findall(document)
    return CONTENTS.sub(lambda _: found.pop(), document)


def lie_foreign_key(document, _call, _size):
    return before_end(document, entry(b"zz-outside/of-any/prefix"))


def lie_traversal(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"../../../../tmp/escaped"))


def lie_absurd_size(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"zz-absurd", b"99999999999999999999999"))


def lie_negative_size(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"zz-negative", b"-1"))


def lie_bad_percent(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"zz-%zz%"))


def lie_huge(document, call, size):
    one = entry(own_prefix(call) + b"zz-filler")
    return before_end(document, one * (size // len(one) + 1))


def lie_huge_text(document, call, size):
    return before_end(document, entry(own_prefix(call) + b"k" * size))


def lie_doctype(document, _call, _size):
    return after_declaration(document, b'<!DOCTYPE ListBucketResult SYSTEM "file:///etc/passwd">')


def lie_external_entity(document, call, _size):
    head = b'<!DOCTYPE ListBucketResult [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return before_end(after_declaration(document, head), entry(own_prefix(call) + b"zz&x;"))


def lie_entity_bomb(document, call, _size):
    head = [b'<!ENTITY e0 "0123456789">']
    head += [b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10)]
    head = b"<!DOCTYPE ListBucketResult [" + b"".join(head) + b"]>"
    return before_end(after_declaration(document, head), entry(own_prefix(call) + b"zz&e9;"))


def lie_deep(document, _call, size):
    depth = min(size, 200000)
    return before_end(document, b"<a>" * depth + b"</a>" * depth)


def lie_bad_utf8(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"zz-\xff\xfe\xc0\x80"))


def lie_control_character(document, call, _size):
    return before_end(document, entry(own_prefix(call) + b"zz-\x01&#x2;"))


def lie_wrong_root(document, _call, _size):
    return document.replace(b"ListBucketResult", b"ListSomethingResult")


def lie_no_namespace(document, _call, _size):
    return re.sub(rb' xmlns="[^"]*"', b"", document)


def lie_half(document, _call, _size):
    """Half the document, with a Content-Length that fits: only the parser can notice."""
    return document[:len(document) // 2]


def lie_no_is_truncated(document, _call, _size):
    return re.sub(rb"<IsTruncated>[a-z]*</IsTruncated>", b"", document)


def lie_empty_body(_document, _call, _size):
    return b""


LIES = {name[len("lie_"):]: function for name, function in list(globals().items()) if name.startswith("lie_")}


# ---- sending -------------------------------------------------------------------------------------------------


class Pace:
    """Sends bytes no faster, and in no larger pieces, than the fault says; stalls once on the way."""

    def __init__(self, fault, connection, length):
        self.connection = connection
        self.rate = fault.get("rate")
        self.slice = fault.get("slice") or (max(self.rate // 20, 1) if self.rate else None)
        self.stall_s = fault.get("stall_body_ms", 0) / 1000
        self.stall_at = fault.get("stall_at", length // 2)
        self.sent = 0
        self.began = time.monotonic()

    def send(self, piece):
        view = memoryview(piece)
        while len(view):
            step = min(len(view), self.slice or len(view))
            if self.stall_s and self.sent < self.stall_at:
                step = min(step, self.stall_at - self.sent)
            elif self.stall_s:
                time.sleep(self.stall_s)
                self.stall_s = 0
            self.connection.send(view[:step])
            view = view[step:]
            self.sent += step
            if self.rate:
                time.sleep(max(self.began + self.sent / self.rate - time.monotonic(), 0))
