# SPDX-License-Identifier: Apache-2.0
"""Nodes of many files of which few or none changed, and repositories of many snapshots."""
import shutil

import data
import ferry
import measure

CHANGED = 3
SNAPSHOTS = 1000


class Many:
    """Per size one node, and one repository of it on each store."""

    def __init__(self, meter, scratch, sizes, say):
        self.meter, self.scratch, self.sizes, self.say = meter, scratch, sizes, say
        self.runs = []

    def row(self, number, row, words, server=None):
        env = server.env() if server else ferry.environment()
        run, out = self.meter.run(number, row, [ferry.BINARY, *words], env=env, server=server)
        told = measure.summary(out)
        run.requests, run.stored = told.get("requests", -1), told.get("bytes_uploaded", -1)
        self.runs.append(run)
        self.say(f"  {run.round}  {run.row:<44} wall {run.wall:6.2f}  CPU {run.cpu:6.2f}  server {run.server:5.2f}  RSS {run.rss:4.0f}"
                 f"  requests {run.requests}")

    def backup_words(self, url, size):
        return ["backup", "--repo", f"{url}/{size}", "--node", "n", "--db", self.scratch / f"node-{size}", "--json"]

    def places(self, server):
        """(store, URL, server, sizes)"""
        found = [("file", f"file://{self.scratch}/many", None, self.sizes["file"])]
        if server:
            found.append(("Ceph", "s3://many", server, self.sizes["Ceph"]))
        return found

    def make(self, server):
        for size in sorted({*self.sizes["file"], *self.sizes["Ceph"]}):
            data.write_many(self.scratch / f"node-{size}", size)
        for _, url, at, sizes in self.places(server):
            env = at.env() if at else ferry.environment()
            for size in sizes:
                for words in (["init", "--repo", f"{url}/{size}"], self.backup_words(url, size)):
                    done = ferry.run(*words, env=env)
                    if done.code != 0:
                        raise measure.Failed(f"{words}: {done}")

    def go(self, rounds, server=None):
        """The second of two runs with no change in between is the one without; `server` runs already."""
        self.make(server)
        for number in range(1, rounds + 1):
            for store, url, at, sizes in self.places(server):
                for size in sizes:
                    self.row(number, f"{size:,} chunks, no change ({store})", self.backup_words(url, size), at)
            for size in sorted({*self.sizes["file"], *self.sizes["Ceph"]}):
                data.change(self.scratch / f"node-{size}", [size * (i + 1) // (CHANGED + 1) for i in range(CHANGED)], number)
            for store, url, at, sizes in self.places(server):
                for size in sizes:
                    self.row(number, f"{size:,} chunks, {CHANGED} changed ({store})", self.backup_words(url, size), at)

    def lists(self, rounds):
        node, url = self.scratch / "listed", f"file://{self.scratch}/snapshots"
        data.write_many(node, 20)
        for words in (["init", "--repo", url], ["backup", "--repo", url, "--node", "n", "--db", node]):
            done = ferry.run(*words)
            if done.code != 0:
                raise measure.Failed(f"{words}: {done}")
        data.multiply_root(self.scratch / "snapshots/nodes/n", SNAPSHOTS)
        done = ferry.run("list", "--repo", url, "--node", "n", "--json")
        if done.code != 0 or done.summary["snapshots"] != SNAPSHOTS:
            raise measure.Failed(f"list of {SNAPSHOTS}: {done.err} {done.out[-300:]}")
        for number in range(1, rounds + 1):
            self.row(number, f"list of {SNAPSHOTS:,} snapshots", ["list", "--repo", url, "--node", "n", "--json"])
        shutil.rmtree(self.scratch / "snapshots")
