# SPDX-License-Identifier: Apache-2.0
"""`make`: a whole stopped node directory, fast."""

import hashlib
import os
import shutil
import sqlite3
import tempfile

from . import checkpoint, chunk
from .database import BATCH_LEN, Database, NodeError, Options

TRANSFORM_HEADER_LEN = 64


def make(args):
    """Returns the status of the new directory."""
    os.makedirs(args.db, exist_ok=True)
    if chunk.listing(args.db):
        raise NodeError("%s already holds chunks" % args.db)
    options = Options(chunk_size=args.chunk_size, seed=args.seed, layout=args.layout,
                      filter_size=args.filter_size, epoch_id=args.epoch_id,
                      batch=max(BATCH_LEN, min(args.chunk_size, 8 << 20)))
    database = Database(args.db, args.index, options)
    database.new_epoch()
    _fill(database, args)
    _index(database, args)
    if args.scavenged:
        first, last = map(int, args.scavenged.split("-"))
        database.scavenge(first, last)
    _extras(database, args)
    status = database.status()
    database.close(clean=args.clean_stop)
    if args.transform:
        _transform(args.db, args.transform)
    return status


def _fill(database, args):
    if args.empty_chunks:
        _fill_empty(database, args.chunks)
    elif args.chunks is not None:
        while database.tail.header.start < args.chunks:
            database.append_event()
        database.append(database.opt.chunk_size // 4)
    else:
        database.append(args.bytes or 4 * database.opt.chunk_size)
    database.flush()


def _fill_empty(database, chunks):
    """One real chunk, then chunks that a scavenge left without any record, then the ongoing one."""
    database.append_event()
    database.roll_over()
    database.tail.close()
    os.unlink(database.tail.path)
    size = database.opt.chunk_size
    for number in range(1, chunks):
        header = chunk.Header(size, number, number, 1, version=database.opt.chunk_version)
        path = os.path.join(database.db, chunk.name(number, 1))
        with open(path, "xb") as file:
            file.write(chunk.build_completed(header, b"", 0))
        os.chmod(path, 0o444)
    database.tail = database._new_chunk(chunks)
    database.writer = chunks * size
    database.append_event()


def _index(database, args):
    """`--tables` tables, the oldest at the highest level, the last events in none."""
    places = database.mem.positions()
    chaser = database.chk["chaser"].value
    for k in range(args.tables):
        count = len(places) * (k + 1) // args.tables - (1 if k == args.tables - 1 else 0)
        if count <= 0:
            continue
        below = places[count] if count < len(places) else chaser
        taken = database.mem.take(min(below, chaser))
        if taken.total:
            database._add_table(taken, args.tables - 1 - k)
    if not args.no_filter:
        database.touch_filter()


def _extras(database, args):
    if args.layout == "25":
        with open(os.path.join(args.db, "kurrent.ddb"), "wb") as file:
            file.write(bytes(8) + b"DUCK" + hashlib.shake_128(b"ddb").digest(65536 - 12))
    if args.tag:
        checkpoint.Checkpoint(os.path.join(args.db, "tag.chk"), 0x5EED5EED5EED).close()
    if args.scavenging_db:
        _scavenging_db(os.path.join(database.index, "scavenging"), args.scavenging_db == "running")


def _scavenging_db(directory, running):
    """A real SQLite file; `running` leaves its write-ahead log as a crash would."""
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "scavenging.db")
        base = open_scavenging_db(path)
        for entry in sorted(os.listdir(scratch)) if running else ():
            shutil.copyfile(os.path.join(scratch, entry), os.path.join(directory, entry))
        base.close()
        if not running:
            shutil.copyfile(path, os.path.join(directory, "scavenging.db"))


def open_scavenging_db(path):
    base = sqlite3.connect(path, check_same_thread=False)
    base.execute("pragma journal_mode=wal")
    base.execute("create table if not exists ScavengeCheckpoint (checkpoint text)")
    base.executemany("insert into ScavengeCheckpoint values (?)",
                     [("accumulating %d" % k,) for k in range(200)])
    base.commit()
    return base


def _transform(db, kind):
    """Make the data of all chunks opaque, as encryption at rest does: other data, good MD5."""
    for _, path in chunk.current(db):
        whole = chunk.ChunkFile(path)
        head = whole.header
        new = chunk.Header(head.size, head.start, head.end, head.scavenged, head.chunk_id, 4, kind)
        secret = hashlib.shake_128(head.chunk_id).digest(TRANSFORM_HEADER_LEN)
        size = whole.footer.physical if whole.footer.completed else \
            len(whole.raw) - chunk.HEADER_LEN - chunk.FOOTER_LEN - TRANSFORM_HEADER_LEN
        data = bytes(whole.data[:size])
        stream = hashlib.shake_128(secret).digest(len(data))
        data = (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(
            len(data), "big")
        os.chmod(path, 0o644)
        with open(path, "wb") as file:
            if whole.footer.completed:
                start = chunk.HEADER_LEN + whole.footer.physical
                file.write(chunk.build_completed(new, data, whole.footer.logical,
                           whole.raw[start:start + whole.footer.map_size], secret))
            else:
                file.write(new.pack() + secret + data)
                file.truncate(len(whole.raw))
        os.chmod(path, 0o444 if whole.footer.completed else 0o644)
