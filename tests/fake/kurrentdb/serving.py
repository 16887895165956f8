# SPDX-License-Identifier: Apache-2.0
"""`serve`: a live node with a writer thread, ruled over a Unix socket; one line, one answer."""

import json
import os
import resource
import signal
import socketserver
import threading
import time

from . import making
from .database import Database, NodeError, Options, truncate_on_start

TICK_S = 0.02


def _truncate(base, words):
    position = base.boundary(int(words[1])) if words[0] == "back" else int(words[0])
    base.truncate(position)
    return str(position)


def _truncate_pending(base, words):
    base.chk["truncate"].write(int(words[0]))


def _scavenge(base, words):
    return base.scavenge(int(words[0]), int(words[1]))


def _hold(base, words):
    base.hold = {"on": True, "off": False}[words[0]]
    base.chase()


def _lag(base, words):
    base.lag = int(words[0])
    base.chase()


def _append(base, words):
    base.append(int(words[0]))
    return str(base.writer)


def _merge(base, words):
    return base.merge_level(int(words[0]) if words else 0)


VERBS = {
    "append": _append,
    "append-until-rollover": lambda base, words: base.append_until_rollover(),
    "elect": lambda base, words: base.new_epoch(),
    "filter-touch": lambda base, words: base.touch_filter(),
    "flush-index": lambda base, words: base.flush_index(),
    "half-table": lambda base, words: base.half_table(),
    "hold-chaser": _hold,
    "lag": _lag,
    "merge": _merge,
    "pause": None,
    "resume": None,
    "scavenge": _scavenge,
    "scavenge-chaser": lambda base, words: base.scavenge_chaser(),
    "scavenge-point": lambda base, words: base.scavenge_point(),
    "scavenging-db": None,
    "status": lambda base, words: json.dumps(base.status()),
    "stop": None,
    "truncate": _truncate,
    "truncate-pending": _truncate_pending,
}


def run_verb(base, verb, words):
    """Do one verb on an open database; returns its answer as text."""
    answer = VERBS[verb](base, words)
    base.flush()
    return "" if answer is None else str(answer)


class Live:
    """The running node: the database, its writer thread, its lock."""

    def __init__(self, args):
        self.args = args
        self.lock = threading.RLock()
        self.paused = self.stopped = False
        self.scavenging = None
        self.base = Database(args.db, args.index, Options(
            chunk_size=args.chunk_size, seed=args.seed, layout=args.layout,
            filter_size=args.filter_size, live=True, batch=args.batch, step=args.settle,
            pause_s=args.table_pause_ms / 1000))
        if not args.no_epoch or self.base.epoch_number < 0:
            self.base.new_epoch()

    def write_loop(self):
        """Append at the rate; index, filter and rollover follow by themselves."""
        last = filter_at = time.monotonic()
        while not self.stopped:
            time.sleep(TICK_S)
            now = time.monotonic()
            with self.lock:
                if self.stopped or self.paused or not self.args.rate_bytes:
                    last = now
                    continue
                self.base.append(int(self.args.rate_bytes * (now - last)))
                last = now
                if self.base.mem.total >= self.args.mem_table:
                    self.base.flush_index()
                    self.base.auto_merge()
                if now - filter_at > self.args.filter_ms / 1000:
                    self.base.touch_filter()
                    filter_at = now

    def command(self, line):
        """One line of the protocol; returns the answer."""
        verb, *words = line.split()
        if verb not in VERBS:
            return "err unknown command '%s'" % verb
        try:
            with self.lock:
                return ("ok " + self._command(verb, words)).rstrip()
        except (NodeError, ValueError, IndexError, KeyError, OSError) as error:
            return "err %s: %s" % (type(error).__name__, str(error).replace("\n", " "))

    def _command(self, verb, words):
        if verb in ("pause", "resume"):
            self.paused = verb == "pause"
        elif verb == "stop":
            self.stop()
        elif verb == "scavenging-db":
            self._scavenging_db(words[0] == "on")
        else:
            return run_verb(self.base, verb, words)
        return ""

    def _scavenging_db(self, on):
        """Hold the scavenger's SQLite file open, with its -wal, or let go of it."""
        if self.scavenging:
            self.scavenging.close()
            self.scavenging = None
        if on:
            directory = os.path.join(self.base.index, "scavenging")
            os.makedirs(directory, exist_ok=True)
            self.scavenging = making.open_scavenging_db(os.path.join(directory, "scavenging.db"))

    def stop(self):
        if not self.stopped:
            self.stopped = True
            self._scavenging_db(False)
            self.base.close(clean=True)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for raw in self.rfile:
            line = raw.decode().strip()
            if line:
                self.wfile.write((self.server.live.command(line) + "\n").encode())
            if self.server.live.stopped:
                self.server.over.set()
                return


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(args):
    """Run until `stop`, SIGTERM or SIGINT; prints one line when ready."""
    os.makedirs(args.db, exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if truncate_on_start(args.db):
        print("truncated", flush=True)
        if args.layout != "23.10":                   # from 24.6 this start ends here, with 0
            return
    live = Live(args)
    if os.path.exists(args.control):
        os.unlink(args.control)
    with _Server(args.control, _Handler) as server:
        server.live, server.over = live, threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.over.set())
        threading.Thread(target=live.write_loop, daemon=True).start()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print("ready", flush=True)
        server.over.wait()
        with live.lock:
            live.stop()
        server.shutdown()
    os.unlink(args.control)
