# SPDX-License-Identifier: Apache-2.0
"""A node directory and what a server does to it: append, roll over, index, scavenge, truncate.

Nothing is remembered outside the directory: open() finds its state in the files themselves.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
import zlib
from bisect import bisect_right

from . import checkpoint, chunk, content, filter as bloom, indexmap, ptable, record
from .hashes import stream_hash

DEFAULTS = {"chaser": 0, "writer": 0, "epoch": -1, "proposal": -1, "truncate": -1}
BATCH_LEN = 256 * 1024



def lock_shared(fd, path):
    """As the server: it does not wait for ever for a file that somebody else has locked, it ends."""
    deadline = time.monotonic() + 2
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(f"{path} is used by another process") from None
            time.sleep(0.01)


class NodeError(Exception):
    """The command cannot be done; the directory is as it was."""


class Options:
    """How a database is made and run."""

    def __init__(self, **given):
        self.chunk_size = 1 << 20
        self.seed = None              # None: the seed found in epoch 0, else 1
        self.layout = "24.10"
        self.filter_size = 10_000
        self.epoch_id = None
        self.live = False             # locks, preallocation
        self.batch = BATCH_LEN
        self.pause_s = 0.0            # between the pieces of a table
        self.step = False             # the chaser writes its checkpoint record by record
        self.__dict__.update(given)

    @property
    def chunk_version(self):
        return 0 if self.layout == "23.10" else 4


class Database:
    """An open node directory."""

    def __init__(self, db, index=None, options=None):
        self.db, self.index = db, index or os.path.join(db, "index")
        self.opt = options or Options()
        self.locked = {}
        self.hashes = {}
        self.hold = False
        self.lag = 0
        os.makedirs(os.path.join(self.index, "stream-existence"), exist_ok=True)
        self._open()

    # -- opening -------------------------------------------------------------------------------

    def _open(self):
        self.chk = {name: checkpoint.Checkpoint(os.path.join(self.db, name + ".chk"), value)
                    for name, value in DEFAULTS.items()}
        self.filter_chk = checkpoint.Checkpoint(self._filter_path("chk"), -1)
        reach_back(self.index, self.chk["chaser"].value, self.filter_chk)
        path = self._filter_path("dat")
        if not os.path.exists(path):
            self.filter_chk.write(-1)
        self.filter = bloom.Filter(path) if os.path.exists(path) else \
            bloom.Filter.create(path, self.opt.filter_size)
        self.map = indexmap.IndexMap.load(self.index)
        self.mem, self.filter_queue = ptable.MemTable(), []
        self.numbers, self.bounds = {}, []
        self.epoch_number, self.epoch_at, self.epoch_text = -1, -1, None
        self.tail, self.out = None, []
        self.writer = self.chk["writer"].value
        for entry in os.listdir(self.db):
            if entry.endswith(".tmp"):
                os.unlink(os.path.join(self.db, entry))
        self._drop_strangers()
        files = chunk.current(self.db)
        if files:
            self._recover(files)
        else:
            self.tail = self._new_chunk(self.writer // self.opt.chunk_size)
            self.writer = self.tail.header.start * self.opt.chunk_size
        self.out_at = self.writer
        if self.opt.seed is None:
            self.opt.seed = 1
        self._lock_all()

    def _filter_path(self, suffix):
        return os.path.join(self.index, "stream-existence", "streamExistenceFilter." + suffix)

    def _drop_strangers(self):
        """What a start deletes: tables that the indexmap does not name, foreign files beside."""
        named = {"indexmap", *(row[2] for row in self.map.tables)}
        for entry in os.listdir(self.index):
            path = os.path.join(self.index, entry)
            if os.path.isfile(path) and entry.removesuffix(".bloomfilter") not in named:
                os.unlink(path)

    def _drop_extra(self, files):
        """A chunk begun just before a crash, with writer.chk still in the one before."""
        while len(files) > 1 and files[-1][0].start * files[-1][0].size > self.writer:
            os.unlink(files.pop()[1])

    def _recover(self, files):
        self.opt.chunk_size = size = files[0][0].size
        self._drop_extra(files)
        self.opt.layout = self.opt.layout if files[0][0].version else "23.10"
        if any(header.transform for header, _ in files):
            raise NodeError("a transformed database is made, never run")
        self._read_first_epoch(files[0])
        for row in self.map.tables:
            for number, key, _ in ptable.Table(os.path.join(self.index, row[2])).entries():
                if number >= self.numbers.get(key, -1):
                    self.numbers[key] = number + 1
        chaser = self.chk["chaser"].value
        epoch = self.chk["epoch"].value
        need = min(self.map.commit, self.filter_chk.value, chaser, epoch)
        for header, path in files:
            start = header.start * size
            if (header.end + 1) * size > need and start < self.writer:
                for pos, raw in self._records(path, start):
                    self._note(pos, raw, chaser)
        last = files[-1][0]
        if self.writer < (last.end + 1) * size and not last.scavenged:
            used = self.writer - last.start * size
            footer = chunk.ChunkFile(files[-1][1]).footer
            if not footer.completed or used < footer.physical:
                self.tail = chunk.OngoingChunk.open(files[-1][1], used)
        if self.tail is None:
            self.tail = self._new_chunk(last.end + 1)
            self.writer = (last.end + 1) * size

    def _read_first_epoch(self, first):
        for _, raw in record.frames(chunk.ChunkFile(first[1]).data):
            rec = record.parse(raw)
            if rec.is_epoch and self.opt.seed is None:
                self.opt.seed = content.seed_of(json.loads(rec.data)["leaderInstanceId"])
            return

    def _records(self, path, start):
        """(log position, raw) of the records of a chunk file below the writer."""
        limit = min(self.writer - start, os.path.getsize(path))
        data = chunk.ChunkFile(path).data
        scavenged = chunk.read_header(path).scavenged
        for _, raw in record.frames(data, len(data) if scavenged else min(limit, len(data))):
            yield int.from_bytes(raw[2:10], "little"), raw

    def _note(self, pos, raw, chaser):
        """Take a record of the log into the state."""
        rec = record.parse(raw)
        if rec.is_epoch:
            fields = json.loads(rec.data)
            self.epoch_number, self.epoch_at = fields.get("epochNumber", 0), pos
            self.epoch_text = rec.data
        if pos + len(raw) + 8 > chaser:
            self.bounds.append(pos + len(raw) + 8)
        if rec.kind == record.PREPARE:
            key = stream_hash(rec.stream)
            if pos > self.map.commit:
                self.mem.add(key, rec.event_number, pos)
            if pos > self.filter_chk.value:
                self.filter_queue.append((pos, key))
            if rec.event_number >= self.numbers.get(key, -1):
                self.numbers[key] = rec.event_number + 1

    def _new_chunk(self, number):
        return chunk.OngoingChunk.create(self.db, number, self.opt.chunk_size,
                                         self.opt.chunk_version, self.opt.live)

    # -- locks ---------------------------------------------------------------------------------

    def _lock_all(self):
        """A shared lock on everything a .NET server holds open."""
        if not self.opt.live:
            return
        wanted = [path for _, _, path in chunk.listing(self.db)]
        wanted += [os.path.join(self.index, row[2]) for row in self.map.tables]
        wanted += [os.path.join(self.db, name + ".chk") for name in DEFAULTS]
        wanted.append(self._filter_path("chk"))
        for path in [p for p in self.locked if p not in set(wanted)]:
            os.close(self.locked.pop(path))
        for path in wanted:
            if path not in self.locked:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                lock_shared(fd, path)
                self.locked[path] = fd

    def close(self, clean=False):
        """Give everything back; `clean` also makes files writable, as a clean stop does."""
        self.flush()
        for fd in self.locked.values():
            os.close(fd)
        self.locked = {}
        for item in [*self.chk.values(), self.filter_chk, self.tail]:
            item.close()
        if clean:
            for path in [p for _, _, p in chunk.listing(self.db)] + self._table_paths():
                os.chmod(path, 0o644)

    def _table_paths(self):
        return [os.path.join(self.index, row[2]) for row in self.map.tables]

    # -- the log -------------------------------------------------------------------------------

    def flush(self):
        """Data, then writer.chk; the chaser follows."""
        if self.out:
            self.tail.write(b"".join(self.out))
            self.out = []
        if self.chk["writer"].value != self.writer:
            self.chk["writer"].write(self.writer)
        self.chase()

    def chase(self, target=None):
        """Let the chaser follow to a record boundary, `lag` bytes behind at least."""
        if self.hold and target is None:
            return
        limit = self.chk["writer"].value - self.lag if target is None else target
        count = bisect_right(self.bounds, limit)
        if not count:
            return
        steps = self.bounds[:count] if self.opt.step else (self.bounds[count - 1],)
        for value in steps:
            self.chk["chaser"].write(value)
        del self.bounds[:count]

    def _put(self, framed, key=None, number=None):
        """Append one framed record; the caller has made sure that it fits."""
        if key is not None:
            self.mem.add(key, number, self.writer)
            self.filter_queue.append((self.writer, key))
            self.numbers[key] = number + 1
        self.out.append(framed)
        self.writer += len(framed)
        self.bounds.append(self.writer)

    def _fits(self, length):
        start = self.tail.header.start * self.opt.chunk_size
        return self.writer - start + length <= self.opt.chunk_size

    def roll_over(self):
        """Complete the ongoing chunk and begin the next one."""
        self.flush()
        self.tail.complete()
        self.tail.close()
        number = self.tail.header.start + 1
        self.tail = self._new_chunk(number)
        self.writer = number * self.opt.chunk_size
        self.bounds.append(self.writer)
        self.flush()
        self._lock_all()

    def append_event(self):
        """One event at the writer; returns its length in the log."""
        for _ in range(2):
            stream, kind, event_id, correlation, data = content.event(
                self.opt.seed, self.epoch_number, self.writer)
            key = self.hashes.get(stream)
            if key is None:
                key = stream_hash(stream)
                if stream.startswith("account"):
                    self.hashes[stream] = key
            number = self.numbers.get(key, 0)
            framed = record.pack_prepare(self.writer, stream, number, kind, event_id, correlation,
                                         content.ticks(self.writer), data)
            if self._fits(len(framed)):
                break
            self.roll_over()
        self._put(framed, key, number)
        return len(framed)

    def append(self, size):
        """At least `size` bytes of events."""
        end = self.writer + size
        mark = self.writer + self.opt.batch
        while self.writer < end:
            self.append_event()
            if self.writer >= mark:
                self.flush()
                mark = self.writer + self.opt.batch
        self.flush()

    def append_until_rollover(self):
        number = self.tail.header.start
        while self.tail.header.start == number:
            self.append_event()
        self.flush()

    def new_epoch(self):
        """The epoch record that a new leader writes first of all, and its copy as an event."""
        number = self.epoch_number + 1
        chosen = self.opt.epoch_id if number == 0 else None
        for _ in range(2):
            first, second = content.epoch_records(self.opt.seed, number, self.writer,
                                                  self.epoch_at, chosen)
            if self._fits(len(first) + len(second)):
                break
            self.roll_over()
        self.epoch_number, self.epoch_at = number, self.writer
        self._put(first)
        self._put(second, stream_hash("$epoch-information"), number)
        self.flush()
        self.chk["epoch"].write(self.epoch_at)
        self.chk["proposal"].write(number)

    def scavenge_point(self):
        """Write a scavenge point: it completes the chunk, however full."""
        key = stream_hash("$scavengePoints")
        number = self.numbers.get(key, 0)
        for _ in range(2):
            framed = content.scavenge_point(self.opt.seed, self.epoch_number, self.writer, number)
            if self._fits(len(framed)):
                break
            self.roll_over()
        self._put(framed, key, number)
        self.roll_over()

    # -- the index -----------------------------------------------------------------------------

    def flush_index(self, level=0):
        """A new table of what the chaser has passed; returns its name or None."""
        taken = self.mem.take(self.chk["chaser"].value)
        if not taken.total:
            return None
        return self._add_table(taken, level)

    def _add_table(self, taken, level):
        name = str(uuid.uuid4())
        self._write_table(name, taken.packed(), list(taken.streams), taken.total)
        position = sum(1 for row in self.map.tables if row[0] == level)
        self.map.tables.append((level, position, name))
        self.map.prepare = self.map.commit = max(self.map.commit, taken.last_position())
        self.map.save(self.index)
        self._lock_all()
        return name

    def _write_table(self, name, packed, keys, total):
        path = os.path.join(self.index, name)
        ptable.write(path, ptable.build(packed), self.opt.pause_s)
        ptable.write_filter(path + ".bloomfilter", keys, total)

    def merge_level(self, level):
        """All tables of a level become one of the next; the old ones are deleted."""
        old = [row for row in self.map.tables if row[0] == level]
        if not old:
            raise NodeError("no table at level %d" % level)
        tables = [ptable.Table(os.path.join(self.index, row[2])) for row in old]
        packed = ptable.merge(tables)
        keys = {key for table in tables for _, key, _ in table.entries()}
        name = str(uuid.uuid4())
        self._write_table(name, packed, keys, len(packed) // ptable.ENTRY_LEN)
        position = sum(1 for row in self.map.tables if row[0] == level + 1)
        self.map.tables = [row for row in self.map.tables if row[0] != level]
        self.map.tables.append((level + 1, position, name))
        self.map.save(self.index)
        self._lock_all()
        for row in old:
            os.unlink(os.path.join(self.index, row[2]))
            os.unlink(os.path.join(self.index, row[2] + ".bloomfilter"))
        return name

    def auto_merge(self):
        level = 0
        while any(row[0] >= level for row in self.map.tables):
            if sum(1 for row in self.map.tables if row[0] == level) >= 2:
                self.merge_level(level)
            level += 1

    def half_table(self):
        """What a reader sees of a table being written: half of it, not in the indexmap."""
        packed = b"".join(ptable.Table(p).packed for p in self._table_paths()) or \
            ptable.MemTable.packed(self.mem)
        raw = ptable.build(packed)
        name = str(uuid.uuid4())
        with open(os.path.join(self.index, name), "xb") as file:
            file.write(raw[:len(raw) // 2])
        return name

    def touch_filter(self, delay_s=0.0):
        """Streams up to the chaser: pages of the filter first, its checkpoint after."""
        chaser = self.chk["chaser"].value
        due = [row for row in self.filter_queue if row[0] < chaser]
        if not due:
            return
        self.filter_queue = self.filter_queue[len(due):]
        self.filter.add({key for _, key in due})
        self.filter.flush()
        if delay_s:
            time.sleep(delay_s)
        self.filter_chk.write(due[-1][0])

    # -- scavenge ------------------------------------------------------------------------------

    @staticmethod
    def _survives(rec, pos, version):
        """Which records a scavenge keeps: the system's, and two of three others."""
        if rec.kind != record.PREPARE or rec.stream.startswith("$"):
            return True
        return zlib.crc32(b"%d.%d" % (version, pos)) % 3 != 0

    def scavenge(self, first, last, keep_nothing=False):
        """Rewrite chunks first..last into one file; returns its name."""
        files = chunk.current(self.db)
        chosen = [(head, path) for head, path in files if first <= head.start and head.end <= last]
        if not chosen or chosen[0][0].start != first or chosen[-1][0].end != last:
            raise NodeError("chunks %d to %d are not whole files" % (first, last))
        if last >= self.tail.header.start:
            raise NodeError("chunk %d is not completed" % self.tail.header.start)
        base, size = first * self.opt.chunk_size, self.opt.chunk_size
        version = 1 + max(v for start, v, _ in chunk.listing(self.db) if start == first)
        kept, posmap, used, logical = [], [], 0, 0
        for head, path in chosen:
            for pos, raw in self._records(path, head.start * size):
                if not keep_nothing and self._survives(record.parse(raw), pos, version):
                    posmap.append((used, pos - base))
                    kept.append(record.frame(raw))
                    used += len(raw) + 8
                    logical = pos - base + len(raw) + 8
        header = chunk.Header(size, first, last, 1, version=self.opt.chunk_version)
        whole = chunk.build_completed(header, b"".join(kept), logical, chunk.pack_map(posmap))
        return self._swap(whole, chunk.name(first, version), [path for _, path in chosen])

    def _swap(self, whole, name, old):
        temp = os.path.join(self.db, "%s.scavenge.tmp" % uuid.uuid4())
        with open(temp, "xb") as file:
            file.write(whole)
        os.chmod(temp, 0o444)
        os.rename(temp, os.path.join(self.db, name))
        for path in old:
            os.unlink(path)
        self._lock_all()
        return name

    def scavenge_chaser(self):
        number = self.chk["chaser"].value // self.opt.chunk_size
        for head, _ in chunk.current(self.db):
            if head.start <= number <= head.end:
                return self.scavenge(head.start, head.end)
        raise NodeError("no chunk holds the chaser")

    # -- truncation ----------------------------------------------------------------------------

    def boundary(self, back):
        """The last record boundary at least `back` bytes before the writer."""
        want, best = self.writer - back, 0
        for head, path in chunk.current(self.db):
            start = head.start * self.opt.chunk_size
            if start > want:
                break
            best = max(best, start)
            for pos, raw in self._records(path, start):
                if pos <= want:
                    best = max(best, pos)
        return best

    def truncate(self, position):
        """An election goes against this node: cut, start again, and go on with other data."""
        if not 0 <= position <= self.writer:
            raise NodeError("position %d is not in the log" % position)
        self.flush()
        self.chk["truncate"].write(position)
        self.close()
        truncate_on_start(self.db)
        self._open()
        self.new_epoch()
        self.append(3000)

    def status(self):
        return {"writer": self.writer, "tables": len(self.map.tables),
                "chunks": len(chunk.current(self.db)), "ongoing": self.tail.header.start,
                "commit": self.map.commit, "epochNumber": self.epoch_number,
                "filter": self.filter_chk.value, "pendingEntries": self.mem.total,
                "seed": self.opt.seed, "chunkSize": self.opt.chunk_size,
                "checkpoints": {name: chk.value for name, chk in self.chk.items()}}


