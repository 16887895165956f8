#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Would a KurrentDB server start on this directory, and serve the right data?

Simulates the server's start in memory. Exit 0: starts and is whole (warnings allowed), 1: does not
start, 2: starts but data is lost or wrong, 3: usage.
"""

import argparse
import json
import os
import stat
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import seedrule                                                          # noqa: E402
from fileformat import (CHUNK_NAME, GUID_NAME, Bad, Bloom, ChunkInfo, LogRecord,   # noqa: E402
                        read_map, read_table, split, stream_key)

FATAL, DAMAGE, WARNING, NOTE = "fatal", "damage", "warning", "note"
CHECKPOINTS = {"writer": 0, "chaser": 0, "epoch": -1, "truncate": -1, "proposal": -1}


class Stop(Exception):
    """The server gives up here; nothing after it is looked at."""


class Check:
    """One simulated start. `cut` is where the truncator cut, as the files still show the rest."""

    def __init__(self, args):
        self.args, self.db = args, args.db
        self.index = args.index or os.path.join(args.db, "index")
        self.found, self.facts = [], {}
        self.cut = None
        self.records = {}
        self.streams = {}
        self.scavenged = []
        self.opaque = False

    def say(self, level, name, reason):
        self.found.append((level, name, reason))
        if level == FATAL:
            raise Stop()

    # -- reading the directory -----------------------------------------------------------------

    def read_checkpoints(self):
        self.chk = {}
        for name, default in CHECKPOINTS.items():
            path = os.path.join(self.db, name + ".chk")
            value = default
            if not os.path.exists(path):
                self.say(WARNING, name + ".chk", "is missing; the server takes %d" % default)
            else:
                with open(path, "rb") as file:
                    raw = file.read()
                if len(raw) < 8:
                    self.say(WARNING, name + ".chk", "has %d bytes" % len(raw))
                if len(raw) > 8:
                    self.say(WARNING, name + ".chk", "has %d bytes, is set to 8" % len(raw))
                value = struct.unpack("<q", raw[:8].ljust(8, b"\0"))[0]
            self.chk[name] = value
        self.facts["checkpoints"] = dict(self.chk)

    def read_chunks(self):
        """The files that count, by first chunk number; old versions go as the server lets them."""
        latest, self.size = {}, self.args.chunk_size
        for name in sorted(os.listdir(self.db)):
            match = CHUNK_NAME.match(name)
            if match:
                latest.setdefault(int(match[1]), []).append(name)
        self.chunks, covered, infos = [], -1, []
        for first in sorted(latest):
            name = latest[first][-1]
            for old in latest[first][:-1]:
                self.say(WARNING, old, "is an old version and is deleted")
            if first <= covered:
                self.say(WARNING, name, "lies in the range of an earlier file and is deleted")
                continue
            info = self._chunk(name, first)
            infos.append(info)
            if isinstance(info, ChunkInfo):
                covered = info.last
        self.chunks = infos
        if self.size is None:
            sizes = [i.size for i in infos if isinstance(i, ChunkInfo)]
            self.size = sizes[0] if sizes else 256 << 20

    def _chunk(self, name, first):
        """ChunkInfo, or (first, name, reason) when header or footer cannot be read."""
        path = os.path.join(self.db, name)
        try:
            info = ChunkInfo(name, path)
        except Bad as error:
            return (first, name, str(error))
        if info.first != first:
            return (first, name, "header says chunk %d" % info.first)
        if name.endswith(".000000") and info.last != info.first:
            return (first, name, "a merged chunk under version 0")
        return info

    def first_of(self, info):
        return info.first if isinstance(info, ChunkInfo) else info[0]

    # -- first start: truncation ----------------------------------------------------------------

    def truncate(self):
        at, writer = self.chk["truncate"], self.chk["writer"]
        if at == -1:
            return
        if not 0 <= at:
            self.say(FATAL, "truncate.chk", "%d is not a position" % at)
        limit = self.args.max_truncation
        if limit >= 0 and writer - at > limit:
            self.say(FATAL, "truncate.chk", "MaxTruncation is set (%d) and truncate checkpoint is "
                     "out of bounds (requested truncation is %d [%d => %d])"
                     % (limit, writer - at, writer, at))
        for info in self.chunks:
            if self.first_of(info) > writer // self.size:
                name = info.name if isinstance(info, ChunkInfo) else info[1]
                self.say(FATAL, name, "excessive TFChunk found during truncation: writer is in "
                         "chunk %d" % (writer // self.size))
        self.say(NOTE, "truncate.chk", "first start truncates %d => %d and exits with 0"
                 % (writer, at))
        if writer > at and at < self.chk["chaser"]:
            self.say(DAMAGE, "truncate.chk", "cuts %d bytes below the chaser (%d)"
                     % (self.chk["chaser"] - at, self.chk["chaser"]))
        number = at // self.size
        kept = []
        for info in self.chunks:
            if not isinstance(info, ChunkInfo):
                if info[0] >= number:
                    self.say(FATAL, info[1], info[2])
                kept.append(info)
            elif info.first <= number <= info.last:
                at = self._cut_chunk(info, at, kept)
            elif info.last < number:
                kept.append(info)
        self.chunks = kept
        self.cut = at
        for name in ("writer", "chaser"):
            self.chk[name] = min(self.chk[name], at)
        if self.chk["epoch"] >= at:
            self.chk["epoch"] = -1
        self.chk["truncate"] = -1

    def _cut_chunk(self, info, at, kept):
        if info.scavenged:
            self.say(DAMAGE, info.name, "truncation position %d is in the middle of a scavenged "
                     "chunk: it and all chunks after it are deleted" % at)
            return info.first * self.size
        info.completed = False
        info.length = max(info.length, 256)
        kept.append(info)
        return at

    # -- second start: TFChunkDb.Open -----------------------------------------------------------

    def open_log(self):
        writer = self.chk["writer"]
        for name in ("chaser", "epoch"):
            if self.chk[name] > writer:
                self.say(FATAL, name + ".chk", "checkpoint '%s' (%d) has greater value than writer "
                         "checkpoint (%d)" % (name, self.chk[name], writer))
        last = writer // self.size
        expect = 0
        by_first = sorted(self.chunks, key=self.first_of)
        for info in by_first:
            first = self.first_of(info)
            if first > last:
                self._extra(info, last)
                continue
            if not isinstance(info, ChunkInfo):
                self.say(FATAL, info[1], info[2])
            if first > expect:
                self._gap(expect, first)
            self._one_chunk(info, last, writer)
            expect = info.last + 1
        at_boundary = writer % self.size == 0
        if expect <= last and not (at_boundary and expect == last):
            self._gap(expect, last + 1, tail=True)
        self.chunks = [i for i in by_first if isinstance(i, ChunkInfo) and i.first <= last]

    def _gap(self, expect, first, tail=False):
        name = "chunk-%06d" % expect
        if self.args.archive and not self.records and expect == 0 and not tail:
            self.say(WARNING, name, "to %06d are absent; the archive must hold them" % (first - 1))
            return
        self.say(FATAL, name, "chunk not found (writer is in chunk %d)"
                 % (self.chk["writer"] // self.size))

    def _extra(self, info, last):
        name = info.name if isinstance(info, ChunkInfo) else info[1]
        first = self.first_of(info)
        if first == last + 1 and name.endswith(".000000"):
            self.say(WARNING, name, "is excessive; 24.10 deletes it, older versions do not start")
        else:
            self.say(FATAL, name, "unexpected file: the last chunk is %d" % last)

    def _one_chunk(self, info, last, writer):
        start = info.first * self.size
        if info.size != self.size:
            self.say(FATAL, info.name, "chunk size is %d, configured is %d"
                     % (info.size, self.size))
        if info.last < info.first:
            self.say(FATAL, info.name, "ends at %d before it starts" % info.last)
        if info.compatible not in (2, 3, 4):
            self.say(FATAL, info.name, "is of version %d" % info.compatible)
        if info.transform:
            self.say(WARNING, info.name, "is transformed (%d): records are not looked at"
                     % info.transform)
            self.opaque = True
        is_last = info.first <= last <= info.last
        ends_log = not is_last and info.last == last - 1 and writer % self.size == 0
        if not is_last and not info.completed and not ends_log:
            self.say(FATAL, info.name, "should be completed, but is not")
        if is_last and info.scavenged and writer != start:
            self.say(FATAL, info.name, "the last chunk is scavenged and the writer is inside it")
        used = self._geometry(info, is_last, writer - start)
        if info.completed and not info.hash_matches():
            level = FATAL if not is_last else WARNING
            self.say(level, info.name, "verification failed, hashes differ: the server ends "
                     "itself seconds after it came live")
        if not info.transform:
            self._walk(info, start, used)

    def _geometry(self, info, is_last, inside):
        """Bytes of records in the file."""
        if info.completed:
            used = info.physical
            if info.length % 4096 and info.compatible >= 3:
                self.say(FATAL, info.name, "%d bytes are not aligned" % info.length)
            if used < 0 or info.map_size < 0 or 256 + used + info.map_size > info.length:
                self.say(FATAL, info.name, "footer claims %d + %d bytes in a file of %d"
                         % (used, info.map_size, info.length))
            if is_last and not info.scavenged:
                used = min(used, inside) if inside <= used else used
                if inside > info.physical:
                    self.say(FATAL, info.name, "writer's position (%d) is beyond its data (%d)"
                             % (inside, info.physical))
            return used
        if not is_last:
            return None
        if info.length < 128 + inside:
            self.say(FATAL, info.name, "the file ends at %d, the writer's position is %d: the "
                     "server says that something is seriously wrong" % (info.length - 128, inside))
        return inside

    # -- records --------------------------------------------------------------------------------

    def _walk(self, info, start, used):
        data = info.body()
        if used is None:
            used = self._find_end(data)
        rows = info.map_rows() if info.completed and info.map_size > 0 else None
        where = {a: logical for a, logical in rows} if rows else {}
        if info.scavenged:
            self.scavenged.append((start, (info.last + 1) * self.size))
        seen = before = 0
        try:
            for at, raw in split(data, used):
                rec = LogRecord(raw)
                logical = rec.position - start
                if not info.scavenged and logical != at:
                    raise Bad("record at offset %d says log position %d" % (at, rec.position))
                if rows is not None and where.get(at) != logical:
                    raise Bad("position map does not lead to the record at offset %d" % at)
                if seen and logical <= before:
                    raise Bad("positions do not ascend at offset %d" % at)
                before, seen = logical, seen + 1
                self._note(info, rec)
        except (Bad, struct.error, IndexError, UnicodeDecodeError) as error:
            self.say(FATAL, info.name, "log cannot be read: %s" % error)
        if rows is not None and len(rows) != seen:
            self.say(FATAL, info.name, "position map has %d rows for %d records"
                     % (len(rows), seen))

    @staticmethod
    def _find_end(data):
        at = 0
        while at + 8 <= len(data):
            size = struct.unpack_from("<i", data, at)[0]
            if size <= 0:
                break
            at += size + 8
        return at

    def _note(self, info, rec):
        """Remember a record, and test it against the seed rule."""
        key = None
        if rec.kind == 0:
            key = self.streams.get(rec.stream)
            if key is None:
                key = self.streams[rec.stream] = stream_key(rec.stream)
        self.records[rec.position] = (len(rec.raw) + 8, key, rec.number, rec.epoch)
        if rec.epoch:
            fields = json.loads(rec.data)
            self.epoch_number, self.epoch_text = fields.get("epochNumber", 0), rec.data
            if rec.position == 0:
                self.facts["epochId"] = fields["epochId"]
        if self.args.seed is None or rec.position >= self.chk["chaser"]:
            return
        reason = seedrule.wrong(rec, self.args.seed, getattr(self, "epoch_number", 0),
                                getattr(self, "epoch_text", b""))
        if reason:
            self.say(DAMAGE, info.name, "record at log position %d: %s" % (rec.position, reason))

    def check_positions(self):
        if self.opaque:
            return
        epoch, chaser = self.chk["epoch"], self.chk["chaser"]
        archived = self.args.archive and self.chunks and epoch < self.chunks[0].first * self.size
        if epoch >= 0 and not archived and not self.records.get(epoch, (0, 0, 0, False))[3]:
            self.say(FATAL, "epoch.chk", "no epoch record at %d (LogRecord is not "
                     "SystemLogRecord)" % epoch)
        ends = chaser == 0 or chaser % self.size == 0 or chaser in self.records \
            or chaser == self.chk["writer"] or self._ends_at(chaser)
        if not ends:
            self.say(FATAL, "chaser.chk", "%d is not a record boundary" % chaser)
        if chaser < self.chk["writer"] and self.cut is None:
            self.say(NOTE, "chaser.chk", "is %d bytes behind the writer"
                     % (self.chk["writer"] - chaser))
        self._check_numbers()

    def _ends_at(self, position):
        return any(at + row[0] == position for at, row in self.records.items()
                   if position - 16777224 <= at < position)

    def _check_numbers(self):
        """With the fake's data, events of a stream are numbered without a gap if nothing was
        scavenged before them."""
        if self.args.seed is None or self.scavenged or self.args.archive:
            return
        expected = {}
        for at in sorted(self.records):
            _, key, number, _ = self.records[at]
            if key is not None:
                if number != expected.get(key, 0):
                    self.say(DAMAGE, "log", "event number %d at log position %d, expected %d"
                             % (number, at, expected.get(key, 0)))
                    return
                expected[key] = number + 1

    # -- the index ------------------------------------------------------------------------------

    def check_index(self):
        if not os.path.isdir(self.index):
            self.say(WARNING, "index", "is missing: full rebuild from the log")
            return
        tables = self._read_map()
        named = {row[2] for row in tables}
        for name in sorted(os.listdir(self.index)):
            path = os.path.join(self.index, name)
            base = name[:-len(".bloomfilter")] if name.endswith(".bloomfilter") else name
            if os.path.isdir(path) or name == "indexmap" or base in named:
                continue
            if GUID_NAME.match(base):
                self.say(WARNING, name, "is a table that the indexmap does not name; deleted")
            elif name != ".forceverify":
                self.say(WARNING, name, "is a foreign file in the index; deleted")
        for _, _, name in tables:
            if not self._check_table(name):
                break

    def _read_map(self):
        path = os.path.join(self.index, "indexmap")
        if not os.path.exists(path):
            self.say(WARNING, "indexmap", "is missing: full rebuild from the log")
            return []
        try:
            with open(path, "rb") as file:
                commit, tables = read_map(file.read())
        except (Bad, ValueError, IndexError) as error:
            self._rebuild("indexmap", error)
            return []
        self.facts["commit"] = commit
        if commit >= self.chk["chaser"]:
            self._rebuild("indexmap", "CommitCheckpoint (%d) is not below the chaser (%d)"
                          % (commit, self.chk["chaser"]))
            return []
        places = {}
        for level, position, _ in tables:
            if position != places.get(level, 0):
                self._rebuild("indexmap", "positions of level %d have a gap" % level)
            places[level] = position + 1
        return tables

    def _rebuild(self, name, reason):
        self.say(WARNING, name, "%s: index is corrupted, full rebuild" % reason)

    def _check_table(self, name):
        path = os.path.join(self.index, name)
        try:
            with open(path, "rb") as file:
                rows = read_table(file.read())
        except (OSError, Bad) as error:
            self._rebuild(name, error)
            return False
        keys = [(key, number) for number, key, _ in rows]
        if any(keys[k] < keys[k + 1] for k in range(len(keys) - 1)):
            self._rebuild(name, "entries are not in order")
            return False
        for number, key, position in rows:
            if not self._resolves(number, key, position):
                self.say(DAMAGE, name, "entry (event %d at %d) leads to no such record"
                         % (number, position))
                break
        self._check_table_filter(name, {key for key, _ in keys})
        return True

    def _resolves(self, number, key, position):
        if position >= self.chk["chaser"] or self.opaque:
            return True
        row = self.records.get(position)
        if row is None:
            return any(low <= position < high for low, high in self.scavenged) or \
                bool(self.args.archive)
        return row[1] is None or row[1] == key and row[2] == number

    def _check_table_filter(self, name, keys):
        path = os.path.join(self.index, name + ".bloomfilter")
        if not os.path.exists(path):
            self.say(NOTE, name, "has no bloom filter")
            return
        try:
            made = Bloom(path)
        except Bad as error:
            self.say(WARNING, name + ".bloomfilter", str(error))
            return
        bad, total = made.bad_lines()
        if bad:
            self.say(WARNING, name + ".bloomfilter", "%d corruption(s) in %d lines" % (bad, total))
        elif not all(made.holds(key) for key in keys):
            self.say(DAMAGE, name + ".bloomfilter", "does not hold every stream of its table")
        made.close()

    # -- the existence filter -------------------------------------------------------------------

    def check_filter(self):
        base = os.path.join(self.index, "stream-existence", "streamExistenceFilter")
        chk, dat = base + ".chk", base + ".dat"
        if not os.path.exists(chk):
            self.say(NOTE, "streamExistenceFilter.chk", "is missing: rebuilt")
            return
        with open(chk, "rb") as file:
            position = struct.unpack("<q", file.read(8).ljust(8, b"\xff"))[0]
        self.facts["filter"] = position
        if not os.path.exists(dat):
            if position != -1:
                self.say(WARNING, "streamExistenceFilter.dat", "is missing: rebuilt")
            return
        if position == -1:
            return
        try:
            made = Bloom(dat)
        except Bad as error:
            self.say(WARNING, "streamExistenceFilter.dat", "%s: rebuilt" % error)
            return
        bad, total = made.bad_lines()
        if bad * 20 > total:
            self.say(WARNING, "streamExistenceFilter.dat", "more than 5 %% corrupted: rebuilt")
        else:
            self._filter_streams(made, position)
        if bad:
            self.say(WARNING, "streamExistenceFilter.dat", "%d corrupted lines" % bad)
        made.close()

    def _filter_streams(self, made, position):
        if position >= self.chk["chaser"] and self.chk["chaser"]:
            self.say(NOTE, "streamExistenceFilter.chk", "%d is not below the chaser (%d): is "
                     "truncated" % (position, self.chk["chaser"]))
        first = {}
        for at, (_, key, _, _) in self.records.items():
            if key is not None and at <= min(position, self.chk["chaser"] - 1):
                first.setdefault(key, at)
        names = {key: name for name, key in self.streams.items()}
        lost = sorted(names[key] for key in first if not made.holds(key))
        if lost:
            self.say(DAMAGE, "streamExistenceFilter.dat", "older than its .chk: %d of %d streams "
                     "would seem not to exist, e.g. '%s'" % (len(lost), len(first), lost[0]))

    # -- the rest -------------------------------------------------------------------------------

    def check_rest(self):
        for info in self.chunks:
            mode = stat.S_IMODE(os.stat(info.path).st_mode)
            if not mode & 0o400:
                self.say(FATAL, info.name, "mode %04o: the owner cannot read it" % mode)
        for name in sorted(os.listdir(self.db)):
            if name.endswith(".tmp"):
                self.say(WARNING, name, "is a temporary file; deleted")
            elif name in ("kurrent.ddb.wal",) and not \
                    os.path.exists(os.path.join(self.db, "kurrent.ddb")):
                self.say(DAMAGE, name, "without kurrent.ddb")
        wal = os.path.join(self.index, "scavenging", "scavenging.db-wal")
        if os.path.exists(wal) and not os.path.exists(wal[:-4]):
            self.say(WARNING, "scavenging.db-wal", "without its database")

    def run(self):
        try:
            self.read_checkpoints()
            self.read_chunks()
            self.truncate()
            self.facts["truncated"] = self.cut
            self.open_log()
            self.check_positions()
            self.check_index()
            self.check_filter()
            self.check_rest()
        except Stop:
            return 1
        self.facts["records"] = len(self.records)
        self.facts["streams"] = len(self.streams)
        return 2 if any(row[0] == DAMAGE for row in self.found) else 0


def apply_truncation(check):
    """`--apply`: do on disk what the first start does."""
    if check.cut is None:
        return
    kept = {info.name for info in check.chunks}
    for name in os.listdir(check.db):
        if CHUNK_NAME.match(name) and name not in kept:
            os.unlink(os.path.join(check.db, name))
    for info in check.chunks:
        if info.first <= check.cut // check.size <= info.last and not info.completed:
            os.chmod(info.path, 0o644)
            os.truncate(info.path, 128 + check.cut % check.size)
            os.truncate(info.path, (check.size + 256 + 4095) // 4096 * 4096)
    for name, value in check.chk.items():
        with open(os.path.join(check.db, name + ".chk"), "wb") as file:
            file.write(struct.pack("<q", value))


def checked(words, out):
    """The whole program but the process: its exit code; what it prints goes to out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", required=True)
    parser.add_argument("--index")
    parser.add_argument("--chunk-size", type=int, help="configured size; default: the header's")
    parser.add_argument("--max-truncation", type=int, default=256 << 20)
    parser.add_argument("--no-start", action="store_true", help="without truncation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--archive", action="store_true")
    parser.add_argument("--apply", action="store_true")
    try:
        args = parser.parse_args(words)
    except SystemExit as error:
        return 0 if error.code == 0 else 3
    if not os.path.isdir(args.db):
        print("check.py: %s is not a directory" % args.db, file=sys.stderr)
        return 3
    check = Check(args)
    if args.no_start:
        check.truncate = lambda: None
    code = check.run()
    if args.apply and code != 1:
        apply_truncation(check)
    if args.json:
        print(json.dumps({"exit": code, "facts": check.facts, "findings": check.found}), file=out)
    else:
        for level, name, reason in check.found:
            print("%s: %s: %s" % (level, name, reason), file=out)
    return code


if __name__ == "__main__":
    sys.exit(checked(sys.argv[1:], sys.stdout))
