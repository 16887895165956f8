# SPDX-License-Identifier: Apache-2.0
"""Kill loop on real servers: Ceph RGW (plain, versioned and object-lock buckets) and MinIO where present. The whole scenario in a place of
its own for every 7th request of it (a sample by default), killed before it and after it."""
import base64
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, "tests/loops")
import loop  # noqa: E402
import scenario  # noqa: E402
from place import Place  # noqa: E402
from proxy import Proxy  # noqa: E402
from s3.client import Client  # noqa: E402

EVERY = 7
KINDS = ("plain", "versioned", "locked")
NUMBERS = itertools.count(1)
LOCK = (b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days>"
        b"</DefaultRetention></Rule></ObjectLockConfiguration>")
VERSIONED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


class RealPlace(Place):
    """A prefix of its own for each case; time cannot be turned and nothing be put back."""
    interrupts = False

    def __init__(self, env, bucket, kind):
        super().__init__()
        self.prune_words = () if kind == "plain" else ("--delete-versions",)
        self.env.update(env)
        parts = urlsplit(env["AWS_ENDPOINT_URL_S3"])
        self.proxy = Proxy(parts.hostname, parts.port)
        self.env["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{self.proxy.port}"
        self.bucket, self.number = bucket, 0
        self.fresh()

    def fresh(self):
        self.number += 1
        here = f"s3://{self.bucket}/{os.getpid()}-{self.number}"
        self.url, self.to_url = f"{here}/prod", f"{here}/copy"
        self.runs.clear()

    def save(self):
        return None

    def pass_time(self, seconds):
        pass

    def close(self):
        self.proxy.close()
        super().close()

    def killed(self, words, nth, how):
        process, started = [], threading.Event()

        def kill():
            started.wait(60)
            os.kill(process[0].pid, signal.SIGKILL)
        self.proxy.reset(nth, how, kill)
        process.append(self.start(words))
        started.set()
        outcome = self.finish(process[0])
        seen, sprung = self.proxy.seen, self.proxy.sprung.is_set()
        self.proxy.reset()
        assert sprung or outcome.code == 0, f"'{words[0]}' ended with {outcome.code}"
        assert not sprung or outcome.code in (-signal.SIGKILL, 0)    # it may have been done with everything else
        return seen, sprung


class RealKill(loop.Loop):
    budget_s = 8

    def __init__(self, server, env, kind):
        self.env, self.kind, self.bucket, self.name = env, kind, f"loops-{kind}-{os.getpid()}-{next(NUMBERS)}", f"kill-{server}-{kind}"
        make_bucket(env, self.bucket, kind)

    def make(self):
        return scenario.Scenario(RealPlace(self.env, self.bucket, self.kind))

    def plan(self, scene):
        total = 0
        scene.place.fresh()
        scene.rebuild()
        for step in scene.steps:
            scene.place.proxy.reset()
            scene.do(step)
            total += scene.place.proxy.seen
        scene.total = total
        return [(n, how) for n in range(1, total + 1, EVERY) for how in ("never", "applied")]

    def one(self, scene, case):
        left, how = case
        scene.place.fresh()
        scene.rebuild()
        for step in scene.steps:
            if left < 1:
                scene.do(step)
                continue
            seen, sprung = scene.place.killed(step.words, left, how)
            left = 0 if sprung else left - seen
            if sprung:
                scene.repeat(step)
                scene.check(step)
        if left > 0:
            raise loop.NotReached
        scene.check(scene.steps[-1])


def make_bucket(env, bucket, kind):
    client = Client(env["AWS_ENDPOINT_URL_S3"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_REGION", "us-east-1"))

    def put(query, body=b"", **headers):
        if body:
            headers["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = client.call("PUT", f"/{bucket}", query, headers, body)
        assert answer.status == 200, (query, answer)

    put("", **({"x-amz-bucket-object-lock-enabled": "true"} if kind == "locked" else {}))
    if kind == "versioned":
        put("versioning=", VERSIONED)
    if kind == "locked":
        put("object-lock=", LOCK)


def start(script, folder):
    """The server's environment, or None when it cannot run here."""
    started = subprocess.run([script, "start", folder], stdout=subprocess.PIPE, text=True)
    if started.returncode == 77:
        return None
    assert started.returncode == 0, f"{script} did not start"
    told = dict(line.split("=", 1) for line in started.stdout.split() if "=" in line)
    return {k: v.strip("'\"") for k, v in told.items() if k.startswith("AWS_")}


def line(counts):
    return f"kill loop on real servers: {sum(counts.values())} kills ({', '.join(f'{k[5:]} {n}' for k, n in counts.items())})"


def main():
    with tempfile.TemporaryDirectory(prefix="chunkferry-loops.") as scratch:
        folders, loops = [], []
        try:
            for server, script in (("ceph", "ci/server-ceph"), ("minio", "ci/server-minio")):
                folder = str(Path(scratch) / server)
                env = start(script, folder)
                if env is None:
                    print(f"{server}: cannot run here")
                    continue
                folders.append((script, folder))
                loops += [RealKill(server, env, kind) for kind in KINDS]
            if not loops:
                print("skipped: no real server can run here")
                sys.exit(77)
            loop.main(line, *loops)
        finally:
            for script, folder in folders:
                subprocess.run([script, "stop", folder], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
