#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/FORMAT.md restore a repository, and its examples have the keys that the program writes."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("CHUNKFERRY_BUILD", "build"))
MAKER = pathlib.Path(os.environ.get("FORMAT_EXAMPLE", BUILD / "tests" / "format_example"))
TEXT = pathlib.Path("docs/FORMAT.md").read_text()


def block(info):
    found = re.findall(r"^```%s\n(.*?)^```$" % re.escape(info), TEXT, re.M | re.S)
    assert len(found) == 1, "docs/FORMAT.md has %d blocks '%s'" % (len(found), info)
    return found[0]


def keys(value):
    """Names of all members, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys, value)) if value else set()
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values())) if value else set()
    return set()


def restore(repo, run, out):
    script = block("bash by-hand")
    env = dict(os.environ, REPO="file://%s" % repo, NODE="kdb-1", RUN=run, OUT=str(out))
    return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True)


def check_examples(repo, run):
    node = repo / "nodes/kdb-1"
    root = json.loads((node / "snapshots" / run).read_text())
    documented = keys(json.loads(block("json root")))
    assert documented - keys(root) == {"parent"}, documented ^ keys(root)  # the example has one, the tiny repository has none
    assert keys(root) <= documented, keys(root) - documented
    lease = json.loads((node / "leases/0000000001").read_text())
    assert keys(lease) == keys(json.loads(block("json lease")))
    for segment in root["segments"]:
        raw = subprocess.run(["zstd", "-qdc", node / "runs" / segment["key"]], check=True, capture_output=True).stdout
        lines = [json.loads(line) for line in raw.splitlines()]
        assert len(lines) == segment["lines"]
        if segment["kind"] == "packs":
            assert keys(lines) == keys(json.loads(block("json pack")))
        elif lines[0]["class"] == "chunk":
            assert keys(lines[0]) == keys(json.loads(block("json file")))


def main():
    if not MAKER.exists() or any(shutil.which(t) is None for t in ("curl", "zstd", "jq")):
        print("skipped: needs %s, curl, zstd and jq" % MAKER)
        return 77
    with tempfile.TemporaryDirectory() as place:
        repo, plain, out = (pathlib.Path(place) / name for name in ("repo", "plain", "out"))
        plain.mkdir()
        subprocess.run([MAKER, repo, plain], check=True)
        run = sorted(os.listdir(repo / "nodes/kdb-1/snapshots"))[-1]
        check_examples(repo, run)

        done = restore(repo, run, out)
        assert done.returncode == 0, done.stderr
        subprocess.run(["diff", "-r", plain, out], check=True)
        stat = (out / "db/chunk-000000.000000").stat()
        assert stat.st_mode & 0o7777 == 0o640 and stat.st_mtime_ns == 1795271460123456789
        assert stat.st_blocks * 512 < stat.st_size, "the holes were written"

        # One flipped bit in a pack or a segment is found by the same commands.
        for victim in sorted((repo / "nodes/kdb-1/runs" / run).iterdir()):
            if "packs" in victim.name:
                continue  # a restore by hand does not read them
            good = victim.read_bytes()
            bad = bytearray(good)
            bad[len(bad) // 2] ^= 1
            victim.chmod(0o600)
            victim.write_bytes(bad)
            other = pathlib.Path(place) / ("bad-" + victim.name)
            assert restore(repo, run, other).returncode != 0, "%s: a flipped bit went unseen" % victim.name
            victim.write_bytes(good)
    print("restored by hand, and %s" % "refused every flipped bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
