# SPDX-License-Identifier: Apache-2.0
"""Bloom filters: a 64-byte header, then lines of 60 bytes of bits and 4 bytes of hash.

Bits count from the most significant bit of each byte. Keys are stream hashes, 8 bytes LE.
Only lines that hold a bit are ever written, so a filter of 273 MB is a sparse file.
"""

import os
import struct

from .hashes import murmur3a, xxhash32

LINE_LEN, DATA_LEN = 64, 60
BYTES_MIN, BYTES_MAX = 10_000, 4_000_000_000
PAGE_LEN = 8192
_SEEDS = (0xC0015EED, 0x13375EED)
_HASHES = 6
_HEADER = struct.Struct("<B3xiq")


def file_size(logical):
    size = logical + logical // DATA_LEN * 4 + LINE_LEN
    return size // LINE_LEN * LINE_LEN + LINE_LEN


def table_filter_bytes(entries):
    return min(max(entries // 4, BYTES_MIN), BYTES_MAX)


def bits_of(key, bits):
    """The bit positions of an 8-byte key."""
    raw = struct.pack("<Q", key)
    value, step = (xxhash32(raw, seed) << 32 | murmur3a(raw, seed) for seed in _SEEDS)
    found = []
    for _ in range(_HASHES):
        value = value + step & (1 << 63) - 1
        found.append(value % bits)
    return found


def place(bit):
    """(offset of the line, byte in the line, mask) of a bit."""
    byte = bit // 8
    return (byte // DATA_LEN + 1) * LINE_LEN, byte % DATA_LEN, 0x80 >> bit % 8


class Filter:
    """A filter file; adds are kept in memory until flush()."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            version, self.rebuilds, self.bits = _HEADER.unpack(file.read(_HEADER.size))
        if version != 1 or os.path.getsize(path) != file_size(self.bits // 8):
            raise ValueError("%s: not a filter" % path)
        self.dirty = {}

    @classmethod
    def create(cls, path, logical):
        with open(path, "wb") as file:
            file.write(_HEADER.pack(1, 0, logical * 8))
            file.truncate(file_size(logical))
        return cls(path)

    def _line(self, file, offset):
        if offset not in self.dirty:
            file.seek(offset)
            self.dirty[offset] = bytearray(file.read(LINE_LEN))
        return self.dirty[offset]

    def add(self, keys):
        with open(self.path, "rb") as file:
            for key in keys:
                for bit in bits_of(key, self.bits):
                    offset, byte, mask = place(bit)
                    self._line(file, offset)[byte] |= mask

    def flush(self):
        """Write the dirty lines page by page; a reader may see some pages new and some old."""
        with open(self.path, "r+b", buffering=0) as file:
            for offset in sorted(self.dirty):
                line = self.dirty[offset]
                struct.pack_into("<I", line, DATA_LEN, xxhash32(line[:DATA_LEN]))
                file.seek(offset)
                file.write(line)
        self.dirty = {}

    def has(self, key):
        with open(self.path, "rb") as file:
            for bit in bits_of(key, self.bits):
                offset, byte, mask = place(bit)
                line = self.dirty.get(offset)
                if line is None:
                    file.seek(offset)
                    line = file.read(LINE_LEN)
                if not line[byte] & mask:
                    return False
        return True

    def lines(self):
        """Yield (offset, good) for every line that is not all zero."""
        zero = bytes(LINE_LEN)
        with open(self.path, "rb") as file:
            offset = LINE_LEN
            file.seek(offset)
            while block := file.read(1 << 20):
                for at in range(0, len(block), LINE_LEN) if any(block) else ():
                    line = block[at:at + LINE_LEN]
                    if line != zero:
                        hashed = struct.unpack_from("<I", line, DATA_LEN)[0]
                        yield offset + at, xxhash32(line[:DATA_LEN]) == hashed
                offset += len(block)
