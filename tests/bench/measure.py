# SPDX-License-Identifier: Apache-2.0
"""What one run of one program costs, on its own side and on the server's."""
import copy
import dataclasses
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import quote

import ferry
from s3.client import Client

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program that is measured ended with a failure."""


@dataclasses.dataclass
class Run:
    """One line of results.csv. The server's CPU time is what its processes took between begin and end."""
    round: int
    row: str
    wall: float
    cpu: float
    rss: float              # MiB, the peak
    server: float = 0.0     # CPU seconds
    stored: int = -1        # bytes, -1: not asked
    requests: int = -1

    @property
    def all_cpu(self):
        return self.cpu + self.server


class Meter:
    """Runs programs through bench_launch, so that this process's own size is in no figure."""

    def __init__(self, scratch):
        self.launcher = ferry.BINARY.parent / "bench_launch"
        self.out = Path(scratch) / "launched"
        self.log = Path(scratch) / "log"
        if not self.launcher.exists():
            sys.exit(f"{self.launcher} is not built")

    def run(self, number, row, words, env=None, server=None, cwd=None):
        """(Run, what it wrote to stdout)"""
        os.sync()       # what the row before left to write is not this one's
        before = server.cpu() if server else 0.0
        with open(self.log, "wb") as log:
            done = subprocess.run([str(self.launcher), str(self.out), *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=log,
                                  stdin=subprocess.DEVNULL, cwd=cwd, check=False)
        after = server.cpu() if server else 0.0
        if done.returncode != 0:
            raise Failed(f"{row}: bench_launch: {self.log.read_text(errors='replace')}")
        wall, user, system, kib, status = map(float, self.out.read_text().split())
        if status != 0:
            raise Failed(f"{row}: {' '.join(map(str, words))}: exit {status:.0f}\n{self.log.read_text(errors='replace')[-2000:]}")
        return Run(number, row, wall, user + system, kib / 1024, after - before), done.stdout.decode(errors="replace")

    def shell(self, number, row, script, **options):
        return self.run(number, row, ["/bin/sh", "-ec", script], **options)[0]


def summary(text):
    """The last line of --json."""
    return json.loads(text.strip().splitlines()[-1])


class Server:
    """A throw-away one of ci/server-NAME."""

    def __init__(self, name, folder, **how):
        self.name, self.folder = name, Path(folder)
        self.script = str(ferry.ROOT / f"ci/server-{name}")
        self.how = {**os.environ, **how}
        self.keys, self.tls = {}, {}

    def start(self):
        """False when it cannot run here."""
        done = subprocess.run([self.script, "start", str(self.folder)], env=self.how, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 77:
            return False
        if done.returncode != 0:
            raise Failed(f"{self.script} start: exit {done.returncode}")
        told = dict(line.split("=", 1) for line in done.stdout.split() if "=" in line)
        self.keys = {key: value for key, value in told.items() if key.startswith("AWS_")}
        if "CHUNKFERRY_TLS_ENDPOINT" in told:
            self.tls = {"AWS_ENDPOINT_URL_S3": told["CHUNKFERRY_TLS_ENDPOINT"], "AWS_CA_BUNDLE": told["CHUNKFERRY_CA_BUNDLE"]}
        return True

    def secure(self):
        """The same server over https."""
        other = copy.copy(self)
        other.keys = {**self.keys, **self.tls}
        return other

    def stop(self):
        subprocess.run([self.script, "stop", str(self.folder)], env=self.how, stderr=subprocess.DEVNULL, check=False)

    @property
    def url(self):
        return self.keys["AWS_ENDPOINT_URL_S3"]

    @property
    def access(self):
        return self.keys["AWS_ACCESS_KEY_ID"]

    @property
    def secret(self):
        return self.keys["AWS_SECRET_ACCESS_KEY"]

    def env(self, **more):
        return ferry.environment(**self.keys, **more)

    def cpu(self):
        """Seconds of all its processes, their ended threads included."""
        lines = []
        for name in ("pids", "pid"):
            if (self.folder / name).exists():
                lines += (self.folder / name).read_text().splitlines()
        return sum(cpu_of(int(line.split()[0])) for line in lines)

    def client(self):
        return Client(self.url, self.access, self.secret, ca=self.keys.get("AWS_CA_BUNDLE"))

    def make_bucket(self, bucket):
        answer = self.client().call("PUT", "/" + bucket)
        if answer.status not in (200, 409):
            raise Failed(f"PUT {self.url}/{bucket}: {answer.status} {answer.body[:200]!r}")

    def stored(self, bucket, prefix=""):
        """Bytes of all objects below a prefix."""
        total, token = 0, ""
        while True:
            query = f"list-type=2&prefix={quote(prefix, safe='')}"
            if token:
                query = f"continuation-token={quote(token, safe='')}&{query}"
            answer = self.client().call("GET", "/" + bucket, query)
            if answer.status != 200:
                raise Failed(f"list of {bucket}/{prefix}: {answer.status} {answer.body[:200]!r}")
            tree = ElementTree.fromstring(answer.body)
            space = tree.tag[:tree.tag.index("}") + 1]
            total += sum(int(size.text) for size in tree.iter(space + "Size"))
            token = tree.findtext(space + "NextContinuationToken") or ""
            if not token:
                return total


def cpu_of(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def folder_size(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
