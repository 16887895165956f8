# SPDX-License-Identifier: Apache-2.0
"""Log records: framing (length, record, length), prepare, commit and system layouts.

A parsed record carries everything a reader of the log can know; `raw` is the record without frame.
"""

import struct
import uuid

PREPARE, COMMIT, SYSTEM = 0, 1, 2
SYSTEM_EPOCH = 1
SERIALIZATION_JSON = 2
FLAGS_EVENT = 0x127        # data, first and last of its transaction, committed, JSON
RECORD_LEN_MAX = 16 * 1024 * 1024
_HEAD = struct.Struct("<BBq")
_SYSTEM = struct.Struct("<qBBqi")


class RecordError(ValueError):
    """The bytes are not a record."""


class Record:
    """One record; attributes that a kind does not have are None."""

    __slots__ = ("kind", "version", "position", "length", "stream", "event_type", "expected",
                 "flags", "transaction", "event_id", "correlation", "ticks", "data", "meta",
                 "system_kind", "reserved")

    def __init__(self):
        for name in self.__slots__:
            setattr(self, name, None)

    @property
    def event_number(self):
        """The number a committed event has in its stream; None for everything else."""
        if self.kind != PREPARE:
            return None
        return self.expected + 1

    @property
    def is_epoch(self):
        return self.kind == SYSTEM and self.system_kind == SYSTEM_EPOCH


def frame(raw):
    length = struct.pack("<i", len(raw))
    return length + raw + length


def _string(text):
    raw = text.encode()
    size = len(raw)
    prefix = bytearray()
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + raw


def _read_string(raw, pos):
    size = shift = 0
    while True:
        byte = raw[pos]
        pos += 1
        size |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            break
    if pos + size > len(raw):
        raise RecordError("a string runs past the record")
    return raw[pos:pos + size].decode(), pos + size


def pack_prepare(position, stream, number, event_type, event_id, correlation, ticks, data):
    """A framed, committed one-event transaction, version 1."""
    return frame(b"".join((
        struct.pack("<BBqHqiq", PREPARE, 1, position, FLAGS_EVENT, position, 0, number - 1),
        _string(stream), event_id, correlation, struct.pack("<q", ticks), _string(event_type),
        struct.pack("<i", len(data)), data, b"\0\0\0\0")))


def pack_epoch(position, ticks, text):
    """A framed epoch record; `text` is its JSON."""
    return frame(_HEAD.pack(SYSTEM, 0, position)
                 + _SYSTEM.pack(ticks, SYSTEM_EPOCH, SERIALIZATION_JSON, 0, len(text)) + text)


def _parse_prepare(rec, raw):
    flags, tran, _offset = struct.unpack_from("<Hqi", raw, 10)
    rec.flags, rec.transaction = flags, tran
    if rec.version == 0:
        rec.expected = struct.unpack_from("<i", raw, 24)[0]
        pos = 28
        if rec.expected == 0x7FFFFFFE:              # a tombstone of the 32-bit days
            rec.expected = 0x7FFFFFFFFFFFFFFE
    else:
        rec.expected = struct.unpack_from("<q", raw, 24)[0]
        pos = 32
    rec.stream, pos = _read_string(raw, pos)
    rec.event_id, rec.correlation = raw[pos:pos + 16], raw[pos + 16:pos + 32]
    rec.ticks = struct.unpack_from("<q", raw, pos + 32)[0]
    rec.event_type, pos = _read_string(raw, pos + 40)
    for name in ("data", "meta"):
        size = struct.unpack_from("<i", raw, pos)[0]
        if size < 0 or pos + 4 + size > len(raw):
            raise RecordError("%s of %d bytes runs past the record" % (name, size))
        setattr(rec, name, raw[pos + 4:pos + 4 + size])
        pos += 4 + size
    if pos != len(raw):
        raise RecordError("%d bytes after the prepare" % (len(raw) - pos))


def _parse_system(rec, raw):
    rec.ticks, rec.system_kind, _, rec.reserved, size = _SYSTEM.unpack_from(raw, 10)
    rec.data = raw[10 + _SYSTEM.size:]
    if len(rec.data) != size:
        raise RecordError("system record data is %d bytes, not %d" % (len(rec.data), size))


def parse(raw):
    """A record without its frame."""
    raw = bytes(raw)
    rec = Record()
    try:
        rec.kind, rec.version, rec.position = _HEAD.unpack_from(raw)
        rec.length = len(raw) + 8
        if rec.kind == PREPARE:
            _parse_prepare(rec, raw)
        elif rec.kind == SYSTEM:
            _parse_system(rec, raw)
        elif rec.kind != COMMIT:
            raise RecordError("record type %d" % rec.kind)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise RecordError("%s at log position %s" % (error, rec.position)) from error
    return rec


def frames(data, limit=None):
    """Yield (offset, raw record) until the zeros that follow the last record, or `limit`."""
    limit = len(data) if limit is None else limit
    offset = 0
    while offset + 4 <= limit:
        length = struct.unpack_from("<i", data, offset)[0]
        if length == 0:
            return
        if length < 0 or length > RECORD_LEN_MAX or offset + length + 8 > limit:
            raise RecordError("length %d at offset %d does not fit" % (length, offset))
        if struct.unpack_from("<i", data, offset + 4 + length)[0] != length:
            raise RecordError("length prefix and suffix differ at offset %d" % offset)
        yield offset, data[offset + 4:offset + 4 + length]
        offset += length + 8


def guid_bytes(value):
    """.NET order of a UUID."""
    return uuid.UUID(str(value)).bytes_le
