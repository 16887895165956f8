# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a plain socket: the raw request is kept, and an answer can be sent as wrongly as a test wants.

The standard library's http.server tidies requests up; here the path, the query and the headers stay as they came.
"""

import socket
import struct
import time

HEAD_MAX = 16 * 1024      # S3 takes 8 KiB of headers; the server above says so, this is only a ceiling
CHUNK = 256 * 1024
REASONS = {
    100: "Continue", 200: "OK", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified",
    307: "Temporary Redirect", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large", 416: "Range Not Satisfiable",
    417: "Expectation Failed", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}


class BadRequest(Exception):
    """The bytes are not an HTTP/1.1 request; `status` and `code` say what to answer."""

    def __init__(self, message, status=400, code="BadRequest"):
        super().__init__(message)
        self.status = status
        self.code = code


class Gone(Exception):
    """The peer has closed, or we have closed on purpose."""


class Request:
    """One request head. `headers` are (lower-case name, value) pairs in wire order."""

    def __init__(self, method, target, version, headers):
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.path, _, self.query = target.partition("?")

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def one(self, name):
        """The header's value or None; one sent twice is refused, because nobody can say which one counts."""
        values = self.all(name)
        if len(values) > 1:
            raise BadRequest("header '%s' was sent %d times" % (name, len(values)), code="InvalidRequest")
        return values[0] if values else None

    def content_length(self):
        value = self.one("content-length")
        if value is None:
            return None
        if not value.isascii() or not value.isdigit():
            raise BadRequest("Content-Length is '%s'" % value)
        return int(value)

    def wants_continue(self):
        return (self.one("expect") or "").lower() == "100-continue"


class Response:
    """An answer. `body` is bytes or anything with `len()` and `pieces(start, end)` (see store.Blob)."""

    def __init__(self, status, headers=(), body=b"", code=""):
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.code = code        # the S3 error code, for the log
        self.close = False
        self.start = 0          # the part of `body` to send
        self.end = None

    def length(self):
        return (len(self.body) if self.end is None else self.end) - self.start

    def set(self, name, value):
        """Replace a header; None removes it."""
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, str(value)))

    def get(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def read_all(self):
        return b"".join(pieces_of(self.body, self.start, self.start + self.length()))


def pieces_of(body, start, end):
    if isinstance(body, (bytes, bytearray)):
        view = memoryview(body)
        for at in range(start, end, CHUNK):
            yield view[at:min(at + CHUNK, end)]
    else:
        yield from body.pieces(start, end)


class Connection:
    """One client connection: reads request heads and bodies, writes bytes."""

    def __init__(self, sock):
        self.sock = sock
        self.pending = b""
        self.sent = 0

    def read_head(self):
        """Return the next Request, or None when the peer has closed between requests."""
        while b"\r\n\r\n" not in self.pending:
            if len(self.pending) > HEAD_MAX:
                raise BadRequest("the header section is too large", code="RequestHeaderSectionTooLarge")
            piece = self._recv(65536)
            if not piece:
                if self.pending.strip():
                    raise Gone("closed within a request head")
                return None
            self.pending += piece
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        return parse_head(head.decode("latin-1"))

    def _recv(self, size):
        try:
            return self.sock.recv(size)
        except OSError as error:
            raise Gone(str(error)) from None

    def body_pieces(self, length):
        """Yield the `length` bytes of a request's body; Gone when the peer closes before the end."""
        left = length
        while left:
            if self.pending:
                piece, self.pending = self.pending[:left], self.pending[left:]
            else:
                piece = self._recv(min(CHUNK, left))
                if not piece:
                    raise Gone("closed %d bytes before the end of the body" % left)
            left -= len(piece)
            yield piece

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from None
        self.sent += len(data)

    def reset(self):
        """Make the close that follows a TCP reset."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass

    def close(self):
        # sendall has handed everything to the kernel; what the peer still sends must not turn the answer into a reset
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(0.2)
            deadline = time.monotonic() + 1
            while self.sock.recv(CHUNK) and time.monotonic() < deadline:
                pass
        except (OSError, ValueError):
            pass
        self.close_now()

    def close_now(self):
        try:
            self.sock.close()
        except OSError:
            pass


TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def parse_head(text):
    lines = text.split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest("request line '%s'" % lines[0][:200])
    method, target, version = words
    if not target.startswith("/") or any(not "!" <= c <= "~" or c in '"<>\\^`{|}#' for c in target):
        raise BadRequest("the request target holds characters that must be escaped", code="InvalidURI")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or not set(name) <= TOKEN or "\n" in line or "\r" in line or "\0" in line:
            raise BadRequest("header line '%s'" % line[:200])
        headers.append((name.lower(), value.strip(" \t")))
    request = Request(method, target, version, headers)
    if len(request.all("host")) != 1:
        raise BadRequest("%d Host headers" % len(request.all("host")))
    return request


def head_bytes(status, headers):
    lines = ["HTTP/1.1 %d %s" % (status, REASONS.get(status, "Unknown"))]
    lines += ["%s: %s" % pair for pair in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
