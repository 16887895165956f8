# SPDX-License-Identifier: Apache-2.0
"""Backup, list, show and inspect as a user sees them: refusals with their hints, dry runs, JSON keys, flags, chunks that grow."""
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


def chk(db, name, value):
    (db / f"{name}.chk").write_bytes(value.to_bytes(8, "little", signed=True))


def value_of(db, name):
    return int.from_bytes((db / f"{name}.chk").read_bytes(), "little", signed=True)


def node_verb(db, *words):
    done = subprocess.run([*ferry.NODE, words[0], "--db", str(db), *map(str, words[1:])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented_keys(command):
    """{type: [keys]} from the manual's JSON section."""
    page = ferry.run("manual", command).out.replace("\\-", "-")
    text = page.split(".SH JSON")[1].split("Types and keys: ", 1)[1].split(".SH")[0].replace("\n", " ")
    found = {}
    for part in re.split(r";| and (?=summary)", text):
        name, _, keys = part.strip().removeprefix("and ").partition(":")
        for each in name.split(","):
            found[re.sub(r" \(.*", "", each).removeprefix(" and ").strip()] = [re.sub(r" \(.*", "", k.strip()) for k in keys.split(",") if k.strip()]
    return found


class Refusals(pieces.Small):
    """What must not be backed up: exit 3, the reason, a hint, nothing committed, nothing sent."""

    def sick(self, change, message, *words, hint="", waits=False):
        db, repo = self.node_copy(), self.repository_copy()
        change(db)
        packs = len(repo.packs())
        self.refused(3, message, "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, *words, hint="hint: " + hint)
        if not waits:
            self.refused(3, message, "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--dry-run", *words)
        self.assertEqual((len(repo.roots()), len(repo.packs())), (1, packs), "nothing committed, nothing sent")
        if not waits:       # what may pass is looked at for 5 s; inspect says the same
            found = self.refused(3, message, "inspect", "--db", db, "--json", *words)
            summary = [x for x in found.lines if x["type"] == "summary"][0]
            self.assertFalse(summary["fit"])
            self.assertIn(message, " ".join(summary["facts"]["refusals"]))
            text = self.refused(3, message, "inspect", "--db", db, *words)
            self.assertIn("a backup now would: be refused", text.out)
        else:
            self.refused(3, message, "inspect", "--db", db, *words)
        # The node is put right: the next backup is whole and reuses what was there.
        shutil.rmtree(db)
        self.assertGreater(self.backup(repo.url, self.node_copy()).summary["files_reused"], 0)
        shutil.rmtree(repo.path)
        shutil.rmtree(db)

    def test_truncation_is_pending(self):
        self.sick(lambda db: chk(db, "truncate", 1000), "'db/truncate.chk' is 1000, expected -1", hint="start the node")

    def test_checkpoints_in_the_wrong_relation(self):
        self.sick(lambda db: chk(db, "chaser", value_of(db, "writer") + 1000), "'db/chaser.chk' is", waits=True)

    def test_epoch_beyond_the_writer(self):
        self.sick(lambda db: chk(db, "epoch", value_of(db, "writer") + 1000), "'db/epoch.chk' is", waits=True)

    def test_no_chaser(self):
        self.sick(lambda db: (db / "chaser.chk").unlink(), "'db/chaser.chk' is missing")

    def test_checkpoint_cut_short(self):
        self.sick(lambda db: (db / "writer.chk").write_bytes(b"\0" * 5), "'db/writer.chk' has 5 bytes")

    def test_gap_in_the_chunks(self):
        self.sick(lambda db: (db / "chunk-000001.000000").unlink(), "chunks 1..1 are missing")

    def test_first_chunk_missing(self):
        self.sick(lambda db: (db / "chunk-000000.000000").unlink(), "chunks 0..0 are missing", hint="if the node archives old chunks, use --archive")

    def test_chasers_chunk_is_scavenged(self):
        def change(db):
            node_verb(db, "scavenge", "0", "2")
            chk(db, "chaser", 2 * 65536 + 500)
            shutil.rmtree(db / "index")
        self.sick(change, "is scavenged, but 'db/chaser.chk'", hint="wait until the node has caught up")

    def test_incomplete_chunk_below_the_last(self):
        def change(db):
            path = db / "chunk-000001.000000"
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-128] + b"\0" * 128)
        self.sick(change, "is not completed, but the log goes on")

    def test_too_far_behind(self):
        def change(db):
            chk(db, "chaser", 2 * 65536)
            shutil.rmtree(db / "index")
        self.sick(change, "more than the 1024 that a start may truncate", "--max-truncation", "1KiB", hint="wait until the node has caught up, or raise", waits=True)

    def test_indexmap_with_a_wrong_md5(self):
        self.sick(lambda db: pieces.flip(db / "index/indexmap", 3), "'index/indexmap' is damaged", hint="restart the node")

    def test_table_missing(self):
        def change(db):
            next(p for p in (db / "index").iterdir() if len(p.name) == 36).unlink()
        self.sick(change, "which is missing", hint="restart the node")

    def test_table_half_written(self):
        def change(db):
            path = next(p for p in (db / "index").iterdir() if len(p.name) == 36)
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:1000])
        self.sick(change, "is half-written or damaged", hint="run again")

    def test_secondary_indexes_of_a_running_node(self):
        self.sick(lambda db: (db / "kurrent.ddb").write_bytes(b"x" * 5000), "'db/kurrent.ddb' holds secondary indexes", hint="three ways")

    def test_no_chunk_at_all(self):
        self.sick(lambda db: [p.unlink() for p in db.glob("chunk-*")], "has no chunk file")

    def test_another_clusters_directory(self):
        repo = self.repository_copy()
        other = self.make_node("--chunks", 3, "--chunk-size", 65536, "--seed", 77, name="other")
        result = self.refused(3, "belongs to cluster", "backup", "--repo", repo.url, "--node", "kdb-1", "--db", other, hint="another --node name")
        self.assertIn(repo.roots()[0].name, result.err)
        self.assertEqual(len(repo.roots()), 1)
        self.backup(repo.url, other, node="kdb-other")

    def test_damage_found_while_reading(self):
        """A chunk and a table whose bytes are not their MD5's: found when they are read, with the snapshot that has a good copy."""
        for name in ("chunk-000001.000000", None):
            db, repo = self.node_copy(), self.repository_copy()
            path = db / name if name else next(p for p in (db / "index").iterdir() if len(p.name) == 36)
            pieces.flip(path, 700)
            # Unread, since its certificate is the parent's: nothing is sent, and the good copy stays.
            self.backup(repo.url, db)
            result = self.refused(3, path.name, "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--mode", "full")
            self.assertIn("MD5", result.err)
            self.assertIn(repo.roots()[-1].name[:15], result.err, "names the snapshot with a good copy")
            self.assertEqual(len(repo.roots()), 2)
            self.restore(repo.url, self.dir / "restored")
            self.assert_whole(self.dir / "restored")
            shutil.rmtree(self.dir / "restored")
            # Without a parent there is no good copy to name.
            new = self.repository("new" + path.name)
            self.refused(3, path.name, "backup", "--repo", new, "--node", "kdb-1", "--db", db)
            self.assertEqual(self.snapshots(new), [])
            shutil.rmtree(db)
            shutil.rmtree(repo.path)


