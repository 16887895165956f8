# SPDX-License-Identifier: Apache-2.0
"""Chunk files: header, footer, position map, and the ongoing chunk that becomes a completed one."""

import hashlib
import os
import re
import struct
import uuid

HEADER_LEN = FOOTER_LEN = 128
ALIGN = 4096
FLAG_COMPLETED, FLAG_MAP12 = 1, 2
NAME = re.compile(r"^chunk-(\d{6})\.(\d{6})$")
_HEADER = struct.Struct("<BBiiii16sBB")
_FOOTER = struct.Struct("<Bi")
_MAP = struct.Struct("<iq")


class ChunkError(ValueError):
    """The file is not a chunk of the kind asked for."""


class Header:
    """The first 128 bytes. `version` is byte 34: 0 up to 24.2, 4 from 24.6."""

    def __init__(self, size, start, end, scavenged=0, chunk_id=None, version=4, transform=0):
        self.size, self.start, self.end, self.scavenged = size, start, end, scavenged
        self.chunk_id = chunk_id or uuid.uuid4().bytes_le
        self.version, self.transform = version, transform
        self.min_compatible = 4 if transform else 3
        self.file_type = 2

    def pack(self):
        return _HEADER.pack(2, self.min_compatible, self.size, self.start, self.end, self.scavenged,
                            self.chunk_id, self.version, self.transform).ljust(HEADER_LEN, b"\0")

    @classmethod
    def parse(cls, raw):
        if len(raw) < HEADER_LEN:
            raise ChunkError("%d bytes are too few for a header" % len(raw))
        fields = _HEADER.unpack_from(raw)
        if fields[0] != 2:
            raise ChunkError("file type %d, not 2" % fields[0])
        head = cls(*fields[2:6], fields[6], fields[7], fields[8])
        head.min_compatible = fields[1]
        head.padding = raw[_HEADER.size:HEADER_LEN]
        return head


class Footer:
    """The last 128 bytes."""

    def __init__(self, flags, physical, logical, map_size, md5=b""):
        self.flags, self.physical, self.logical = flags, physical, logical
        self.map_size, self.md5 = map_size, md5

    @property
    def completed(self):
        return bool(self.flags & FLAG_COMPLETED)

    def pack(self):
        """All but the MD5."""
        return struct.pack("<BiqI", self.flags, self.physical, self.logical,
                           self.map_size).ljust(FOOTER_LEN - 16, b"\0")

    @classmethod
    def parse(cls, raw):
        flags, physical = _FOOTER.unpack_from(raw)
        form = "<qi" if flags & FLAG_MAP12 else "<ii"
        logical, map_size = struct.unpack_from(form, raw, 5)
        return cls(flags, physical, logical, map_size, bytes(raw[FOOTER_LEN - 16:FOOTER_LEN]))


def aligned(length):
    return (length + ALIGN - 1) // ALIGN * ALIGN


def ongoing_size(chunk_size):
    return aligned(chunk_size + HEADER_LEN + FOOTER_LEN)


def name(number, version=0):
    return "chunk-%06d.%06d" % (number, version)


def pack_map(entries):
    return b"".join(_MAP.pack(actual, logical) for actual, logical in entries)


def parse_map(raw):
    return list(_MAP.iter_unpack(raw))


def tail_of(data_len, physical, logical, map_raw):
    """Map, padding and footer without MD5: what completes a file of header and `data_len` bytes."""
    used = HEADER_LEN + data_len + len(map_raw) + FOOTER_LEN
    footer = Footer(FLAG_COMPLETED | FLAG_MAP12, physical, logical, len(map_raw))
    return map_raw + bytes(aligned(used) - used) + footer.pack()


def build_completed(header, data, logical, map_raw=b"", prefix=b""):
    """The whole of a completed chunk; `prefix` is a transform header."""
    body = header.pack() + prefix + data
    body += tail_of(len(prefix) + len(data), len(data), logical, map_raw)
    return body + hashlib.md5(body).digest()


class ChunkFile:
    """A chunk file read into memory."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.raw = file.read()
        self.path = path
        self.header = Header.parse(self.raw)
        if len(self.raw) < HEADER_LEN + FOOTER_LEN:
            raise ChunkError("%s: too short for header and footer" % path)
        self.footer = Footer.parse(self.raw[-FOOTER_LEN:])

    @property
    def md5_good(self):
        return hashlib.md5(self.raw[:-16]).digest() == self.raw[-16:]

    @property
    def data(self):
        end = HEADER_LEN + self.footer.physical if self.footer.completed else -FOOTER_LEN
        return memoryview(self.raw)[HEADER_LEN:end]

    @property
    def posmap(self):
        start = HEADER_LEN + self.footer.physical
        return parse_map(self.raw[start:start + self.footer.map_size])


class OngoingChunk:
    """The chunk that is written. Created under a temporary name, completed footer first."""

    def __init__(self, path, header, chunk_size):
        self.path, self.header, self.chunk_size = path, header, chunk_size
        self.fd = None
        self.used = 0
        self.md5 = None

    @classmethod
    def create(cls, directory, number, chunk_size, version, preallocate=False):
        final = os.path.join(directory, name(number))
        header = Header(chunk_size, number, number, version=version)
        self = cls(final, header, chunk_size)
        temp = "%s.%s.tmp" % (final, uuid.uuid4())
        self.fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if preallocate:
            os.posix_fallocate(self.fd, 0, ongoing_size(chunk_size))
        else:
            os.ftruncate(self.fd, ongoing_size(chunk_size))
        os.pwrite(self.fd, header.pack(), 0)
        os.rename(temp, final)
        self.md5 = hashlib.md5(header.pack())
        return self

    @classmethod
    def open(cls, path, used):
        os.chmod(path, 0o644)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        head = os.pread(fd, HEADER_LEN + used, 0)
        header = Header.parse(head)
        self = cls(path, header, header.size)
        self.fd, self.used, self.md5 = fd, used, hashlib.md5(head)
        os.ftruncate(fd, HEADER_LEN + used)            # nothing old may show beyond the writer
        os.ftruncate(fd, ongoing_size(header.size))
        return self

    def write(self, data):
        os.pwrite(self.fd, data, HEADER_LEN + self.used)
        self.used += len(data)
        self.md5.update(data)

    def complete(self):
        """Footer at the end of the data, then the cut to size, then read-only."""
        tail = tail_of(self.used, self.used, self.used, b"")
        self.md5.update(tail)
        os.pwrite(self.fd, tail + self.md5.digest(), HEADER_LEN + self.used)
        os.ftruncate(self.fd, HEADER_LEN + self.used + len(tail) + 16)
        os.fchmod(self.fd, 0o444)

    def close(self):
        os.close(self.fd)


def listing(directory):
    """{path of every chunk-shaped file: (start, version)}, sorted."""
    found = []
    for entry in sorted(os.listdir(directory)):
        match = NAME.match(entry)
        if match:
            found.append((int(match[1]), int(match[2]), os.path.join(directory, entry)))
    return found


def read_header(path):
    with open(path, "rb") as file:
        return Header.parse(file.read(HEADER_LEN))


def current(directory):
    """[(header, path)] of the files that count: the latest version of each range, in order."""
    latest = {}
    for start, version, path in listing(directory):
        latest[start] = path
    chosen, covered = [], -1
    for start in sorted(latest):
        if start <= covered:
            continue
        header = read_header(latest[start])
        chosen.append((header, latest[start]))
        covered = header.end
    return chosen
