# SPDX-License-Identifier: Apache-2.0
"""Copies out of and into a real server that ci/server-ceph starts: to a directory, back into the bucket, and the node starts from it."""
import subprocess
import sys

sys.path[:0] = ["tests/cli", "tests/real"]
import ferry  # noqa: E402
import server  # noqa: E402

URL = "s3://copies/prod"


def go(env, *words):
    done = ferry.run(*words, "--json", env=env)
    assert done.code == 0, done
    return done


def start(env, url, node, target, seed):
    go(env, "restore", "--repo", url, "--node", node, "latest", "--target", target)
    done = ferry.start_check(target, "--seed", seed)
    assert done.returncode == 0, done.stdout


def copies(env, scratch):
    medium, back = f"file://{scratch}/medium", "s3://copies/back"
    for url in (URL, medium, back):
        go(env, "init", "--repo", url)
    nodes = {"small": ("--chunks", "20", "--chunk-size", "1048576", "--seed", "3"), "large": ("--chunks", "1", "--chunk-size", str(256 << 20), "--seed", "4")}
    for node, words in nodes.items():
        db = scratch / node
        subprocess.run([*ferry.NODE, "make", "--db", str(db), *words], check=True, capture_output=True)
        go(env, "backup", "--repo", URL, "--node", node, "--db", db)
    subprocess.run([*ferry.NODE, "append", "--db", str(scratch / "small"), "--bytes", "3000000"], check=True, capture_output=True)
    go(env, "backup", "--repo", URL, "--node", "small", "--db", scratch / "small")
    for source, target in ((URL, medium), (medium, back), (URL, back)):
        done = go(env, "copy", "--repo", source, "--to-repo", target, "all").summary
        print(f"{source} to {target}: {done['snapshots_copied']} copied, {done['snapshots_skipped']} there, {done['bytes_copied']} bytes, {done['duration_s']:.1f} s")
        assert done["snapshots_copied"] == (0 if source == URL and target == back else 3), done
    for url, name in ((medium, "from-medium"), (back, "from-back")):
        go(env, "verify", "--repo", url, "--read-data", "all")
        start(env, url, "small", scratch / f"{name}-small", "3")
        start(env, url, "large", scratch / f"{name}-large", "4")
    for chunk in sorted((scratch / "large").glob("chunk-*"))[:-1]:
        subprocess.run(["cmp", str(chunk), str(scratch / "from-back-large" / chunk.name)], check=True)
    damage(env, scratch, back)


def damage(env, scratch, target):
    """A pack of the medium is hurt: nothing of it comes into the bucket."""
    pack = max((scratch / "medium/nodes/large").rglob("*-pack-*"), key=lambda p: p.stat().st_size)
    with open(pack, "r+b") as f:
        f.seek(pack.stat().st_size // 2)
        byte = f.read(1)[0]
        f.seek(-1, 1)
        f.write(bytes([byte ^ 1]))
    empty = "s3://copies/empty"
    go(env, "init", "--repo", empty)
    done = ferry.run("copy", "--repo", f"file://{scratch}/medium", "--to-repo", empty, "--node", "large", env=env)
    assert done.code == 4 and f"{pack.name}': it has another SHA-256" in done.err, done
    assert go(env, "list", "--repo", empty).summary["snapshots"] == 0


def main():
    with server.started("ci/server-ceph") as (told, scratch):
        copies(ferry.environment(**server.credentials(told)), scratch)


main()
