#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fake node: what `make` writes, every verb of a live node, and the start-up check on both."""

import fcntl
import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = os.path.join(HERE, "kurrentdb", "node.py")
CHECK = os.path.join(HERE, "startup_check", "check.py")
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from kurrentdb import checkpoint, chunk, filter as bloom, indexmap, ptable, record   # noqa: E402

SEED = 7
MIB = 1 << 20


def run(*words):
    return subprocess.run([sys.executable, "-B", *map(str, words)], capture_output=True, text=True,
                          check=False)


def make(db, *words):
    done = run(NODE, "make", "--db", db, "--seed", SEED, *words)
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def check(db, *words):
    done = run(CHECK, "--db", db, "--seed", SEED, *words)
    return done.returncode, done.stdout + done.stderr


class Scratch(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="kurrentdb-node-")
        self.addCleanup(shutil.rmtree, self.scratch)
        self.db = os.path.join(self.scratch, "db")

    def chk(self, name):
        return checkpoint.read(os.path.join(self.db, name + ".chk"))

    def names(self):
        return [os.path.basename(path) for _, _, path in chunk.listing(self.db)]

    def map(self):
        return indexmap.IndexMap.load(os.path.join(self.db, "index"))

    def assert_starts(self, code=0, words="", db=None, more=()):
        got, said = check(db or self.db, *more)
        self.assertEqual(got, code, said)
        self.assertIn(words, said)


class Make(Scratch):
    def test_default_has_all_files_and_starts(self):
        make(self.db, "--bytes", 5 * MIB)
        self.assertEqual(sorted(os.listdir(self.db)), [
            "chaser.chk", *["chunk-%06d.000000" % n for n in range(6)], "epoch.chk", "index",
            "proposal.chk", "truncate.chk", "writer.chk"])
        for _, _, path in chunk.listing(self.db)[:-1]:
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o444)
            self.assertTrue(chunk.ChunkFile(path).md5_good)
        self.assertEqual(os.path.getsize(chunk.listing(self.db)[-1][2]), 1052672)
        self.assertEqual(len(self.map().tables), 3)
        self.assert_starts()

    def test_first_record_is_the_epoch(self):
        chosen = "11111111-2222-4333-8444-555555555555"
        make(self.db, "--bytes", 100_000, "--epoch-id", chosen)
        raw = next(record.frames(chunk.ChunkFile(chunk.listing(self.db)[0][2]).data))[1]
        rec = record.parse(raw)
        self.assertTrue(rec.is_epoch)
        self.assertEqual(json.loads(rec.data)["epochId"], chosen)
        self.assert_starts()

    def test_same_seed_same_log(self):
        other = os.path.join(self.scratch, "other")
        make(self.db, "--bytes", 300_000)
        make(other, "--bytes", 300_000)
        one, two = (bytes(chunk.ChunkFile(chunk.listing(d)[0][2]).data) for d in (self.db, other))
        self.assertEqual(one, two)

    def test_another_seed_is_seen(self):
        make(self.db, "--bytes", 100_000)
        done = run(CHECK, "--db", self.db, "--seed", SEED + 1)
        self.assertEqual(done.returncode, 2)
        self.assertIn("another seed", done.stdout)

    def test_scavenged_range(self):
        make(self.db, "--chunks", 6, "--scavenged", "1-3")
        self.assertEqual(self.names()[:3], [
            "chunk-000000.000000", "chunk-000001.000001", "chunk-000004.000000"])
        merged = chunk.ChunkFile(chunk.listing(self.db)[1][2])
        self.assertEqual((merged.header.start, merged.header.end, merged.header.scavenged),
                         (1, 3, 1))
        self.assertEqual(len(merged.posmap), sum(1 for _ in record.frames(merged.data)))
        self.assert_starts()

    def test_layout_2310_has_version_zero(self):
        make(self.db, "--bytes", 100_000, "--layout", "23.10")
        self.assertEqual(chunk.read_header(chunk.listing(self.db)[0][2]).version, 0)
        self.assert_starts()

    def test_layout_25_has_secondary_indexes(self):
        make(self.db, "--bytes", 100_000, "--layout", "25", "--tag")
        self.assertTrue({"kurrent.ddb", "tag.chk"} <= set(os.listdir(self.db)))
        self.assert_starts()

    def test_transformed_chunks_are_opaque_and_certified(self):
        make(self.db, "--chunks", 2, "--transform", 1)
        for _, _, path in chunk.listing(self.db)[:-1]:
            whole = chunk.ChunkFile(path)
            self.assertEqual((whole.header.min_compatible, whole.header.transform), (4, 1))
            self.assertTrue(whole.md5_good)
        self.assert_starts(words="is transformed (1)")

    def test_empty_chunks_and_tiny_chunks(self):
        make(self.db, "--chunks", 40, "--chunk-size", 4096, "--empty-chunks")
        self.assertEqual(len(self.names()), 41)
        self.assert_starts()
        other = os.path.join(self.scratch, "tiny")
        make(other, "--chunks", 50, "--chunk-size", 4096)
        self.assertEqual(len(chunk.listing(other)), 51)
        self.assert_starts(db=other)

    def test_scavenging_db(self):
        make(self.db, "--bytes", 100_000, "--scavenging-db", "running")
        self.assertEqual(sorted(os.listdir(os.path.join(self.db, "index", "scavenging"))),
                         ["scavenging.db", "scavenging.db-shm", "scavenging.db-wal"])
        self.assert_starts()

    def test_index_outside_and_big_filter_is_sparse(self):
        index = os.path.join(self.scratch, "index")
        make(self.db, "--bytes", 300_000, "--index", index, "--filter-size", 256_000_000)
        dat = os.path.join(index, "stream-existence", "streamExistenceFilter.dat")
        self.assertEqual(os.path.getsize(dat), 273_066_752)
        self.assertLess(os.stat(dat).st_blocks * 512, 20 * MIB)
        self.assert_starts(more=("--index", index))

    def test_64_mib_in_a_few_seconds(self):
        started = time.monotonic()
        make(self.db, "--bytes", 64 * MIB)
        self.assertLess(time.monotonic() - started, 15)


