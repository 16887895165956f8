# SPDX-License-Identifier: Apache-2.0
"""Index tables (PTable version 4) and the memory table they are written from."""

import fcntl
import hashlib
import os
import struct
import time
from array import array
from bisect import bisect_left

from . import filter as bloom

HEADER_LEN = FOOTER_LEN = 128
ENTRY_LEN = 24
MIDPOINTS_MAX = 256            # IndexCacheDepth 8
_ENTRY = struct.Struct("<qQq")
PIECE_LEN = 64 * 1024


class TableError(ValueError):
    """The file is not a complete table."""


class MemTable:
    """Entries not yet in a table: per stream the first number and the log positions."""

    def __init__(self):
        self.streams = {}
        self.total = 0

    def add(self, key, number, position):
        entry = self.streams.get(key)
        if entry is None:
            entry = self.streams[key] = (number, array("q"))
        entry[1].append(position)
        self.total += 1

    def take(self, below):
        """Split off what lies below a log position, as a new MemTable."""
        taken, kept = MemTable(), {}
        for key, (number, places) in self.streams.items():
            cut = bisect_left(places, below)
            if cut:
                taken.streams[key] = (number, places[:cut])
                taken.total += cut
            if cut < len(places):
                kept[key] = (number + cut, places[cut:])
        self.streams = kept
        self.total -= taken.total
        return taken

    def last_position(self):
        return max((places[-1] for _, places in self.streams.values()), default=-1)

    def positions(self):
        return sorted(p for _, places in self.streams.values() for p in places)

    def packed(self):
        """All entries as the file has them: by hash, then number, both descending."""
        parts = []
        for key in sorted(self.streams, reverse=True):
            number, places = self.streams[key]
            count = len(places)
            rows = array("q", bytes(ENTRY_LEN * count))
            rows[0::3] = array("q", range(number + count - 1, number - 1, -1))
            rows[1::3] = array("q", [key - (1 << 64) if key >> 63 else key]) * count
            rows[2::3] = places[::-1]
            parts.append(rows.tobytes())
        return b"".join(parts)


def build(entries, middle_max=MIDPOINTS_MAX):
    """A whole table from packed entries."""
    total = len(entries) // ENTRY_LEN
    middle = min(total, middle_max)
    points = []
    for k in range(middle):
        at = k * (total - 1) // (middle - 1) if middle > 1 else 0
        points.append(entries[at * ENTRY_LEN:at * ENTRY_LEN + 16] + struct.pack("<q", at))
    raw = b"".join([b"\1\4".ljust(HEADER_LEN, b"\0"), entries, *points,
                    struct.pack("<BBI", 1, 4, middle).ljust(FOOTER_LEN, b"\0")])
    return raw + hashlib.md5(raw).digest()


def write(path, raw, pause_s=0.0):
    """Under the final name from the first byte on, piece by piece; read-only when complete."""
    with open(path, "xb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)               # the server opens it for itself alone
        for at in range(0, len(raw), PIECE_LEN):
            file.write(raw[at:at + PIECE_LEN])
            if pause_s:
                time.sleep(pause_s)
    os.chmod(path, 0o444)


def write_filter(path, keys, total):
    made = bloom.Filter.create(path, bloom.table_filter_bytes(total))
    made.add(keys)
    made.flush()


class Table:
    """A table read into memory; raises TableError when anything about it is wrong."""

    def __init__(self, path):
        with open(path, "rb") as file:
            raw = file.read()
        if len(raw) < HEADER_LEN + 16:
            raise TableError("%s: too short" % path)
        if raw[0] != 1 or raw[1] not in (2, 3, 4):
            raise TableError("%s: header is of type %d version %d" % (path, raw[0], raw[1]))
        if hashlib.md5(raw[:-16]).digest() != raw[-16:]:
            raise TableError("%s: MD5 differs" % path)
        self.version = raw[1]
        self.middle = 0
        end = len(raw) - 16
        if self.version >= 4:
            end -= FOOTER_LEN
            file_type, version, self.middle = struct.unpack_from("<BBI", raw, end)
            if (file_type, version) != (1, raw[1]):
                raise TableError("%s: footer is of type %d version %d" % (path, file_type, version))
        entries_end = end - self.middle * ENTRY_LEN
        if entries_end < HEADER_LEN or (entries_end - HEADER_LEN) % ENTRY_LEN:
            raise TableError("%s: %d bytes of entries" % (path, entries_end - HEADER_LEN))
        self.packed = raw[HEADER_LEN:entries_end]
        self.midpoints = list(_ENTRY.iter_unpack(raw[entries_end:end]))

    def entries(self):
        """[(number, stream hash, log position)]"""
        return list(_ENTRY.iter_unpack(self.packed))


def merge(tables):
    """Packed entries of several tables."""
    rows = [row for table in tables for row in table.entries()]
    rows.sort(key=lambda row: (row[1], row[0], row[2]), reverse=True)
    return b"".join(_ENTRY.pack(*row) for row in rows)
