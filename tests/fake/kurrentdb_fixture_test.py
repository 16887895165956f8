#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real node directories, read by the fake node's own readers and judged by the start-up check.

What the fake writes must have the shapes found here; what real servers refused in the observed
damage rows, the check must refuse.
"""

import glob
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "..", "..", "shared", "fixtures")
CHECK = os.path.join(HERE, "startup_check", "check.py")
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from kurrentdb import checkpoint, chunk, filter as bloom, indexmap, ptable, record   # noqa: E402
from kurrentdb.hashes import stream_hash                                           # noqa: E402


def check(db, *words):
    done = subprocess.run([sys.executable, "-B", CHECK, "--db", db, *words],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def put_chk(db, name, value):
    with open(os.path.join(db, name), "wb") as file:
        file.write(struct.pack("<q", value))


def get_chk(db, name):
    return checkpoint.read(os.path.join(db, name))


def flip(path, offset, mask=0x40):
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ mask]))


def last_chunk(db):
    return chunk.listing(db)[-1][2]


class Unpacked(unittest.TestCase):
    """All fixtures, unpacked once."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="kurrentdb-fixture-")
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.dirs = {}
        for path in sorted(glob.glob(os.path.join(FIXTURES, "eventstore-*", "*.tar.zst"))):
            name = os.path.relpath(path, FIXTURES)[:-len(".tar.zst")]
            target = os.path.join(cls.scratch, name)
            os.makedirs(target)
            subprocess.run(["tar", "--zstd", "-xf", path, "-C", target], check=True)
            cls.dirs[name] = next(root for root, _, files in os.walk(target)
                                  if "writer.chk" in files)

    def copy(self, name):
        target = tempfile.mkdtemp(dir=self.scratch)
        self.addCleanup(shutil.rmtree, target)
        db = os.path.join(target, "db")
        shutil.copytree(self.dirs[name], db)
        return db


