#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bench's nodes: files as a server writes them, made fast.

  data.py node DIR CHUNKS MIB   completed chunks of JSON events with good MD5 footers, and a small ongoing one
  data.py chunk DIR NUMBER MIB  one of them; `node` runs this in as many processes as there are cores

zstd -3 makes a fifth of them, like of a real node's; tests/fake/kurrentdb's own events, meant for the judge of
starts (their bytes follow from their place), shrink too little for figures that are to mean something. Nothing
repeats over the length of a chunk, so that tools that find equal blocks find none here either.
"""
import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fake"))
from kurrentdb import checkpoint, chunk, content, record  # noqa: E402

SEED = 5
WORDS = ("request handled user session cart checkout payment declined retry timeout upstream cache miss hit queue worker started finished job "
         "order shipped address changed password reset mail sent search query results page view click scroll upload download error warning "
         "connection lost restored node joined left cluster leader elected snapshot compaction flush index rebuilt partition assigned offset "
         "committed consumer lag").split()
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
          "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
          "okhttp/4.12.0", "curl/8.8.0", "python-requests/2.32.3")
LEVELS = ("info",) * 29 + ("warn",) * 2 + ("error",)
HOSTS = tuple(f"app-{zone}-{i:02d}.prod.example.net" for zone in ("eu1", "us1", "ap1") for i in range(12))
METHODS = ("GET", "GET", "GET", "POST")
STATUS = (200,) * 12 + (204, 304, 404, 500)


def _http(r):
    return '"http":{"method":"%s","path":"/api/v2/%s/%d","status":%d}' % (
        METHODS[r >> 3 & 3], WORDS[(r >> 5) % len(WORDS)], (r >> 11) % 100000, STATUS[r >> 28 & 15])


def _order(r):
    items = ",".join('{"sku":"SKU-%05d","qty":%d}' % ((r >> 16 * i) % 40000, (r >> 5 * i & 3) + 1) for i in range((r >> 50 & 3) + 1))
    return '"order":{"id":%d,"currency":"%s","total":%d.%02d,"items":[%s]}' % (
        r % 1000000007, ("EUR", "USD", "GBP")[r % 3], r % 899 + 1, (r >> 20) % 100, items)


def _job(r):
    return '"worker":{"queue":"%s","tries":%d}' % (WORDS[r % len(WORDS)], r >> 8 & 3)


TYPES = (("HttpRequest", "http", _http), ("OrderPlaced", "order", _order), ("OrderPaid", "order", _order), ("JobFinished", "job", _job),
         ("SessionStarted", "session", _job), ("HttpFailed", "http", _http), ("Searched", "search", _http), ("LoginAudited", "audit", _job))


def events(number, begin, end):
    """Framed records of the log from position `begin` on, as long as they fit before `end`."""
    rnd = random.Random(SEED << 32 | number)
    bits, correlation, milli, position = rnd.getrandbits, b"", 1772323200000 + number * 3600000, begin
    while True:
        r = bits(64)
        milli += r & 63
        kind, family, more = TYPES[r >> 6 & 7]
        user = int(1000 / (1e-3 + (r >> 40) / (1 << 24)))
        place = user * 2654435761 >> 8
        text = " ".join([WORDS[x % len(WORDS)] for x in bits(128).to_bytes(16, "big")[:4 + (r >> 12) % 9]])
        seconds = milli // 1000
        data = ('{"ts":"2026-03-%02dT%02d:%02d:%02d.%03dZ","host":"%s","level":"%s","user":{"id":%d,"ip":"10.%d.%d.%d","agent":"%s"},'
                '"msg":"%s","duration_ms":%d.%d,"bytes":%d,%s}') % (
            1 + seconds // 86400 % 28, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, milli % 1000, HOSTS[(r >> 20) % len(HOSTS)],
            LEVELS[r >> 30 & 31], user, place & 63, place >> 6 & 255, place >> 14 & 255, AGENTS[(r >> 13) % len(AGENTS)],
            text, (r >> 44) % 257, r >> 21 & 7, (r >> 24) % 200000, more(bits(64)))
        if r & 15 == 0 or not correlation:
            correlation = bits(128).to_bytes(16, "big")
        framed = record.pack_prepare(position, "%s-%d" % (family, user % 4096), position >> 12, kind, bits(128).to_bytes(16, "big"), correlation,
                                     content.TICKS_BASE + milli * 10000, data.encode())
        if position + len(framed) > end:
            return
        position += len(framed)
        yield framed


def write_chunk(db, number, size, version=0):
    """One completed chunk, as full as whole records make it."""
    header = chunk.Header(size, number, number, chunk_id=hashlib.shake_128(b"bench %d %d" % (number, version)).digest(16))
    path = os.path.join(db, chunk.name(number, version))
    with open(path, "xb", buffering=1 << 20) as file:
        md5, used, batch = hashlib.md5(header.pack()), 0, []
        file.write(header.pack())
        begin, end = number * size, (number + 1) * size
        if number == 0:
            batch = list(content.epoch_records(SEED, 0, 0, -1))
            begin = sum(map(len, batch))
        for framed in events(number * 1000 + version, begin, end):
            batch.append(framed)
            if len(batch) == 4096:
                used += flush(file, md5, batch)
        used += flush(file, md5, batch)
        tail = chunk.tail_of(used, used, used, b"")
        md5.update(tail)
        file.write(tail + md5.digest())
    os.chmod(path, 0o444)


def flush(file, md5, batch):
    raw = b"".join(batch)
    batch.clear()
    md5.update(raw)
    file.write(raw)
    return len(raw)


def write_node(db, chunks, size):
    """`chunks` completed chunks, the ongoing one with some events, checkpoints; no index, as right after its deletion."""
    os.makedirs(db)
    words = [[sys.executable, __file__, "chunk", str(db), str(n), str(size)] for n in range(chunks)]
    in_turn(words, os.cpu_count() or 1)
    finish_node(db, chunks, size)


def finish_node(db, chunks, size):
    tail = chunk.OngoingChunk.create(db, chunks, size, version=4)
    begin = chunks * size
    for framed in events(chunks, begin, begin + min(4096, size)):
        tail.write(framed)
    for name, value in (("writer", begin + tail.used), ("chaser", begin + tail.used), ("epoch", 0), ("proposal", 0)):
        checkpoint.Checkpoint(os.path.join(db, name + ".chk"), value).close()
    tail.close()


def in_turn(commands, workers):
    running = []
    for words in commands:
        if len(running) == workers:
            wait_for(running.pop(0))
        running.append(subprocess.Popen(words))
    for child in running:
        wait_for(child)


def wait_for(child):
    if child.wait() != 0:
        sys.exit(f"{child.args}: exit {child.returncode}")


# Many small chunks

SMALL = 4096


def write_many(db, chunks):
    """A node of many chunks of a page each: what counts there is the number of files."""
    os.makedirs(db)
    for number in range(chunks):
        write_chunk(db, number, SMALL)
    finish_node(db, chunks, SMALL)


def change(db, numbers, version):
    """Another file in the place of each: what a scavenge leaves."""
    for number in numbers:
        os.unlink(next(Path(db).glob(chunk.name(number)[:12] + ".*")))
        write_chunk(db, number, SMALL, version)


# Many snapshots

def multiply_root(nodes, wanted):
    """Copies of a node's only root under other names: a repository of `wanted` snapshots, for `list`."""
    folder = Path(nodes) / "snapshots"
    first = min(folder.iterdir())
    text = first.read_text()
    for i in range(1, wanted):
        run = "20260101T%02d%02d%02dZ-%08x" % (i // 3600, i // 60 % 60, i % 60, i)
        (folder / run).write_text(text.replace(f'"run":"{first.name}"', f'"run":"{run}"', 1))


def main():
    verb, db, *numbers = sys.argv[1:]
    if verb == "chunk":
        number, size = map(int, numbers)
        write_chunk(db, number, size)
    elif verb == "many":
        write_many(db, int(numbers[0]))
    else:
        chunks, mib = map(int, numbers)
        shutil.rmtree(db, ignore_errors=True)
        write_node(db, chunks, mib << 20)


if __name__ == "__main__":
    main()
