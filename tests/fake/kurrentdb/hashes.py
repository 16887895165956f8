# SPDX-License-Identifier: Apache-2.0
"""The three hashes that node files hold: xxHash (first edition, 32 bit), Murmur3A, and the
64-bit stream hash made of both. All were proven against real node directories.

The first edition of xxHash differs from today's XXH32: other rounds, other mixing at the end.
"""

import struct

SEED_DEFAULT = 0xC58F1A7B
_P1, _P2, _P3, _P4, _P5 = 2654435761, 2246822519, 3266489917, 668265263, 0x165667B1
_M = 0xFFFFFFFF


def _rotl(x, r):
    return ((x << r) | (x >> (32 - r))) & _M


def _avalanche(crc, length):
    crc ^= crc >> 11
    crc = (crc + (_P4 + length) * _P1) & _M
    crc ^= crc >> 15
    crc = crc * _P2 & _M
    return crc ^ (crc >> 13)


def _xxhash_small(data, seed):
    crc = _P5
    idx = (seed + _P1) & _M
    pos = 0
    while pos < len(data) - 4:
        crc = (crc + int.from_bytes(data[pos:pos + 4], "little") + idx) & _M
        idx = (idx + 1) & _M
        crc = (crc + _rotl(crc, 17) * _P4) * _P1 & _M
        pos += 4
    for byte in data[pos:]:
        crc = (crc + byte + idx) * _P1 & _M
        idx = (idx + 1) & _M
    crc = (crc + len(data)) & _M
    crc ^= crc >> 15
    crc = crc * _P2 & _M
    crc ^= crc >> 13
    crc = crc * _P3 & _M
    return crc ^ (crc >> 16)


def _round(lanes, words, rotations):
    return [((v + _rotl(v, r)) * _P1 + w) & _M for v, w, r in zip(lanes, words, rotations)]


def xxhash32(data, seed=SEED_DEFAULT):
    """Hash of bytes; the last 16 bytes are always a round of their own, even when they overlap."""
    length = len(data)
    if length < 16:
        return _xxhash_small(data, seed)
    v1 = (seed + _P1) & _M
    v2 = (v1 * _P2 + length) & _M
    v3 = v2 * _P3 & _M
    lanes = [v1, v2, v3, v3 * _P4 & _M]
    for pos in range(0, length - 16, 16):
        lanes = _round(lanes, struct.unpack_from("<4I", data, pos), (13, 11, 17, 19))
    lanes = _round(lanes, struct.unpack_from("<4I", data, length - 16), (17, 19, 13, 11))
    lanes = [v * _P2 & _M for v in lanes]
    lanes = [(v + _rotl(v, r)) * _P3 & _M for v, r in zip(lanes, (11, 17, 19, 13))]
    crc = lanes[0] + _rotl(lanes[1], 3) + _rotl(lanes[2], 6) + _rotl(lanes[3], 9)
    return _avalanche(crc & _M, length)


def murmur3a(data, seed=SEED_DEFAULT):
    """MurmurHash3 x86 32 bit."""
    h = seed
    whole = len(data) // 4
    for k in struct.unpack_from("<%dI" % whole, data):
        h ^= _rotl(k * 0xCC9E2D51 & _M, 15) * 0x1B873593 & _M
        h = (_rotl(h, 13) * 5 + 0xE6546B64) & _M
    tail = data[whole * 4:]
    if tail:
        k = int.from_bytes(tail, "little")
        h ^= _rotl(k * 0xCC9E2D51 & _M, 15) * 0x1B873593 & _M
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & _M
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & _M
    return h ^ (h >> 16)


def stream_hash(name):
    """The 64-bit key of a stream in index tables and filters; hashes the name as UTF-16LE."""
    raw = name.encode("utf-16-le")
    return xxhash32(raw) << 32 | murmur3a(raw)
