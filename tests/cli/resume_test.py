# SPDX-License-Identifier: Apache-2.0
"""A run that is killed, again and again, or interrupted: the next one goes on from what it uploaded. CHUNKFERRY_LONG=1: 2 GiB."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

LONG = os.environ.get("CHUNKFERRY_LONG") == "1"
CHUNKS, CHUNK_BYTES = (256, 8 << 20) if LONG else (128, 4 << 20)
# Of all bytes: what the run after a kill at 90 % may upload. Journals of a node of 2 GiB come every 3 %; in the smaller one every
# 4 MiB, which is more of it.
SHARE_MAX = 0.15 if LONG else 0.17


class FileTarget:
    """A repository in a directory; bytes uploaded are those of its packs, unfinished ones too."""

    def __init__(self, case, name):
        self.path, self.env = case.dir / name, ferry.environment()
        self.url = f"file://{self.path}"

    def uploaded(self):
        total = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += os.stat(os.path.join(folder, name)).st_size
                except FileNotFoundError:
                    pass
        return total

    def leftovers(self):
        return []


class FakeTarget:
    def __init__(self, server, env):
        from s3.client import Client
        self.env, self.url, self.door = env, "s3://backups/prod", Client.of(server)

    def uploaded(self):
        return self.door.control("GET", "counts")["bytes_uploaded"]

    def leftovers(self):
        return [x for bucket in self.door.control("GET", "uploads").values() for x in bucket]


class Resume(ferry.Case):
    @classmethod
    def setUpClass(cls):
        import tempfile
        from pathlib import Path
        cls.shared = Path(tempfile.mkdtemp(prefix="chunkferry-test."))
        cls.db = cls.shared / "node"
        subprocess.run([*ferry.NODE, "make", "--db", str(cls.db), "--chunks", str(CHUNKS), "--chunk-size", str(CHUNK_BYTES), "--seed", "7"],
                       check=True, capture_output=True)
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)

    def start(self, target, *words):
        words = ["backup", "--repo", target.url, "--node", "kdb-1", "--db", self.db, "--json", "--memory", "64M", *words]
        return subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=target.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop_at(self, target, level, how, *words):
        """One run, signalled once so many bytes were uploaded; its exit code, and the bytes there were."""
        before = target.uploaded()
        process = self.start(target, *words)
        while process.poll() is None and target.uploaded() - before < level:
            time.sleep(0.005)
        begin = time.monotonic()
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130 if how == signal.SIGINT else -how, err)
        return target.uploaded() - before, time.monotonic() - begin

    def whole(self, target):
        """The uploads of a run that nobody stops, in a place of its own."""
        self.ferry("init", "--repo", target.url, env=target.env)
        before = target.uploaded()
        self.backup(target.url, self.db, env=target.env)
        return target.uploaded() - before

    def finish(self, target, total, title, share_max=SHARE_MAX):
        before = target.uploaded()
        done = self.backup(target.url, self.db, env=target.env)
        again = target.uploaded() - before
        print(f"{title}: {total >> 20} MiB in all, the run after it uploaded {again / 2**20:.1f} MiB, {100 * again / total:.1f} %")
        self.assertLessEqual(again / total, share_max, done)
        self.assertIn("going on from its", done.out)
        restored = self.dir / "restored"
        self.restore(target.url, restored, env=target.env)
        self.assert_same_tree(self.db, restored, ongoing={f"chunk-{CHUNKS:06}.000000"})
        self.check_start(restored)
        shutil.rmtree(restored)
        self.assertEqual(target.leftovers(), [], "multipart uploads of the dead run are aborted")
        self.assertEqual(len(self.snapshots(target.url, env=target.env)), 1)
        return again

    def all_ways(self, target, other, title):
        total = self.whole(other)
        self.ferry("init", "--repo", target.url, env=target.env)
        self.stop_at(target, 0.9 * total, signal.SIGKILL)
        self.finish(target, total, f"{title}, killed at 90 %")

    def test_killed_once_in_a_directory(self):
        self.all_ways(FileTarget(self, "r"), FileTarget(self, "whole"), "directory")

    def test_killed_once_on_s3(self):
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env), ferry.fake_s3(root=str(self.dir / "others")) as (other, env2):
            self.all_ways(FakeTarget(server, env), FakeTarget(other, env2), "S3")

    def test_killed_three_times_in_a_row(self):
        target, total = FileTarget(self, "r"), self.whole(FileTarget(self, "whole"))
        self.ferry("init", "--repo", target.url)
        sent = 0
        for share in (0.35, 0.3, 0.25):
            sent += self.stop_at(target, share * total, signal.SIGKILL)[0]
        sent += self.finish(target, total, "killed three times", share_max=0.10 + 3 * (SHARE_MAX - 0.10))
        print(f"  four runs together uploaded {100 * sent / total:.1f} %")
        self.assertLessEqual(sent / total, 1.2, "what a run takes over it does not send")

    def test_uploads_of_the_dead_are_aborted(self):
        """Multipart uploads that the dead run's last journal names; what it began behind it, prune finds by listing."""
        db = self.make_node("--chunks", 2, "--chunk-size", 96 << 20, "--seed", 8)
        with ferry.fake_s3(root=str(self.dir / "objects")) as (server, env):
            target = FakeTarget(server, env)
            self.ferry("init", "--repo", target.url, env=env)
            process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", target.url, "--node", "kdb-1", "--db", str(db), "--memory", "64M", "--limit-upload", "2M"],
                                       env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            named = []
            while process.poll() is None and not named:
                time.sleep(0.02)
                journals = sorted(k for k in target.door.control("GET", "keys")["backups"] if "-journal" in k)
                if journals:
                    text = subprocess.run(["zstd", "-qdc"], input=target.door.get("backups", journals[-1]).body, capture_output=True).stdout
                    named = [x["id"] for x in json.loads(text.splitlines()[-1])["uploads"]]
                    named = [x for x in named if x in json.dumps(target.leftovers())]
            process.kill()
            process.communicate()
            self.assertTrue(named, "a journal named an upload that was under way")
            still = [x for x in named if x in json.dumps(target.leftovers())]
            self.backup(target.url, db, env=env)
            left = json.dumps(target.leftovers())
            print(f"uploads in the dead run's journal: {len(named)}, {len(still)} open when it was killed, {sum(x in left for x in still)} after the next run")
            self.assertEqual([x for x in still if x in left], [])

    def test_interrupted_loses_next_to_nothing(self):
        """The last journal is put on the way out, so that only what was under way is lost."""
        target, total = FileTarget(self, "r"), self.whole(FileTarget(self, "whole"))
        self.ferry("init", "--repo", target.url)
        _, took_s = self.stop_at(target, 0.9 * total, signal.SIGINT)
        self.assertLess(took_s, 2 if not LONG else 4)
        lease = json.loads(sorted((target.path / "nodes/kdb-1/leases").iterdir())[-1].read_bytes())
        self.assertEqual(lease["state"], "ended")
        self.finish(target, total, "interrupted at 90 %")


ferry.main(__name__)
