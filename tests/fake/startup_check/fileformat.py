# SPDX-License-Identifier: Apache-2.0
"""Readers for node files, written from reference/kurrentdb.md alone; nothing shared with the fake."""

import hashlib
import re
import struct

CHUNK_NAME = re.compile(r"chunk-([0-9]{6})\.([0-9]{6})\Z")
GUID_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
U32 = 0xFFFFFFFF


class Bad(Exception):
    """A file does not hold what its kind must hold."""


def rotate(value, by):
    return (value << by & U32) | value >> (32 - by)


def xx(data, seed=0xC58F1A7B):
    """xxHash, first edition."""
    a, b, c, d = 2654435761, 2246822519, 3266489917, 668265263
    size = len(data)
    if size >= 16:
        one = seed + a & U32
        two = one * b + size & U32
        three = two * c & U32
        four = three * d & U32
        at = 0
        while at < size - 16:
            w = struct.unpack_from("<IIII", data, at)
            one = (one + rotate(one, 13)) * a + w[0] & U32
            two = (two + rotate(two, 11)) * a + w[1] & U32
            three = (three + rotate(three, 17)) * a + w[2] & U32
            four = (four + rotate(four, 19)) * a + w[3] & U32
            at += 16
        w = struct.unpack_from("<IIII", data, size - 16)
        one = ((one + rotate(one, 17)) * a + w[0]) * b & U32
        two = ((two + rotate(two, 19)) * a + w[1]) * b & U32
        three = ((three + rotate(three, 13)) * a + w[2]) * b & U32
        four = ((four + rotate(four, 11)) * a + w[3]) * b & U32
        one = (one + rotate(one, 11)) * c & U32
        two = (two + rotate(two, 17)) * c & U32
        three = (three + rotate(three, 19)) * c & U32
        four = (four + rotate(four, 13)) * c & U32
        h = one + rotate(two, 3) + rotate(three, 6) + rotate(four, 9) & U32
        h ^= h >> 11
        h = h + (d + size) * a & U32
        h = (h ^ h >> 15) * b & U32
        return h ^ h >> 13
    h, step, at = 0x165667B1, seed + a & U32, 0
    while at < size - 4:
        h = h + struct.unpack_from("<I", data, at)[0] + step & U32
        h = (h + rotate(h, 17) * d) * a & U32
        step, at = step + 1, at + 4
    while at < size:
        h = (h + data[at] + step) * a & U32
        step, at = step + 1, at + 1
    h = h + size & U32
    h = (h ^ h >> 15) * b & U32
    h = (h ^ h >> 13) * c & U32
    return h ^ h >> 16


def mm(data, seed=0xC58F1A7B):
    """Murmur3, 32 bits."""
    h, size = seed, len(data)
    padded = data + bytes(-size % 4)
    for at in range(0, len(padded), 4):
        k = struct.unpack_from("<I", padded, at)[0] * 0xCC9E2D51 & U32
        h ^= rotate(k, 15) * 0x1B873593 & U32
        if at + 4 <= size:
            h = rotate(h, 13) * 5 + 0xE6546B64 & U32
    h ^= size
    h = (h ^ h >> 16) * 0x85EBCA6B & U32
    h = (h ^ h >> 13) * 0xC2B2AE35 & U32
    return h ^ h >> 16


def stream_key(name):
    raw = name.encode("utf-16-le")
    return xx(raw) << 32 | mm(raw)


