# SPDX-License-Identifier: Apache-2.0
"""The fake node's seed rule a second time, from tests/fake/kurrentdb/README.md."""

import hashlib
import json
import struct
import uuid

WORDS = ("amber basket copper delta ember fennel garnet harbor indigo jasmine kettle lantern "
         "meadow nickel olive pepper quartz").split()
TYPES = ("OrderPlaced OrderPaid OrderShipped OrderReturned "
         "AccountOpened AccountCredited AccountDebited AddressChanged").split()


def item(j):
    return '{"sku":"%s-%05d","note":"%s %s","qty":%d,"price":%d.%02d}' % (
        WORDS[j * 7 % 17], j * 7919 % 100003, WORDS[j * 5 % 17], WORDS[j * 3 % 17],
        j % 9 + 1, j * 31 % 997, j % 100)


ITEMS = [item(j) for j in range(1024)]


def random_bytes(seed, epoch, position):
    source = b"cf01" + struct.pack("<QQQ", seed, epoch, position)
    return hashlib.shake_128(source).digest(136)


def wrong(record, seed, epoch, epoch_text):
    """None, or why a record is not what the rule puts at its position."""
    at = record.position
    if record.kind == 2:
        return _wrong_epoch(record, seed, epoch)
    if record.kind != 0:
        return "unexpected record of type %d" % record.kind
    rand = random_bytes(seed, epoch, at)
    if record.ids != rand[:32]:
        return "event and correlation id are of another seed, epoch or position"
    if record.ticks != 638700000000000000 + at * 10:
        return "time differs"
    if record.flags != 0x127 or record.transaction != at or record.offset:
        return "flags or transaction differ"
    if record.stream == "$epoch-information":
        return None if record.data == epoch_text else "data is not that of the epoch record"
    if record.stream == "$scavengePoints":
        return None if record.data == b"{}" else "data of a scavenge point differs"
    return _wrong_event(record, rand, epoch)


def _wrong_event(record, rand, epoch):
    one, two = struct.unpack_from("<II", rand, 32)
    stream = "account-%03d" % (one // 128 % 64) if one % 128 else "order-%d" % record.position
    if record.stream != stream:
        return "stream is '%s', not '%s'" % (record.stream, stream)
    if record.type != TYPES[two % 8]:
        return "type is '%s', not '%s'" % (record.type, TYPES[two % 8])
    first, count = two // 128 % 1004, 2 + two // 8 % 16
    data = '{"position":%d,"epoch":%d,"currency":"EUR","token":"%s","lines":[%s]}' % (
        record.position, epoch, rand[40:].hex(), ",".join(ITEMS[first:first + count]))
    return None if record.data == data.encode() else "data differs"


def _wrong_epoch(record, seed, epoch):
    fields = json.loads(record.data)
    instance = uuid.UUID(fields["leaderInstanceId"]).int
    if instance != 0xCF0CF0CF0CF04000 << 64 | seed:
        return "epoch record is of another seed"
    expected = uuid.UUID(bytes=random_bytes(seed, epoch, record.position)[:16], version=4)
    if epoch and fields["epochId"] != str(expected):
        return "epochId differs"
    return None