class Shapes(Unpacked):
    """The readers understand every byte of the real files, and the packers give them back."""

    def each(self):
        return self.dirs.items()

    def test_headers_and_footers_pack_to_the_same_bytes(self):
        for _, db in self.each():
            for _, path in chunk.current(db):
                whole = chunk.ChunkFile(path)
                self.assertEqual(whole.header.pack(), whole.raw[:128])
                if not whole.footer.completed:
                    self.assertEqual(whole.raw[-128:], bytes(128))
                    self.assertEqual(len(whole.raw), chunk.ongoing_size(whole.header.size))
                    continue
                self.assertTrue(whole.md5_good, path)
                self.assertEqual(whole.footer.pack(), whole.raw[-128:-16])
                posmap = chunk.pack_map(whole.posmap)
                self.assertEqual(chunk.build_completed(
                    whole.header, bytes(whole.data), whole.footer.logical, posmap), whole.raw)

    def test_every_record_parses_and_stands_where_it_says(self):
        for _, db in self.each():
            writer = get_chk(db, "writer.chk")
            for header, path in chunk.current(db):
                whole = chunk.ChunkFile(path)
                base = header.start * header.size
                rows = dict(whole.posmap)
                used = whole.footer.physical if whole.footer.completed else writer - base
                end = 0
                for offset, raw in record.frames(whole.data, used):
                    rec = record.parse(raw)
                    expected = rows[offset] if header.scavenged else offset
                    self.assertEqual(rec.position, base + expected)
                    end = offset + rec.length
                self.assertEqual(end, used)
                if header.scavenged and rows:
                    self.assertEqual(rec.position - base + rec.length, whole.footer.logical)

    def test_prepares_and_epochs_pack_to_the_same_bytes(self):
        for name, db in self.each():
            if "4.1.4" in name:
                continue
            packed = 0
            for header, path in chunk.current(db)[:1]:
                for _, raw in record.frames(chunk.ChunkFile(path).data):
                    rec = record.parse(raw)
                    again = None
                    if rec.is_epoch:
                        again = record.pack_epoch(rec.position, rec.ticks, rec.data)
                    elif rec.flags == record.FLAGS_EVENT and rec.transaction == rec.position:
                        again = record.pack_prepare(
                            rec.position, rec.stream, rec.event_number, rec.event_type,
                            rec.event_id, rec.correlation, rec.ticks, rec.data)
                    if again:
                        self.assertEqual(again, record.frame(bytes(raw)))
                        packed += 1
            self.assertGreaterEqual(packed, 2)

    def test_tables_pack_to_the_same_bytes(self):
        for _, db in self.each():
            index = os.path.join(db, "index")
            for _, _, table in indexmap.IndexMap.load(index).tables:
                path = os.path.join(index, table)
                read = ptable.Table(path)
                entries = read.entries()
                for number, key, at in read.midpoints:
                    self.assertEqual(entries[at][:2], (number, key))
                with open(path, "rb") as file:
                    self.assertTrue(ptable.build(read.packed, read.middle) == file.read(), path)
                self.assertEqual(entries, sorted(entries, key=lambda e: (e[1], e[0]), reverse=True))

    def test_stream_hashes_are_those_of_the_tables(self):
        db = self.dirs["eventstore-24.10.14/single-fresh-stopped"]
        index = os.path.join(db, "index")
        known = {}
        for _, path in chunk.current(db):
            for _, raw in record.frames(chunk.ChunkFile(path).data):
                rec = record.parse(raw)
                if rec.kind == record.PREPARE:
                    known[rec.position] = (rec.event_number, stream_hash(rec.stream))
        for _, _, table in indexmap.IndexMap.load(index).tables:
            for number, key, position in ptable.Table(os.path.join(index, table)).entries():
                self.assertEqual(known[position], (number, key))

    def test_indexmaps_pack_to_the_same_bytes(self):
        for _, db in self.each():
            with open(os.path.join(db, "index", "indexmap"), "rb") as file:
                raw = file.read()
            parsed = indexmap.IndexMap.parse(raw)
            if parsed.version == 2:
                self.assertEqual(parsed.pack(), raw)

    def test_filters_have_good_lines_and_hold_their_streams(self):
        lines = held = 0
        for _, db in self.each():
            index = os.path.join(db, "index")
            for _, _, table in indexmap.IndexMap.load(index).tables:
                path = os.path.join(index, table + ".bloomfilter")
                if os.path.exists(path):
                    made = bloom.Filter(path)
                    lines += sum(1 for _, good in made.lines() if self.assertTrue(good) is None)
                    for key in {e[1] for e in ptable.Table(os.path.join(index, table)).entries()}:
                        self.assertTrue(made.has(key))
                        held += 1
        self.assertGreater(lines, 1000)
        self.assertGreater(held, 500)

    def test_a_filter_of_the_fake_is_the_servers_byte_for_byte(self):
        db = self.dirs["eventstore-24.10.14/single-fresh-stopped"]
        index = os.path.join(db, "index")
        for _, _, table in indexmap.IndexMap.load(index).tables:
            entries = ptable.Table(os.path.join(index, table)).entries()
            path = os.path.join(self.scratch, "made.bloomfilter")
            ptable.write_filter(path, {e[1] for e in entries}, len(entries))
            with open(path, "rb") as made, open(os.path.join(
                    index, table + ".bloomfilter"), "rb") as real:
                self.assertEqual(made.read(), real.read())

    def test_the_existence_filter_holds_every_stream_up_to_its_checkpoint(self):
        tested = 0
        for _, db in self.each():
            base = os.path.join(db, "index", "stream-existence", "streamExistenceFilter.")
            upto = checkpoint.read(base + "chk", -1)
            if upto < 0:
                continue
            made = bloom.Filter(base + "dat")
            for _, path in chunk.current(db):
                for _, raw in record.frames(chunk.ChunkFile(path).data):
                    rec = record.parse(raw)
                    if rec.kind == record.PREPARE and rec.position <= upto:
                        self.assertTrue(made.has(stream_hash(rec.stream)), rec.stream)
                        tested += 1
        self.assertGreater(tested, 100)


