# SPDX-License-Identifier: Apache-2.0
"""A small signing client, for tests that prepare or inspect a server's content. It sends what it is told, as told."""

import hashlib
import json
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from s3 import sigv4


@dataclass
class Answer:
    status: int
    headers: dict           # lower-case name -> value
    body: bytes
    cut: bool = False       # the connection ended before the body did


class Client:
    def __init__(self, url, access_key, secret_key, region="us-east-1", session_token="", ca=None):
        parts = urlsplit(url)
        self.url = url
        self.address = (parts.hostname, parts.port)
        self.host = parts.netloc
        self.credentials = sigv4.Credentials(access_key, secret_key, session_token)
        self.region = region
        self.tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self.timeout_s = 10

    @staticmethod
    def of(server):
        return Client(server.url, server.options.access_key, server.options.secret_key, server.options.region, server.options.session_token)

    def signed_headers(self, method, path, query, headers, body, amz_date=None):
        """The full list of headers, Authorization last. A header given with value None is left out."""
        amz_date = amz_date or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        full = {"host": self.host, "x-amz-date": amz_date, "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        if self.credentials.session_token:
            full["x-amz-security-token"] = self.credentials.session_token
        if method in ("PUT", "POST"):
            full["content-length"] = str(len(body))
        full.update({n.lower(): v for n, v in headers.items()})
        full = {n: v for n, v in full.items() if v is not None}
        names = sorted(n for n in full if n != "content-length")
        scope = "%s/%s/s3/aws4_request" % (amz_date[:8], self.region)
        text = sigv4.canonical_request(method, sigv4.canonical_path_s3(path), sigv4.canonical_query(query), list(full.items()), names,
                                       full.get("x-amz-content-sha256", ""))
        key = sigv4.signing_key(self.credentials.secret_key, amz_date[:8], self.region, "s3")
        signature = sigv4.sign(key, sigv4.string_to_sign(amz_date, scope, text))
        authorization = "%s Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            sigv4.ALGORITHM, self.credentials.access_key, scope, ";".join(names), signature)
        return list(full.items()) + [("authorization", authorization)]

    def call(self, method, path, query="", headers=None, body=b"", amz_date=None, unsigned=None):
        """One request on a connection of its own. `path` and `query` go out as they are; `unsigned`: headers added after signing."""
        lines = self.signed_headers(method, path, query, headers or {}, body, amz_date) + list((unsigned or {}).items())
        target = path + ("?" + query if query else "")
        head = "".join("%s: %s\r\n" % pair for pair in lines)
        return self.raw(("%s %s HTTP/1.1\r\n%s\r\n" % (method, target, head)).encode("latin-1") + body, method)

    def raw(self, data, method="GET"):
        with socket.create_connection(self.address, timeout=self.timeout_s) as sock:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_hostname=self.address[0])
            try:
                sock.sendall(data)
            except OSError:
                pass            # refused while we were sending: the answer may be there all the same
            return read_answer(sock.makefile("rb"), method)

    # -- shorthands

    def put(self, bucket, key, body, **headers):
        return self.call("PUT", "/%s/%s" % (bucket, quote(key, safe="/~")), headers={n.replace("_", "-"): v for n, v in headers.items()}, body=body)

    def get(self, bucket, key, **headers):
        return self.call("GET", "/%s/%s" % (bucket, quote(key, safe="/~")), headers={n.replace("_", "-"): v for n, v in headers.items()})

    def control(self, method, name, body=None):
        """The fake's side door: control("POST", "script", [...]), control("GET", "log")."""
        data = None if body is None else json.dumps(body).encode()
        context = self.tls
        request = urllib.request.Request(self.url + "/_fake/" + name, data=data, method=method)
        with urllib.request.urlopen(request, timeout=self.timeout_s, context=context) as answer:
            return json.load(answer)


def read_answer(stream, method):
    status = 100
    while status == 100:
        line = stream.readline()
        if not line.startswith(b"HTTP/1."):
            raise ConnectionError("no answer: %r" % line)
        status = int(line.split()[1])
        headers = {}
        for line in iter(stream.readline, b"\r\n"):
            if not line.endswith(b"\n"):
                raise ConnectionError("closed within the headers")
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, read_chunks(stream))
    length = int(headers.get("content-length", 0))
    body = stream.read(length)
    return Answer(status, headers, body, cut=len(body) < length)


def read_chunks(stream):
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
