# SPDX-License-Identifier: Apache-2.0
"""A round trip through a real server: a live fake node, and every real directory. Used by {ceph,minio}_roundtrip_test.py."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, "tests/cli")
import by_hand  # noqa: E402
import ferry  # noqa: E402
import server  # noqa: E402


def live_node(env, url, scratch):
    """Backed up while it is written to, twice; restored; started."""
    db, target = Path(scratch) / "node", Path(scratch) / "restored"
    subprocess.run([*ferry.NODE, "make", "--db", str(db), "--chunks", "20", "--chunk-size", "1048576", "--seed", "3"], check=True, capture_output=True)

    def go(*words):
        done = ferry.run(*words, env=env)
        assert done.code == 0, done
        return done

    go("init", "--repo", url)
    with ferry.LiveNode(db, scratch, "--rate-bytes", 1048576) as node:
        first = go("backup", "--repo", url, "--node", "live", "--db", db, "--json").summary
        node.tell("append-until-rollover")
        second = go("backup", "--repo", url, "--node", "live", "--db", db, "--json").summary
    assert second["files_reused"] >= 20, second
    assert second["bytes_uploaded"] < first["bytes_uploaded"] / 3, (first, second)
    go("restore", "--repo", url, "--node", "live", "latest", "--target", target)
    check = ferry.start_check(target, "--seed", "3")
    assert check.returncode == 0, check.stdout
    print(f"live node at {url}: {first['bytes_uploaded']} bytes first, {second['bytes_uploaded']} then, restored and started")


def restored_by_hand(env, url, scratch):
    """The live node's newest snapshot, with curl's signatures and docs/FORMAT.md only."""
    if by_hand.lacking():
        print("by hand: not done, lacks " + ", ".join(by_hand.lacking()))
        return
    listed = ferry.run("list", "--repo", url, "--node", "live", "--json", env=env)
    newest = max(x["snapshot"] for x in listed.lines if x["type"] == "snapshot")
    out = Path(scratch) / "by-hand"
    done = by_hand.restore(f"{env['AWS_ENDPOINT_URL_S3']}/{url[len('s3://'):]}", "live", newest, out, env)
    assert done.returncode == 0, done.stderr
    check = ferry.start_check(out / "db", "--index", out / "index", "--seed", "3")
    assert check.returncode == 0, check.stdout
    print(f"live node at {url}: restored by hand, started")


def large_pack(env, url, scratch):
    """One chunk of 256 MiB that does not compress much: a multipart upload, and ranged gets of it."""
    db, target = Path(scratch) / "large", Path(scratch) / "large-restored"
    subprocess.run([*ferry.NODE, "make", "--db", str(db), "--chunks", "1", "--chunk-size", str(256 << 20), "--seed", "4"], check=True, capture_output=True)
    for words in (["backup", "--db", db], ["restore", "latest", "--target", target]):
        done = ferry.run(*words, "--repo", url, "--node", "large", env=env)
        assert done.code == 0, done
    for chunk in sorted(db.glob("chunk-*"))[:-1]:
        subprocess.run(["cmp", str(chunk), str(target / chunk.name)], check=True)
    print(f"256 MiB chunk through multipart at {url}: equal")


def measured(env, url, scratch):
    """bench beside a repository and where there is none: sums that fit, and not a key left of it."""
    from s3.client import Client
    door = Client(env["AWS_ENDPOINT_URL_S3"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_REGION", "us-east-1"))
    for place in (url, url + "-none"):
        done = ferry.run("bench", "--repo", place, "--db", f"{scratch}/large", "--size", "64MiB", "--json", env=env)
        assert done.code == 0, done
        found = done.summary
        assert found["objects_left"] == 0 and found["objects"] > 10, found
        steps = [x for x in done.lines if x["type"] == "step"]
        assert {x["op"] for x in steps} == {"put", "get"} and all(x["bytes_per_s"] > 0 for x in steps), steps
        bucket, prefix = place[len("s3://"):].split("/", 1)
        listed = door.call("GET", f"/{bucket}", f"list-type=2&prefix={prefix}%2Fbench%2F")
        assert listed.status == 200 and b"<Key>" not in listed.body, listed.body
        print(f"bench at {place}: backup {found['backup_bytes_per_s'] / 1e6:.0f} MB/s by {found['backup_bound']}, "
              f"restore {found['restore_bytes_per_s'] / 1e6:.0f} MB/s by {found['restore_bound']}, nothing left")


def every_fixture(env, url):
    if not ferry.fixtures():
        print("fixtures: none, ../shared is absent")
        return
    keys = {k: v for k, v in env.items() if k.startswith("AWS_")}
    done = subprocess.run([sys.executable, "tests/cli/fixtures_test.py"], env={**os.environ, **keys, "FERRY_URL": url})
    assert done.returncode == 0, "fixtures"


def main(script, tls=False):
    """script: ci/server-X. Starts it in a scratch folder, goes through all of it, stops it."""
    with server.started(script) as (told, scratch):
        aws = server.credentials(told)
        env = ferry.environment(**aws)
        live_node(env, "s3://roundtrip/live", scratch)
        restored_by_hand(env, "s3://roundtrip/live", scratch)
        large_pack(env, "s3://roundtrip/live", scratch)
        measured(env, "s3://roundtrip/live", scratch)
        if tls:
            secure = ferry.environment(**{**aws, "AWS_ENDPOINT_URL_S3": told["CHUNKFERRY_TLS_ENDPOINT"], "AWS_CA_BUNDLE": told["CHUNKFERRY_CA_BUNDLE"]})
            refused = ferry.run("list", "--repo", "s3://roundtrip/live", env={**secure, "AWS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"})
            assert refused.code != 0, "a certificate of an unknown authority was accepted"
            subprocess.run(["rm", "-rf", f"{scratch}/node", f"{scratch}/restored"], check=True)
            live_node(secure, "s3://roundtrip/secure", scratch)
        every_fixture(env, "s3://roundtrip/fixtures")