class Accepted(Unpacked):
    def test_every_fixture_would_start(self):
        for name, db in self.dirs.items():
            with self.subTest(name):
                code, said = check(db)
                self.assertEqual(code, 0, said)


BASE = "eventstore-24.10.14/single-fresh-stopped"
SCAVENGED = "eventstore-24.10.14/single-scavenged-stopped"
FILTERED = "eventstore-23.10.8/single-scavenged-stopped"


def _excess(db, _):
    source = last_chunk(db)
    number = int(source[-13:-7]) + 1
    target = os.path.join(db, chunk.name(number))
    shutil.copyfile(source, target)
    with open(target, "r+b") as file:
        file.seek(6)
        file.write(struct.pack("<ii", number, number))


def _missing(db, _):
    os.unlink(last_chunk(db))


def _resize(length):
    def damage(db, _):
        path = last_chunk(db)
        used = get_chk(db, "writer.chk") % (1 << 20)
        os.truncate(path, length(used))
    return damage


def _garbage(db, _):
    path, used = last_chunk(db), get_chk(db, "writer.chk") % (1 << 20)
    with open(path, "r+b") as file:
        file.seek(128 + used)
        file.write(os.urandom(5000))


def _third(db):
    return chunk.listing(db)[3][2]


def _foreign_chunk(db, _):
    with open(os.path.join(db, "chunk-000099.000000"), "wb") as file:
        file.write(b"x")


def _chk(name, value):
    return lambda db, _: put_chk(db, name, value)


def _gone(name):
    return lambda db, _: os.unlink(os.path.join(db, name))


def _table(db, _):
    rows = indexmap.IndexMap.load(os.path.join(db, "index")).tables
    return os.path.join(db, "index", rows[-1][2])


def _old_filter(db, _):
    """The filter of a young node under the checkpoint of an old one."""
    path = os.path.join(db, "index", "stream-existence", "streamExistenceFilter.dat")
    size = bloom.Filter(path).bits // 8
    os.unlink(path)
    bloom.Filter.create(path, size)


def _nothing(db, _):
    pass