class Flags(pieces.Small):
    def test_dry_run_writes_nothing(self):
        repo, db = self.repository_copy(), self.node_copy()
        node_verb(db, "append", "--bytes", "70000")

        def objects():      # the folder for temporary files is asked for the disk's time
            return {p: p.stat().st_mtime_ns for p in repo.path.rglob("*") if p.name != ".chunkferry-tmp"}

        before = objects()
        done = self.backup(repo.url, db, "--dry-run", "-v")
        self.assertEqual(objects(), before)
        self.assertTrue(done.summary["dry_run"])
        self.assertEqual(done.summary["snapshot"], "")
        self.assertEqual(done.summary["parent"], repo.roots()[0].name)
        self.assertTrue(all(x["text"].startswith("would ") for x in done.lines if x["type"] == "file"))
        text = self.ferry("backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--dry-run").out
        self.assertIn("would succeed; nothing was written", text)
        real = self.backup(repo.url, db, "-v").summary
        self.assertEqual(real["files_total"], done.summary["files_total"])
        self.assertGreaterEqual(done.summary["bytes_changed"], real["bytes_changed"])

    def test_one_line_a_file(self):
        repo = self.repository_copy()
        words = ["backup", "--repo", repo.url, "--node", "kdb-1", "--db", self.shared / "node"]
        quiet, loud, louder = (self.ferry(*words, *more).out.splitlines() for more in ([], ["-v"], ["-vv"]))
        total = self.backup(repo.url, self.shared / "node").summary["files_total"]
        self.assertEqual(len(loud), len(quiet) + total)
        self.assertEqual(len(louder), len(loud), "a directory has no requests")
        listed = [re.match(r"  (?:kept|sent|stored|compared) (\S+), ", line).group(1) for line in loud[:total]]
        self.assertEqual(len(set(listed)), total)
        self.assertLess(listed.index("index/indexmap"), listed.index("db/chaser.chk"))
        self.assertLess(listed.index("db/chaser.chk"), listed.index("db/chunk-000000.000000"))

    def test_json_keys_are_the_documented_ones(self):
        repo = self.repository_copy()
        db = self.node_copy()
        runs = {
            "init": self.ferry("init", "--repo", f"file://{self.dir}/new", "--json"),
            "backup": self.backup(repo.url, db, "-v"),
            "list": self.ferry("list", "--repo", repo.url, "--json"),
            "show": self.ferry("show", "latest", "--repo", repo.url, "--node", "kdb-1", "-v", "--json"),
            "restore": self.restore(repo.url, self.dir / "restored", "-v"),
            "inspect": self.ferry("inspect", "--db", db, "--json"),
            "version": self.ferry("version", "--json"),
        }
        for command, done in runs.items():
            documented = documented_keys(command)
            for line in done.lines:
                kind = line.pop("type")
                self.assertIn(kind, documented, (command, kind))
                if documented[kind]:
                    self.assertEqual(sorted(line), sorted(documented[kind]), (command, kind))
                else:
                    self.assertTrue(set(line) <= {"text", "hint"}, (command, line))
        for key in ("snapshot", "node", "files_total", "files_new", "files_reused", "bytes_read", "bytes_uploaded", "requests", "duration_s"):
            self.assertIn(key, runs["backup"].summary | {"type": ""})

    def test_list_and_show(self):
        repo, db = self.repository_copy(), self.node_copy()
        self.refused(10, "", "list", "--repo", f"file://{self.dir}")
        empty = self.repository("empty")
        self.assertEqual(self.ferry("list", "--repo", empty).out, "no snapshots\n")
        self.assertEqual(self.ferry("list", "--repo", empty, "--node", "kdb-1").out, "no snapshots of node kdb-1\n")
        second = self.backup(repo.url, db).summary
        lines = self.ferry("list", "--repo", repo.url).out.splitlines()
        self.assertEqual([line.split()[0] for line in lines], [repo.roots()[0].name, second["snapshot"]])
        self.assertTrue(all("kdb-1" in line and "15 files" in line for line in lines))
        summary = self.ferry("list", "--repo", repo.url, "--json").summary
        self.assertEqual((summary["snapshots"], summary["nodes"]), (2, 1))
        text = self.ferry("show", "latest", "--repo", repo.url, "--node", "kdb-1", "-v").out
        for word in (second["snapshot"], second["parent"], "chaser", "chunk_size", "db/chunk-000000.000000", "index/indexmap"):
            self.assertIn(word, text)
        shown = self.ferry("show", second["snapshot"], "--repo", repo.url, "--node", "kdb-1", "--json").summary
        self.assertEqual(shown["facts"]["checkpoints"]["writer"], value_of(db, "writer"))
        self.assertEqual(shown["writer"], value_of(db, "writer"))
        self.assertEqual(shown["marks"], [])
        # A damaged one does not hide the others; the exit code tells.
        path = repo.roots()[0]
        path.chmod(0o644)
        path.write_text("{")
        result = self.refused(4, "1 snapshots could not be read", "list", "--repo", repo.url)
        self.assertIn(second["snapshot"], result.out)

    def test_words_from_the_environment(self):
        repo, db = self.repository_copy(), self.node_copy()
        env = ferry.environment(CHUNKFERRY_REPO=repo.url, CHUNKFERRY_NODE="kdb-1")
        self.ferry("backup", "--db", db, env=env)
        self.assertEqual(self.ferry("list", "--json", env=env).summary["snapshots"], 2)
        self.assertEqual(self.ferry("list", "--json", "--node", "kdb-2", env=env).summary["snapshots"], 0)
        self.refused(2, "no repository given", "list", env=ferry.environment(CHUNKFERRY_REPO="  "))

    def test_inspect(self):
        done = self.ferry("inspect", "--db", self.shared / "node")
        for word in ("chaser", "writer", "chunks", "3 completed, 1 ongoing", "2 tables", "a backup now would: succeed"):
            self.assertIn(word, done.out)
        found = self.ferry("inspect", "--db", self.shared / "node", "--json").summary
        self.assertTrue(found["fit"])
        self.assertEqual(found["facts"]["refusals"], [])
        # The facts of inspect are those that a backup stores.
        repo = self.repository_copy()
        self.assertEqual(self.ferry("show", "latest", "--repo", repo.url, "--node", "kdb-1", "--json").summary["facts"]["chunks"], found["facts"]["chunks"])

    def test_several_refusals_are_all_told(self):
        db = self.node_copy()
        chk(db, "truncate", 5)
        (db / "chunk-000001.000000").unlink()
        pieces.flip(db / "index/indexmap", 3)
        found = self.refused(3, "", "inspect", "--db", db, "--json")
        refusals = [x for x in found.lines if x["type"] == "summary"][0]["facts"]["refusals"]
        self.assertGreaterEqual(len(refusals), 3, refusals)

    def test_existence_filter_left_out(self):
        repo, db = self.repository_copy(), self.node_copy()
        done = self.backup(repo.url, db, "--without-existence-filter", "-v")
        self.assertFalse([x for x in done.lines if "streamExistenceFilter" in x.get("text", "") and x["type"] == "file" and "index/" in x["text"]])
        self.restore(repo.url, self.dir / "restored")
        self.assertFalse((self.dir / "restored/index/stream-existence/streamExistenceFilter.dat").exists())
        self.assert_whole(self.dir / "restored")

    def test_secondary_indexes(self):
        db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", pieces.SEED, "--layout", "25", name="new")
        (db / "kurrent.ddb.wal").write_bytes(b"w" * 777)
        url = self.repository()
        self.refused(3, "kurrent.ddb", "backup", "--repo", url, "--node", "a", "--db", db, hint="--source stopped")
        self.refused(3, "kurrent.ddb", "inspect", "--db", db)
        done = self.backup(url, db, "--without-secondary-indexes", node="a")
        self.assertTrue([x for x in done.lines if x["type"] == "warning" and "schema registry" in x["text"]])
        self.restore(url, self.dir / "without", node="a")
        self.assertFalse((self.dir / "without/kurrent.ddb").exists())
        self.backup(url, db, "--source", "stopped", node="a")
        self.ferry("inspect", "--db", db, "--source", "stopped")
        self.restore(url, self.dir / "with", node="a")
        for name in ("kurrent.ddb", "kurrent.ddb.wal"):
            self.assertEqual((self.dir / "with" / name).read_bytes(), (db / name).read_bytes())
        for name in ("without", "with"):
            self.assert_whole(self.dir / name)

    def test_source_that_is_not_stopped(self):
        repo, db = self.repository_copy(), self.node_copy()
        with ferry.LiveNode(db, self.dir, "--no-epoch"):
            self.refused(3, "a server holds the directory", "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--source", "stopped",
                         hint="stop the server first")
            self.refused(3, "a server holds the directory", "inspect", "--db", db, "--source", "stopped")
        self.backup(repo.url, db, "--source", "stopped")

    def test_archived_chunks(self):
        db, repo = self.node_copy(), self.repository_copy()
        (db / "chunk-000000.000000").unlink()
        done = self.backup(repo.url, db, "--archive")
        self.assertTrue([x for x in done.lines if x["type"] == "warning" and "archive" in x["text"]], done)
        self.restore(repo.url, self.dir / "restored")
        self.check_start(self.dir / "restored", "--seed", pieces.SEED, "--archive")
        self.refused(3, "chunks 1..1 are missing", "backup", "--repo", repo.url, "--node", "kdb-1", "--archive", "--db",
                     self.without(db, "chunk-000001.000000", also="chunk-000000.000000"))

    def without(self, db, name, also):
        copy = copy_of(self.shared / "node", self.dir / "without")
        (copy / name).unlink()
        return copy

    def test_level_and_memory_do_not_change_the_snapshot(self):
        url = self.repository()
        for node, words in (("a", ["--compression", 1]), ("b", ["--compression", 9, "--jobs", 1]), ("c", ["--memory", "64MiB", "--jobs", 8])):
            self.backup(url, self.shared / "node", *words, node=node)
            self.restore(url, self.dir / node, *[w for w in words if words[0] != "--compression"], node=node)
            self.assert_same_tree(self.shared / "node", self.dir / node, ongoing=["chunk-000003.000000"])


