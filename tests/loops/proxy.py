# SPDX-License-Identifier: Apache-2.0
"""A counting proxy in front of a real S3 server: at the nth request it kills the client, before the request goes on to the server, or when
the server's answer comes, which then gets lost. Plain HTTP; what it forwards stays as it was, so signatures hold."""
import re
import socket
import threading

HEAD_MAX = 64 * 1024
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


class Proxy:
    def __init__(self, host, port):
        self.upstream = (host, port)
        self.lock = threading.Lock()
        self.reset()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def reset(self, nth=0, how="never", kill=None):
        """Counts from one again; kill() is called at the nth request, before it (never) or after it (applied)."""
        with self.lock:
            self.seen, self.nth, self.how, self.kill = 0, nth, how, kill
            self.sprung = threading.Event()

    def close(self):
        end(self.listener)
        self.thread.join()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(self.upstream)
        except OSError:
            client.close()          # nobody else has it
            return
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lost = threading.Event()    # the answer of the request that is meant
        answers = threading.Thread(target=self._answers, args=(server, client, lost), daemon=True)
        answers.start()
        try:
            self._requests(client, server, lost)
        except OSError:
            pass
        if not lost.is_set():
            end(client, server)
        answers.join()              # a number that is closed under a thread would soon be another connection's
        client.close()
        server.close()

    def _requests(self, client, server, lost):
        buffered = b""
        while True:
            end = buffered.find(b"\r\n\r\n")
            if end < 0:
                more = client.recv(65536)
                if not more or len(buffered) > HEAD_MAX:
                    return
                buffered += more
                continue
            head, buffered = buffered[:end + 4], buffered[end + 4:]
            if self._is_it():
                if self.how == "never":
                    self._spring()
                    return
                lost.set()
            server.sendall(head)
            found = LENGTH.search(head)
            left = int(found.group(1)) if found else 0
            while left:
                piece, buffered = (buffered[:left], buffered[left:]) if buffered else (client.recv(min(left, 65536)), b"")
                if not piece:
                    return
                left -= len(piece)
                server.sendall(piece)

    def _is_it(self):
        with self.lock:
            self.seen += 1
            return self.seen == self.nth

    def _spring(self):
        self.kill()
        self.sprung.set()

    def _answers(self, server, client, lost):
        try:
            while piece := server.recv(65536):
                if lost.is_set() and not piece.startswith(b"HTTP/1.1 100"):
                    self._spring()
                    break
                client.sendall(piece)
        except OSError:
            pass
        end(client, server)


def end(*socks):
    for sock in socks:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
