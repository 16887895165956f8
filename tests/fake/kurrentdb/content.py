# SPDX-License-Identifier: Apache-2.0
"""The seed rule: what stands at a log position is a function of (seed, epoch number, position).

Only the event's number in its stream also depends on what stands before it. README.md, "Seed
rule", is the specification; tests/fake/startup_check implements it a second time.
"""

import datetime
import hashlib
import json
import struct
import uuid

from . import record

TICKS_BASE = 638_700_000_000_000_000
EVENT_TYPES = ("OrderPlaced", "OrderPaid", "OrderShipped", "OrderReturned",
               "AccountOpened", "AccountCredited", "AccountDebited", "AddressChanged")
POOL_ITEMS = 1024
_WORDS = ("amber", "basket", "copper", "delta", "ember", "fennel", "garnet", "harbor", "indigo",
          "jasmine", "kettle", "lantern", "meadow", "nickel", "olive", "pepper", "quartz")
_INSTANCE_HIGH = 0xCF0CF0CF0CF04000 << 64


def _make_pool():
    """The items of all events, one after another, and where each begins."""
    text, offsets = bytearray(), []
    for j in range(POOL_ITEMS):
        a, b, c = (_WORDS[j * k % len(_WORDS)] for k in (7, 5, 3))
        offsets.append(len(text))
        text += b'{"sku":"%s-%05d","note":"%s %s","qty":%d,"price":%d.%02d},' % (
            a.encode(), j * 7919 % 100003, b.encode(), c.encode(), j % 9 + 1, j * 31 % 997, j % 100)
    offsets.append(len(text))
    return bytes(text), offsets


POOL, POOL_AT = _make_pool()
_DRAW = struct.Struct("<4sQQQ")


def draw(seed, epoch, position, size=136):
    """The random bytes of a position."""
    return hashlib.shake_128(_DRAW.pack(b"cf01", seed, epoch, position)).digest(size)


def ticks(position):
    return TICKS_BASE + position * 10


def stream_of(seed, epoch, position):
    return _stream(draw(seed, epoch, position), position)


def _stream(rand, position):
    pick = int.from_bytes(rand[32:36], "little")
    if pick % 128 == 0:
        return "order-%d" % position
    return "account-%03d" % ((pick >> 7) % 64)


def event(seed, epoch, position):
    """(stream, type, event id, correlation id, data) of the event at a position."""
    rand = draw(seed, epoch, position)
    pick = int.from_bytes(rand[36:40], "little")
    first = (pick >> 7) % (POOL_ITEMS - 20)
    count = 2 + ((pick >> 3) & 15)
    items = POOL[POOL_AT[first]:POOL_AT[first + count] - 1]
    data = b'{"position":%d,"epoch":%d,"currency":"EUR","token":"%s","lines":[%s]}' % (
        position, epoch, rand[40:136].hex().encode(), items)
    return _stream(rand, position), EVENT_TYPES[pick & 7], rand[:16], rand[16:32], data


def epoch_id(seed, number, position):
    return str(uuid.UUID(bytes=draw(seed, number, position)[:16], version=4))


def epoch_json(seed, number, position, previous, chosen_id=None):
    """The JSON of an epoch record; values of zero are left out as the server does."""
    when = datetime.datetime(1, 1, 1) + datetime.timedelta(microseconds=ticks(position) // 10)
    fields = {"epochPosition": position, "epochNumber": number} if number else {}
    fields["epochId"] = chosen_id or epoch_id(seed, number, position)
    fields["prevEpochPosition"] = previous
    fields["timeStamp"] = when.isoformat() + "Z"
    fields["leaderInstanceId"] = str(uuid.UUID(int=_INSTANCE_HIGH | seed))
    return json.dumps(fields, indent=2).encode()


def seed_of(instance_id):
    """The seed that an epoch record's leaderInstanceId carries; None for a real server's."""
    value = uuid.UUID(instance_id).int
    return value & (1 << 64) - 1 if value >> 64 << 64 == _INSTANCE_HIGH else None


def epoch_records(seed, number, position, previous, chosen_id=None):
    """The epoch record and, right behind it, its copy in $epoch-information."""
    text = epoch_json(seed, number, position, previous, chosen_id)
    first = record.pack_epoch(position, ticks(position), text)
    second_at = position + len(first)
    rand = draw(seed, number, second_at)
    second = record.pack_prepare(second_at, "$epoch-information", number, "$epoch-information",
                                 rand[:16], rand[16:32], ticks(second_at), text)
    return first, second


def scavenge_point(seed, epoch, position, number):
    rand = draw(seed, epoch, position)
    return record.pack_prepare(position, "$scavengePoints", number, "$scavengePoint",
                               rand[:16], rand[16:32], ticks(position), b"{}")