class Stopped(Scratch):
    """The verbs on a stopped directory."""

    def verb(self, name, *words):
        done = run(NODE, name, "--db", self.db, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_append_goes_on_where_the_directory_ends(self):
        make(self.db, "--bytes", 300_000)
        whole = os.path.join(self.scratch, "whole")
        self.verb("append", "--bytes", 3 * MIB)
        make(whole, "--bytes", self.chk("writer"))
        self.assert_starts()
        for (_, _, one), (_, _, two) in list(zip(chunk.listing(self.db), chunk.listing(whole)))[:3]:
            self.assertEqual(bytes(chunk.ChunkFile(one).data), bytes(chunk.ChunkFile(two).data))

    def test_other_verbs(self):
        make(self.db, "--bytes", 2 * MIB, "--tables", 1)
        self.verb("append", "--bytes", 200_000)
        self.verb("flush-index")
        self.assertEqual(len(self.map().tables), 2)
        self.verb("merge")
        self.verb("scavenge-point")
        self.verb("filter-touch")
        self.assert_starts()
        before = self.chk("writer")
        self.verb("truncate", "back", 500_000)
        self.assertLess(self.chk("writer"), before)
        self.assert_starts()
        self.assertEqual(json.loads(self.verb("status"))["epochNumber"], 1)


class Live(Scratch):
    """A serving node, ruled over its socket."""

    def start(self, *words):
        control = os.path.join(self.scratch, "control")
        self.process = subprocess.Popen(
            [sys.executable, "-B", NODE, "serve", "--db", self.db, "--control", control,
             "--seed", str(SEED), *map(str, words)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self._end)
        self.assertEqual(self.process.stdout.readline(), "ready\n")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(control)
        self.answers = self.socket.makefile("r")
        self.addCleanup(self.socket.close)
        self.addCleanup(self.answers.close)

    def _end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self.answers.readline().strip()

    def do(self, line):
        answer = self.ask(line)
        self.assertEqual(answer.split(" ")[0], "ok", answer)
        return answer[3:]

    def status(self):
        return json.loads(self.do("status"))

    def stop(self):
        self.do("stop")
        self.assertEqual(self.process.wait(10), 0)
        self.process.stdout.close()

    def test_a_new_node_grows_on_command(self):
        self.start()
        self.do("append 300000")
        self.do("append-until-rollover")
        self.assertEqual(self.status()["ongoing"], 1)
        self.stop()
        self.assertEqual(stat.S_IMODE(os.stat(chunk.listing(self.db)[0][2]).st_mode), 0o644)
        self.assert_starts()

    def test_locks_are_shared_and_gone_after_the_stop(self):
        self.start()
        self.do("append-until-rollover")
        self.do("flush-index")
        for path in [os.path.join(self.db, n) for n in ("writer.chk", "chaser.chk", "epoch.chk",
                     "proposal.chk", "truncate.chk", *self.names())] + [
                         os.path.join(self.db, "index", self.map().tables[0][2])]:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                with self.assertRaises(BlockingIOError, msg=path):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.stop()
        with open(os.path.join(self.db, "writer.chk"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_rate_writes_index_filter_and_chunks_by_itself(self):
        self.start("--rate-bytes", 6 * MIB, "--mem-table", 500, "--filter-ms", 200, "--settle")
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            time.sleep(0.2)
            now = self.status()
            if now["ongoing"] >= 4 and now["tables"] and now["filter"] > 0:
                break
        self.assertGreaterEqual(now["ongoing"], 4)
        self.assertGreater(now["tables"], 0)
        self.assertGreater(now["filter"], 0)
        self.do("pause")
        held = self.status()["writer"]
        time.sleep(0.2)
        self.assertEqual(self.status()["writer"], held)
        self.do("resume")
        time.sleep(0.3)
        self.assertGreater(self.status()["writer"], held)
        self.process.terminate()
        self.assertEqual(self.process.wait(10), 0)
        self.assert_starts()

    def test_index_verbs(self):
        self.start()
        for _ in range(2):
            self.do("append 200000")
            name = self.do("flush-index")
            self.assertIn(name, [row[2] for row in self.map().tables])
        old = [row[2] for row in self.map().tables]
        merged = self.do("merge")
        self.assertEqual([row[2] for row in self.map().tables], [merged])
        for name in old:
            self.assertFalse(os.path.exists(os.path.join(self.db, "index", name)))
        half = self.do("half-table")
        self.assertNotIn(half, [row[2] for row in self.map().tables])
        with self.assertRaises(ptable.TableError):
            ptable.Table(os.path.join(self.db, "index", half))
        self.assertEqual(self.ask("merge").split(" ")[0], "err")
        self.stop()
        self.assert_starts(words="that the indexmap does not name")

    def test_filter_touch_and_a_filter_older_than_its_checkpoint(self):
        self.start()
        self.do("append 200000")
        self.do("filter-touch")
        dat = os.path.join(self.db, "index", "stream-existence", "streamExistenceFilter.dat")
        old = os.path.join(self.scratch, "old.dat")
        shutil.copyfile(dat, old)
        before = self.status()["filter"]
        self.do("append 2000000")
        self.do("filter-touch")
        self.assertGreater(self.status()["filter"], before)
        self.assertTrue(all(good for _, good in bloom.Filter(dat).lines()))
        self.stop()
        self.assert_starts()
        shutil.copyfile(old, dat)
        self.assert_starts(2, "seem not to exist")

    def test_scavenge_point_completes_at_any_fill(self):
        self.start()
        self.do("append 5000")
        self.do("scavenge-point")
        self.assertLess(os.path.getsize(chunk.listing(self.db)[0][2]), 20000)
        self.assertEqual(self.status()["ongoing"], 1)
        self.stop()
        self.assert_starts()

    def test_scavenge(self):
        self.start()
        for _ in range(4):
            self.do("append-until-rollover")
        self.do("flush-index")
        self.assertEqual(self.do("scavenge 0 2"), "chunk-000000.000001")
        self.assertEqual(self.names(), ["chunk-000000.000001", "chunk-000003.000000",
                                        "chunk-000004.000000"])
        self.assertEqual(self.do("scavenge 0 3"), "chunk-000000.000002")
        self.assertEqual(self.ask("scavenge 4 4").split(" ")[0], "err")
        self.assertEqual(self.ask("scavenge 1 2").split(" ")[0], "err")
        self.stop()
        self.assert_starts()

    def test_scavenge_chaser(self):
        self.start()
        self.do("append 300000")
        self.do("hold-chaser on")
        self.do("append-until-rollover")
        name = self.do("scavenge-chaser")
        self.assertEqual(name, "chunk-000000.000001")
        self.assertEqual(self.chk("chaser") // MIB, 0)
        checkpoint_file = os.path.join(self.scratch, "copy")
        shutil.copytree(self.db, checkpoint_file)
        with open(os.path.join(checkpoint_file, "truncate.chk"), "wb") as file:
            file.write(struct.pack("<q", self.chk("chaser")))
        self.assert_starts(2, "in the middle of a scavenged chunk", db=checkpoint_file)
        self.do("hold-chaser off")
        self.stop()
        self.assert_starts()

    def test_chaser_held_and_lagging(self):
        self.start()
        self.do("hold-chaser on")
        held = self.status()["checkpoints"]["chaser"]
        self.do("append 100000")
        self.assertEqual(self.status()["checkpoints"]["chaser"], held)
        self.do("hold-chaser off")
        now = self.status()["checkpoints"]
        self.assertEqual(now["chaser"], now["writer"])
        self.do("lag 50000")
        self.do("append 200000")
        now = self.status()["checkpoints"]
        self.assertGreaterEqual(now["writer"] - now["chaser"], 50000)
        self.assertLess(now["writer"] - now["chaser"], 60000)
        self.stop()
        self.assert_starts(words="behind the writer")

    def test_truncate_rewrites_other_data_under_the_same_name(self):
        self.start()
        self.do("append-until-rollover")
        self.do("append 100000")
        path = chunk.listing(self.db)[0][2]
        before = chunk.ChunkFile(path)
        position = int(self.do("truncate back 300000"))
        self.assertEqual(len(self.names()), 1)
        self.do("append-until-rollover")
        after = chunk.ChunkFile(path)
        self.assertEqual(after.header.chunk_id, before.header.chunk_id)
        self.assertEqual(bytes(after.data[:position]), bytes(before.data[:position]))
        self.assertNotEqual(bytes(after.data[position:]), bytes(before.data[position:]))
        self.assertEqual(self.chk("truncate"), -1)
        self.assertEqual(self.chk("proposal"), 1)
        self.assertEqual(self.chk("epoch"), position)
        self.stop()
        self.assert_starts()

    def test_truncate_below_the_index_keeps_a_copy_of_it(self):
        self.start()
        self.do("append 400000")
        self.do("flush-index")
        self.do("truncate back 300000")
        self.assertTrue([n for n in os.listdir(self.db) if n.startswith("index-backup-")])
        self.do("append 10000")
        self.do("flush-index")
        self.stop()
        self.assert_starts()

    def test_truncate_pending(self):
        self.start()
        self.do("append 100000")
        self.do("truncate-pending 0")
        self.assertEqual(self.chk("truncate"), 0)
        self.stop()
        self.assert_starts(2, "below the chaser")

    def test_elect_and_restart(self):
        self.start()
        self.do("append 50000")
        self.do("elect")
        self.assertEqual(self.status()["epochNumber"], 1)
        self.stop()
        self.start()
        self.assertEqual(self.status()["epochNumber"], 2)
        self.stop()
        self.assert_starts()

    def test_scavenging_db_has_a_live_log(self):
        self.start()
        self.do("scavenging-db on")
        path = os.path.join(self.db, "index", "scavenging", "scavenging.db-wal")
        self.assertTrue(os.path.exists(path))
        self.do("scavenging-db off")
        self.assertFalse(os.path.exists(path))
        self.stop()
        self.assert_starts()

    def test_refusals(self):
        self.start()
        for line in ("nonsense", "append", "append x", "truncate 99999999", "hold-chaser maybe"):
            self.assertEqual(self.ask(line).split(" ")[0], "err", line)
        self.stop()

    def test_kill_in_full_flight_leaves_a_directory_that_starts(self):
        self.start("--rate-bytes", 20 * MIB, "--mem-table", 300, "--filter-ms", 100)
        time.sleep(1.0)
        self.process.kill()
        self.process.wait()
        self.assert_starts()
        run(NODE, "append", "--db", self.db, "--bytes", 100_000)
        self.assert_starts()


class Restored(Scratch):
    """The check applies the truncation as the first start does."""

    def test_apply(self):
        make(self.db, "--bytes", 3 * MIB)
        chaser = self.chk("chaser")
        with open(os.path.join(self.db, "truncate.chk"), "wb") as file:
            file.write(struct.pack("<q", chaser))
        self.assert_starts(more=("--apply",), words="exits with 0")
        self.assertEqual(self.chk("truncate"), -1)
        self.assert_starts()

    def test_first_start_truncates_and_exits_the_second_lives(self):
        make(self.db, "--bytes", 3 * MIB)
        chaser = self.chk("chaser")
        with open(os.path.join(self.db, "truncate.chk"), "wb") as file:
            file.write(struct.pack("<q", chaser))
        control = os.path.join(self.scratch, "control")
        first = run(NODE, "serve", "--db", self.db, "--control", control)
        self.assertEqual((first.returncode, first.stdout), (0, "truncated\n"))
        self.assert_starts()
        self.assertEqual(run(NODE, "append", "--db", self.db, "--bytes", 2 * MIB).returncode, 0)
        self.assert_starts()

    def test_low_chunks_may_be_in_the_archive(self):
        make(self.db, "--chunks", 4)
        for _, _, path in chunk.listing(self.db)[:2]:
            os.unlink(path)
        self.assert_starts(1, "not found")
        self.assert_starts(0, "archive must hold", more=("--archive",))

    def test_without_truncation(self):
        make(self.db, "--chunks", 2)
        with open(os.path.join(self.db, "truncate.chk"), "wb") as file:
            file.write(bytes(8))
        self.assert_starts(2, "below the chaser")
        self.assert_starts(0, more=("--no-start",))

    def test_a_last_chunk_cut_at_the_writer_goes_on(self):
        make(self.db, "--bytes", 3 * MIB)
        os.truncate(chunk.listing(self.db)[-1][2], 128 + self.chk("writer") % MIB)
        self.assert_starts()
        run(NODE, "append", "--db", self.db, "--bytes", 2 * MIB)
        self.assert_starts()

    def test_a_chunk_begun_before_a_crash_is_dropped(self):
        make(self.db, "--chunks", 2)
        last = chunk.listing(self.db)[-1][2]
        with open(os.path.join(self.db, "writer.chk"), "r+b") as file:
            before = chunk.ChunkFile(chunk.listing(self.db)[1][2]).footer.logical + MIB
            file.write(struct.pack("<q", before))
        with open(os.path.join(self.db, "chaser.chk"), "r+b") as file:
            file.write(struct.pack("<q", before))
        self.assert_starts(words=os.path.basename(last) + ": is excessive")
        run(NODE, "append", "--db", self.db, "--bytes", 100_000)
        self.assert_starts()

    def test_foreign_record_content_is_seen(self):
        make(self.db, "--bytes", 300_000)
        path = chunk.listing(self.db)[0][2]
        with open(path, "r+b") as file:
            file.seek(128 + 200_000)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        self.assertIn(check(self.db)[0], (1, 2))


if __name__ == "__main__":
    unittest.main()