def truncate_on_start(db):
    """What a start does when truncate.chk is set; returns whether it was."""
    position = checkpoint.read(os.path.join(db, "truncate.chk"), -1)
    files = chunk.current(db)
    if position < 0 or not files:
        return False
    size = files[0][0].size
    writer = checkpoint.read(os.path.join(db, "writer.chk"), 0)
    if files[-1][0].start > writer // size:
        raise NodeError("excessive chunk %d, the writer is in %d"
                        % (files[-1][0].start, writer // size))
    cut_files(db, position, size)
    return True


def reach_back(index, chaser, filter_chk):
    """An index or a filter that is ahead of the log: begun anew, lowered."""
    if indexmap.IndexMap.load(index).commit >= chaser:
        drop_index(index)
    if filter_chk.value >= chaser:
        filter_chk.write(chaser - 1)


def cut_files(db, position, size):
    """What the server's truncator does to chunks and checkpoints."""
    number = position // size
    for head, path in chunk.current(db):
        inside = head.start <= number <= head.end
        if inside and head.scavenged:
            position = head.start * size
        if head.start > number or inside and head.scavenged:
            os.unlink(path)
        elif inside:
            os.chmod(path, 0o644)
            os.truncate(path, chunk.HEADER_LEN + position % size)
            os.truncate(path, chunk.ongoing_size(size))
    for name in ("epoch", "chaser", "writer"):
        chk = checkpoint.Checkpoint(os.path.join(db, name + ".chk"), DEFAULTS[name])
        if chk.value > position or name == "epoch" and chk.value == position:
            chk.write(-1 if name == "epoch" else position)
        chk.close()
    chk = checkpoint.Checkpoint(os.path.join(db, "truncate.chk"), -1)
    chk.write(-1)
    chk.close()


def drop_index(index):
    """An index that reaches past the log: kept beside for inspection, and begun anew."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S.000")
    backup = os.path.join(os.path.dirname(index), "index-backup-" + stamp)
    shutil.copytree(index, backup, dirs_exist_ok=True)
    for entry in os.listdir(index):
        path = os.path.join(index, entry)
        if os.path.isfile(path):
            os.unlink(path)