def copy_of(source, to):
    shutil.copytree(source, to, copy_function=shutil.copy2)
    return to


class Growing(pieces.Small):
    def test_chunk_grows_and_is_completed(self):
        repo, db = self.repository_copy(), self.node_copy()
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 0, "--no-epoch") as node:
            for command, ongoing in (("append 5000", "chunk-000003"), ("append 5000", "chunk-000003"), ("append-until-rollover", "chunk-000004"),
                                     ("append 150000", None)):
                node.tell(command)
                done = self.backup(repo.url, db, "-v")
                sent = [x["text"].split()[1].rstrip(",") for x in done.lines if x["type"] == "file" and x["text"].startswith("sent db/chunk")]
                if ongoing == "chunk-000003":
                    self.assertEqual(sent, [], "only parts")
                else:
                    self.assertIn("db/chunk-000003.000000" if ongoing else "db/chunk-000004.000000", sent)
                self.restore(repo.url, self.dir / "restored")
                self.check_start(self.dir / "restored", "--seed", pieces.SEED)
                shutil.rmtree(self.dir / "restored")

    def test_twice_in_a_second(self):
        repo = self.repository_copy()
        began = time.time()
        ids = [repo.roots()[0].name] + [self.backup(repo.url, self.shared / "node").summary["snapshot"] for _ in range(5)]
        self.assertLess(time.time() - began, 20)
        self.assertEqual(len(set(ids)), 6)
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(self.snapshots(repo.url), ids)

    def test_nothing_changed_sends_a_root(self):
        repo = self.repository_copy()
        before = len(repo.run_files())
        done = self.backup(repo.url, self.shared / "node").summary
        self.assertEqual((done["files_new"], done["bytes_changed"], done["packs_new"]), (0, 0, 0))
        self.assertEqual(len(repo.run_files()), before, "no segment either")
        self.assertLess(done["bytes_uploaded"], 8192)

    def test_mark_of_damage_is_respected(self):
        repo = self.repository_copy()
        run = repo.roots()[0].name
        mark = repo.node / "marks" / run / "damage-20260101T000000000Z"
        mark.parent.mkdir(parents=True)
        mark.write_text("{}")
        done = self.backup(repo.url, self.shared / "node")
        self.assertEqual(done.summary["files_reused"], 0, "nothing of it is relied upon")
        self.assertTrue([x for x in done.lines if x["type"] == "warning" and "damage" in x["text"]])
        shown = self.ferry("show", run, "--repo", repo.url, "--node", "kdb-1", "--json").summary
        self.assertEqual(shown["marks"], ["damage-20260101T000000000Z"])
        warned = self.restore(repo.url, self.dir / "restored", snapshot=run)
        self.assertTrue([x for x in warned.lines if x["type"] == "warning" and "damage" in x["text"]])

    def test_a_loop_under_load(self):
        """Ten backups of a node that never rests; each restores and starts."""
        db = self.make_node("--chunks", 2, "--chunk-size", 65536, "--seed", pieces.SEED, name="busy")
        url = self.repository()
        with ferry.LiveNode(db, self.dir, "--rate-bytes", 400_000, "--mem-table", 200):
            for number in range(8):
                done = ferry.run("backup", "--repo", url, "--node", "kdb-1", "--db", db, "--json")
                self.assertIn(done.code, (0, 3), done)
                time.sleep(0.2)
        kept = self.snapshots(url)
        self.assertGreater(len(kept), 4)
        for number, run in enumerate(kept):
            self.restore(url, self.dir / f"restored-{number}", snapshot=run)
            self.check_start(self.dir / f"restored-{number}", "--seed", pieces.SEED)


ferry.main(__name__)
