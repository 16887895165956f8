# SPDX-License-Identifier: Apache-2.0
"""One round: every row once, in one order, on a server that was started for it."""
import hashlib
import os
import shutil
import subprocess

import cpu
import ferry
import measure
import peers

# What a backup may be told, and the word of the manual without which the row cannot be had.
VARIANTS = {"default": [], "no-verify": ["--no-verify-source"], "level 1": ["--compression", "1"], "adaptive": ["--adaptive"]}
# Of a store that is here for one comparison only these; restic needs https, see peers.py.
# A network that is slower than the cores: what --adaptive is for. Fewer rounds, a row takes 23 s.
NARROW, NARROW_ROUNDS = "20MiB", 3
QUICK = ("default", "no-verify")
FEW = {"Ceph https": QUICK, "MinIO": ("default",)}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def knows(command, word):
    done = subprocess.run([str(ferry.BINARY), command, "--help"], capture_output=True, text=True, check=False)
    return f"{word} " in done.stdout or f"{word}\n" in done.stdout


class Rounds:
    """Rows over the same source files. `source` holds the completed chunks only: peers know no ongoing one."""

    def __init__(self, meter, scratch, node, stores, programs, skipped, few, say):
        self.meter, self.scratch, self.node, self.stores, self.programs, self.say = meter, scratch, node, stores, programs, say
        self.few, self.source = few, scratch / "source"
        self.source.mkdir()
        for path in sorted(node.glob("chunk-*"))[:-1]:
            os.link(path, self.source / path.name)
        self.files = " ".join(str(p) for p in sorted(self.source.iterdir()))
        self.target = scratch / "restored"
        self.digests = {}
        self.runs, self.skipped, self.profiles = [], skipped, {}
        self.variants = {name: words for name, words in VARIANTS.items() if not (few and name not in QUICK) and
                         (not words or self.has("backup", words[0], f"backup, {name}"))}
        self.recheck = not few and self.has("restore", "--recheck", "restore --recheck")

    def has(self, command, word, row):
        if knows(command, word):
            return True
        self.skip(row, f"this binary's {command} has no {word}")
        return False

    def skip(self, row, why):
        if row not in self.skipped:
            self.skipped[row] = why
            self.say(f"skipped: {row}: {why}")

    def add(self, run):
        self.runs.append(run)
        self.say(f"  {run.round}  {run.row:<44} wall {run.wall:6.2f}  CPU {run.cpu:6.2f}  server {run.server:5.2f}  RSS {run.rss:4.0f}")

    def one(self, number):
        self.number = number
        subprocess.run(f"cat {self.files} > /dev/null", shell=True, check=True)     # the page cache is warm
        self.floor_rows()
        for name, server in self.stores.items():
            if server is None:
                self.ferry_rows(name, f"file://{self.scratch}/repositories", None)
                if number == 1 and not self.few:
                    self.profile(name, f"file://{self.scratch}/repositories", None)
                shutil.rmtree(self.scratch / "repositories")
                continue
            if not server.start():
                self.skip(name, f"{server.script} cannot run here")
                continue
            try:
                if name == "Ceph":
                    self.put_row(server)
                self.ferry_rows(name, "s3://bench", server)
                if number <= NARROW_ROUNDS and name == "Ceph" and not self.few:
                    self.narrow_rows(server)
                if number == 1 and name == "Ceph" and not self.few:
                    self.profile(name, "s3://bench", server)
                if name == "Ceph" and self.programs:
                    self.ferry_rows("Ceph https", "s3://secure", server.secure())
                    for peer, program in self.programs.items():
                        self.peer_rows(peers.ALL[peer], program, server)
            finally:
                server.stop()

    # Floors

    def shell(self, row, script, **options):
        self.add(self.meter.shell(self.number, row, script, **options))

    def floor_rows(self):
        packed, plain = self.scratch / "packed", self.scratch / "plain"
        self.shell("zstd -3 -T1 > /dev/null", f"exec zstd -q -3 -T1 -c {self.files} > /dev/null")
        self.shell("zstd -3 -T2 > /dev/null", f"exec zstd -q -3 -T2 -c {self.files} > /dev/null")
        packed.mkdir()
        self.shell("zstd -3 -T2 to disk, synced", f"zstd -q -3 -T2 --output-dir-flat {packed} {self.files}; sync {packed}/*")
        back = " ".join(str(p) for p in sorted(packed.iterdir()))
        self.shell("zstd -d > /dev/null", f"exec zstd -q -d -c {back} > /dev/null")
        plain.mkdir()
        self.shell("zstd -d to files, synced", f"zstd -q -d --output-dir-flat {plain} {back}; sync {plain}/*")
        shutil.rmtree(plain)
        shutil.rmtree(packed)
        self.shell("SHA-256", f"exec openssl dgst -sha256 {self.files}")
        self.shell("MD5", f"exec openssl dgst -md5 {self.files}")

    def put_row(self, server):
        """curl signs the head only ("unsigned payload"): no byte is hashed."""
        server.make_bucket("floor")
        packed = self.scratch / "packed"
        packed.mkdir()
        put = (f"curl -sSf -o /dev/null -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:us-east-1:s3"
               f" --user {server.access}:{server.secret}")
        self.shell("compress to disk, then PUT", f"for f in {self.files}; do n={packed}/${{f##*/}}.zst; zstd -q -3 -T2 $f -o $n;"
                   f" {put} -T $n {server.url}/floor/${{f##*/}}; done", server=server)
        shutil.rmtree(packed)

    # chunkferry

    def narrow_rows(self, server):
        limit = ["--limit-upload", NARROW]
        self.backup("Ceph", "s3://bench/narrow", server, f"backup at {NARROW}/s", limit)
        if "adaptive" in self.variants:
            self.backup("Ceph", "s3://bench/narrow-adaptive", server, f"backup at {NARROW}/s, adaptive", [*limit, *VARIANTS["adaptive"]])

    def ferry_rows(self, store, url, server):
        for variant, words in self.variants.items():
            if variant in FEW.get(store, VARIANTS):
                self.backup(store, f"{url}/{variant.replace(' ', '')}", server, f"backup, {variant}", words)
        repo = f"{url}/default"
        self.backup(store, repo, server, "backup again", [])
        self.restore(store, repo, server, "restore", [])
        if store in FEW:
            return
        if self.recheck:
            self.restore(store, repo, server, "restore --recheck", ["--recheck"])
        self.chunkferry(store, server, "verify --read-data", ["verify", "latest", "--repo", repo, "--node", "n", "--read-data", "--json"])

    def chunkferry(self, store, server, what, words):
        env = server.env() if server else ferry.environment()
        run, out = self.meter.run(self.number, f"{what} ({store})", [ferry.BINARY, *words], env=env, server=server)
        run.requests = measure.summary(out).get("requests", -1)
        self.add(run)
        return run

    def backup(self, store, repo, server, what, words):
        env = server.env() if server else ferry.environment()
        if what != "backup again":
            done = ferry.run("init", "--repo", repo, env=env)
            if done.code != 0:
                raise measure.Failed(f"init: {done}")
        run = self.chunkferry(store, server, what, ["backup", "--repo", repo, "--node", "n", "--db", self.node, "--json", *words])
        path = repo.split("://", 1)[1]
        run.stored = server.stored(*(path + "/").split("/", 1)) if server else measure.folder_size(path)

    def restore(self, store, repo, server, what, words):
        self.chunkferry(store, server, what, ["restore", "latest", "--repo", repo, "--node", "n", "--target", self.target, "--json", *words])
        self.compare(self.node, f"{what} ({store})")

    def profile(self, store, url, server):
        """Once more, looked at by perf; its time is in no row."""
        if not cpu.possible():
            self.skip("where the CPU goes", "perf is not here")
            return
        env, repo = server.env() if server else ferry.environment(), f"{url}/profiled"
        where = ["--repo", repo, "--node", "n"]
        ferry.run("init", "--repo", repo, env=env)
        try:
            for what, words in (("backup, default", ["backup", *where, "--db", self.node]), ("restore", ["restore", "latest", *where, "--target", self.target])):
                self.profiles[f"{what} ({store})"] = cpu.profile(self.scratch, [ferry.BINARY, *words], env)
        except measure.Failed as error:
            self.skip("where the CPU goes", str(error))
        shutil.rmtree(self.target, ignore_errors=True)

    # Peers

    def peer_rows(self, kind, program, server):
        scratch = self.scratch / kind.name
        scratch.mkdir()
        try:
            peer = kind(program, server.secure() if kind.secure else server, self.source, scratch)
            peer.prepare()
            first = self.peer_run(f"{kind.name} backup", server, peer.backup())
            first.stored = server.stored(kind.name)
            self.peer_run(f"{kind.name} again", server, peer.backup())
            self.peer_run(f"{kind.name} restore", server, peer.restore(self.target))
            self.compare(self.source, f"{kind.name} restore")
        except (measure.Failed, subprocess.CalledProcessError) as error:
            self.skip(kind.name, f"round {self.number}: {error}")
        finally:
            shutil.rmtree(self.target, ignore_errors=True)
            subprocess.run(["chmod", "-R", "u+w", str(scratch)], check=False)
            shutil.rmtree(scratch)

    def peer_run(self, row, server, how):
        run, _ = self.meter.run(self.number, row, how["words"], env=how["env"], server=server, cwd=how.get("cwd"))
        self.add(run)
        return run

    # Byte for byte

    def compare(self, source, row):
        """Every file of the source is in the target as it is; in the first round, whole."""
        for path in sorted(p for p in source.iterdir() if p.is_file()):
            other = self.target / path.name
            same = other.exists() and other.stat().st_size == path.stat().st_size
            if same and self.number == 1:
                if path not in self.digests:
                    self.digests[path] = digest(path)
                same = digest(other) == self.digests[path]
            if not same:
                raise measure.Failed(f"{row}: {path.name} came back different")
        shutil.rmtree(self.target)