class ChunkInfo:
    """Header and footer of a chunk file, by field."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        with open(path, "rb") as file:
            head = file.read(128)
            self.length = file.seek(0, 2)
            if self.length < 256:
                raise Bad("%d bytes do not have enough size for header and footer" % self.length)
            file.seek(-128, 2)
            foot = file.read(128)
        (self.kind, self.compatible, self.size, self.first, self.last,
         self.scavenged) = struct.unpack_from("<BBiiii", head)
        self.edition, self.transform = head[34], head[35]
        if self.kind != 2:
            raise Bad("file type is %d, not 2" % self.kind)
        self.completed = bool(foot[0] & 1)
        self.physical = struct.unpack_from("<i", foot, 1)[0]
        wide = foot[0] & 2
        self.logical = struct.unpack_from("<q" if wide else "<i", foot, 5)[0]
        self.map_size = struct.unpack_from("<i", foot, 13 if wide else 9)[0]
        self.map_width = 12 if wide else 8
        self.md5 = foot[112:]

    def body(self):
        with open(self.path, "rb") as file:
            raw = file.read()
        if self.completed:
            return memoryview(raw)[128:128 + self.physical]
        return memoryview(raw)[128:]

    def map_rows(self):
        with open(self.path, "rb") as file:
            file.seek(128 + self.physical)
            raw = file.read(self.map_size)
        return list(struct.iter_unpack("<iq" if self.map_width == 12 else "<ii", raw))

    def hash_matches(self):
        digest, left = hashlib.md5(), self.length - 16
        with open(self.path, "rb") as file:
            while left:
                part = file.read(min(left, 1 << 20))
                digest.update(part)
                left -= len(part)
        return digest.digest() == self.md5


def dotnet_string(raw, at):
    size = shift = 0
    while True:
        size |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 0x80:
            return bytes(raw[at:at + size]).decode(), at + size


class LogRecord:
    """kind, position, and for an event its stream, number, type, ids, ticks, data."""

    def __init__(self, raw):
        self.raw = raw
        self.kind, self.edition, self.position = struct.unpack_from("<BBq", raw)
        self.stream = self.number = self.epoch = None
        if self.kind == 0:
            self._event(raw)
        elif self.kind == 2:
            self.epoch = raw[18] == 1
            self.ticks = struct.unpack_from("<q", raw, 10)[0]
            self.data = raw[32:]
        elif self.kind != 1:
            raise Bad("record of type %d" % self.kind)

    def _event(self, raw):
        self.flags, self.transaction, self.offset = struct.unpack_from("<Hqi", raw, 10)
        width, at = ("<i", 28) if self.edition == 0 else ("<q", 32)
        self.number = struct.unpack_from(width, raw, 24)[0] + 1
        self.stream, at = dotnet_string(raw, at)
        self.ids = raw[at:at + 32]
        self.ticks = struct.unpack_from("<q", raw, at + 32)[0]
        self.type, at = dotnet_string(raw, at + 40)
        size = struct.unpack_from("<i", raw, at)[0]
        self.data = raw[at + 4:at + 4 + size]
        rest = struct.unpack_from("<i", raw, at + 4 + size)[0]
        if size < 0 or rest < 0 or at + 8 + size + rest != len(raw):
            raise Bad("an event's lengths do not add up")


def split(data, end):
    """(offset, record bytes) of the frames in [0, end); Bad when they do not fill it exactly."""
    at = 0
    while at < end:
        if at + 8 > end:
            raise Bad("%d bytes before the end are no frame" % (end - at))
        size = struct.unpack_from("<i", data, at)[0]
        if size <= 0 or at + 8 + size > end:
            raise Bad("length prefix %d at offset %d does not fit before %d" % (size, at, end))
        again = struct.unpack_from("<i", data, at + 4 + size)[0]
        if again != size:
            raise Bad("prefix length (%d) != suffix length (%d) at offset %d" % (size, again, at))
        yield at, bytes(data[at + 4:at + 4 + size])
        at += size + 8


def read_map(raw):
    """(commit, [(level, position, name)]) of an indexmap."""
    if hashlib.md5(raw[32:]).hexdigest().upper().encode("ascii") != raw[:32]:
        raise Bad("its hash differs")
    rows = raw.decode("ascii").split("\n")
    edition = int(rows[1])
    _, commit = rows[2].split("/")
    tables = [row.split(",") for row in rows[3 if edition == 1 else 4:] if row]
    return int(commit), [(int(a), int(b), c) for a, b, c in tables]


def read_table(raw):
    """Entries (number, key, position) of a PTable; Bad when anything is wrong."""
    if len(raw) < 144 or raw[0] != 1 or raw[1] not in (2, 3, 4):
        raise Bad("is no table")
    if hashlib.md5(raw[:-16]).digest() != raw[-16:]:
        raise Bad("hashes are different")
    end, points = len(raw) - 16, 0
    if raw[1] == 4:
        end -= 128
        if raw[end] != 1 or raw[end + 1] != 4:
            raise Bad("its footer is not that of a table")
        points = struct.unpack_from("<I", raw, end + 2)[0]
    stop = end - 24 * points
    width = "<iQq" if raw[1] == 2 else "<qQq"
    step = struct.calcsize(width)
    if stop < 128 or (stop - 128) % step:
        raise Bad("its size does not fit its entries")
    rows = list(struct.iter_unpack(width, raw[128:stop]))
    for number, key, at in struct.iter_unpack("<qQq", raw[stop:end]):
        if not 0 <= at < len(rows) or rows[at][:2] != (number, key):
            raise Bad("index entry key for midpoint %d differs" % at)
    return rows


class Bloom:
    """A filter file, read whole when small, line by line otherwise."""

    def __init__(self, path):
        self.file = open(path, "rb")
        head = self.file.read(64)
        self.length = self.file.seek(0, 2)
        if len(head) < 64 or head[0] != 1:
            raise Bad("is no filter")
        self.bits = struct.unpack_from("<q", head, 8)[0]
        want = (self.bits // 8 + self.bits // 480 * 4 + 64) // 64 * 64 + 64
        if self.length != want:
            raise Bad("%d bytes, not %d" % (self.length, want))

    def bad_lines(self):
        """How many of how many lines fail their hash; zero lines are good."""
        bad = total = 0
        self.file.seek(64)
        while part := self.file.read(64 * 4096):
            total += len(part) // 64
            if part.count(0) == len(part):
                continue
            for at in range(0, len(part), 64):
                line = part[at:at + 64]
                if any(line) and xx(line[:60]) != struct.unpack_from("<I", line, 60)[0]:
                    bad += 1
        return bad, total

    def holds(self, key):
        raw = struct.pack("<Q", key)
        value = xx(raw, 0xC0015EED) << 32 | mm(raw, 0xC0015EED)
        step = xx(raw, 0x13375EED) << 32 | mm(raw, 0x13375EED)
        for _ in range(6):
            value = value + step & 0x7FFFFFFFFFFFFFFF
            bit = value % self.bits
            byte = bit >> 3
            self.file.seek(64 + byte // 60 * 64 + byte % 60)
            if not self.file.read(1)[0] & 128 >> (bit & 7):
                return False
        return True

    def close(self):
        self.file.close()
