# SPDX-License-Identifier: Apache-2.0
"""A directory tree on a real server that ci/server-ceph starts: backed up, verified, restored; then a run is killed in an upload that no
journal names, which prune finds and ends; and all is verified once more."""
import os
import subprocess
import sys
import time

sys.path[:0] = ["tests/cli", "tests/real"]
import ferry  # noqa: E402
import server  # noqa: E402
import tree  # noqa: E402
from s3.client import Client  # noqa: E402

BUCKET = "trees"
URL = f"s3://{BUCKET}/prod"


def go(env, *words):
    done = ferry.run(*words, "--json", env=env)
    assert done.code == 0, done
    return done


def make(source):
    for i in range(300):
        path = source / f"d{i % 7}" / f"small-{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(400 + 17 * i))
    (source / "large").write_bytes(os.urandom(24 << 20))
    os.truncate(source / "large", 64 << 20)     # ends in a hole
    os.symlink("d1/small-1", source / "link")
    os.utime(source / "d3", ns=(1, 987654321))


def round_trip(env, source, target):
    go(env, "backup", "--repo", URL, "--node", "t", "--profile", "directory", "--dir", source)
    checked = go(env, "verify", "--repo", URL, "--read-data", "all").summary
    go(env, "restore", "--repo", URL, "--node", "t", "latest", "--target", target)
    assert tree.describe(target) == tree.describe(source), "the restored tree differs"
    print(f"tree: verified and restored, {checked}")


def uploads(env):
    client = Client(env["AWS_ENDPOINT_URL_S3"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_REGION"])
    answer = client.call("GET", f"/{BUCKET}", "uploads=")
    assert answer.status == 200, answer
    return answer.body.count(b"<Upload>")


def killed(env, source):
    (source / "new").write_bytes(os.urandom(48 << 20))
    process = subprocess.Popen([str(ferry.BINARY), "backup", "--repo", URL, "--node", "t", "--profile", "directory", "--dir", str(source),
                                "--limit-upload", "4MiB"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not uploads(env) and time.monotonic() < limit:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert uploads(env) == 1, "it was to die in an upload"


def main():
    with server.started("ci/server-ceph") as (told, scratch):
        env = ferry.environment(**server.credentials(told))
        source = scratch / "source"
        make(source)
        go(env, "init", "--repo", URL)
        round_trip(env, source, scratch / "one")
        killed(env, source)
        assert go(env, "prune", "--repo", URL, "--keep-last", "1").summary["uploads_aborted"] == 0, "it was not fenced yet"
        go(env, "unlock", "--repo", URL, "--node", "t", "--force")
        pruned = go(env, "prune", "--repo", URL, "--keep-last", "1").summary
        assert pruned["uploads_aborted"] == 1 and uploads(env) == 0, pruned
        round_trip(env, source, scratch / "two")
        print("an upload that no journal named: found by ListMultipartUploads and ended")


main()