# title, fixture, damage, exit with truncate = chaser, exit with truncate = -1, words in the reason
ROWS = (
    ("whole", BASE, _nothing, 0, 0, ""),
    ("excess chunk", BASE, _excess, 1, 0, "excessive"),
    ("last chunk missing", BASE, _missing, 1, 1, "not found"),
    ("cut at the writer", BASE, _resize(lambda used: 128 + used), 0, 0, ""),
    ("cut at the next 4096", BASE, _resize(lambda used: chunk.aligned(128 + used)), 0, 0, ""),
    ("3000 bytes shorter than the writer", BASE, _resize(lambda used: used - 3000), 1, 1, "wrong"),
    ("empty last chunk", BASE, _resize(lambda used: 0), 1, 1, "enough size"),
    ("garbage beyond the writer", BASE, _garbage, 0, 0, ""),
    ("flipped byte in data", BASE, lambda db, _: flip(_third(db), 70000), 1, 1, "hashes differ"),
    ("flipped byte in the MD5", BASE, lambda db, _: flip(_third(db), -3), 1, 1, "hashes differ"),
    ("completed bit cleared", BASE, lambda db, _: flip(_third(db), -128, 1), 1, 1,
     "should be completed"),
    ("first chunk missing", BASE, lambda db, _: os.unlink(chunk.listing(db)[0][2]), 1, 1,
     "not found"),
    ("foreign chunk", BASE, _foreign_chunk, 1, 1, "chunk-000099"),
    ("chaser above the writer", BASE, _chk("chaser.chk", 9_110_405), 1, 1, "greater value"),
    ("epoch above the writer", BASE, _chk("epoch.chk", 9_200_000), None, 1, "greater value"),
    ("epoch at no epoch record", BASE, _chk("epoch.chk", 231), 1, 1, "SystemLogRecord"),
    ("epoch -1", BASE, _chk("epoch.chk", -1), 0, 0, ""),
    ("chaser inside a record", BASE, _chk("chaser.chk", 9_110_400), None, 1, "boundary"),
    ("writer missing", BASE, _gone("writer.chk"), 1, 1, ""),
    ("proposal missing", BASE, _gone("proposal.chk"), 0, 0, "proposal"),
    ("bloom filter missing", BASE, lambda db, _: os.unlink(_table(db, _) + ".bloomfilter"), 0, 0,
     "no bloom filter"),
    ("table missing", BASE, lambda db, _: os.unlink(_table(db, _)), 0, 0, "rebuild"),
    ("table byte flipped", BASE, lambda db, _: flip(_table(db, _), 1000), 0, 0, "rebuild"),
    ("indexmap byte flipped", BASE, lambda db, _: flip(
        os.path.join(db, "index", "indexmap"), 40, 1), 0, 0, "rebuild"),
    ("indexmap missing", BASE, _gone("index/indexmap"), 0, 0, "rebuild"),
    ("filter .dat older than .chk", FILTERED, _old_filter, 2, 2, "seem not to exist"),
    ("filter .chk missing", FILTERED, _gone(
        "index/stream-existence/streamExistenceFilter.chk"), 0, 0, "rebuilt"),
    ("filter .dat missing", FILTERED, _gone(
        "index/stream-existence/streamExistenceFilter.dat"), 0, 0, "rebuilt"),
    ("filter byte flipped", FILTERED, lambda db, _: flip(os.path.join(
        db, "index/stream-existence/streamExistenceFilter.dat"), 100), 0, 0, "corrupted"),
)


class Damaged(Unpacked):
    """Sections 3 to 5 of the observed document."""

    def test_rows(self):
        for title, fixture, damage, cut, plain, words in ROWS:
            for truncating, want in ((True, cut), (False, plain)):
                if want is None:
                    continue
                with self.subTest(title, truncating=truncating):
                    db = self.copy(fixture)
                    damage(db, None)
                    put_chk(db, "truncate.chk", get_chk(db, "chaser.chk") if truncating else -1)
                    code, said = check(db)
                    self.assertEqual(code, want, said)
                    if code or not truncating:
                        self.assertIn(words, said)

    def test_a_foreign_file_in_the_index_is_named(self):
        db = self.copy(BASE)
        with open(os.path.join(db, "index", "manifest.json"), "w") as file:
            file.write("{}")
        code, said = check(db)
        self.assertEqual(code, 0)
        self.assertIn("manifest.json: is a foreign file", said)

    def test_truncation_far_back_loses_data(self):
        db = self.copy(BASE)
        put_chk(db, "truncate.chk", 5 << 20)
        code, said = check(db)
        self.assertEqual(code, 2, said)
        self.assertIn("rebuild", said)

    def test_truncation_inside_a_merged_chunk_empties_the_database(self):
        db = self.copy(SCAVENGED)
        put_chk(db, "truncate.chk", 3 << 20)
        code, said = check(db)
        self.assertEqual(code, 2, said)
        self.assertIn("all chunks after it are deleted", said)

    def test_max_truncation(self):
        db = self.copy(BASE)
        put_chk(db, "truncate.chk", 9_109_495)
        code, said = check(db, "--max-truncation", "500")
        self.assertEqual(code, 1, said)
        self.assertIn("MaxTruncation is set (500)", said)

    def test_another_chunk_size(self):
        code, said = check(self.dirs[BASE], "--chunk-size", "2097152")
        self.assertEqual(code, 1, said)

    def test_usage(self):
        self.assertEqual(check("/nonexistent-directory")[0], 3)


if __name__ == "__main__":
    if not os.path.isdir(FIXTURES):
        print("skipped: ../shared/fixtures not present")
        sys.exit(77)
    unittest.main()
