# SPDX-License-Identifier: Apache-2.0
"""restic, rclone and kopia: the same files to the same server, as their manuals say.

restic and kopia go over https: over http their library (minio-go) signs bodies in a way that Ceph 20 answers with 403.
"""
import json
import subprocess

import ferry
import measure

PASSWORD = "bench"


def fetch():
    """{name: program} of those that can be run; ci/fetch-peers says why others cannot."""
    done = subprocess.run([str(ferry.ROOT / "ci/fetch-peers")], stdout=subprocess.PIPE, text=True, check=False)
    found = dict(line.split("=", 1) for line in done.stdout.split() if "=" in line)
    return {name: path for name, path in found.items() if path}


def version(name, program):
    words = [program, "--version"] if name == "kopia" else [program, "version"]
    text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return " ".join(text.split()[:2]) if name != "kopia" else "kopia " + " ".join(text.split()[:1])


def quietly(words, env, cwd=None):
    done = subprocess.run([str(w) for w in words], env=env, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise measure.Failed(f"{words[0]} {words[1]}: {done.stderr.strip()[-300:]}")


class Restic:
    """Format 2, compression auto (zstd), a cache of its own."""
    name, secure = "restic", True

    def __init__(self, program, server, source, scratch):
        self.program, self.source = program, source
        self.env = server.env(RESTIC_PASSWORD=PASSWORD, RESTIC_CACHE_DIR=scratch / "restic-cache", RESTIC_CACERT=server.keys["AWS_CA_BUNDLE"],
                              RESTIC_REPOSITORY=f"s3:{server.url}/restic/prod", HOME=scratch)

    def prepare(self):
        quietly([self.program, "init"], self.env)

    def backup(self):
        return {"words": [self.program, "backup", "--quiet", "."], "env": self.env, "cwd": self.source}

    def restore(self, target):
        return {"words": [self.program, "restore", "--quiet", "latest", "--target", target], "env": self.env}


class Rclone:
    """Copies; neither compresses nor keeps versions."""
    name, secure = "rclone", False

    def __init__(self, program, server, source, scratch):
        self.program, self.source = program, source
        keys = {"TYPE": "s3", "PROVIDER": "Ceph", "ENDPOINT": server.url, "ACCESS_KEY_ID": server.access, "SECRET_ACCESS_KEY": server.secret,
                "REGION": "us-east-1"}
        self.env = ferry.environment(HOME=scratch, RCLONE_CONFIG=scratch / "rclone.conf", **{f"RCLONE_CONFIG_BENCH_{k}": v for k, v in keys.items()})
        (scratch / "rclone.conf").touch()

    def prepare(self):
        quietly([self.program, "mkdir", "bench:rclone"], self.env)

    def backup(self):
        return {"words": [self.program, "copy", self.source, "bench:rclone/prod"], "env": self.env}

    def restore(self, target):
        return {"words": [self.program, "copy", "bench:rclone/prod", target], "env": self.env}


class Kopia:
    """Compression zstd, which is not its default."""
    name, secure = "kopia", True

    def __init__(self, program, server, source, scratch):
        self.program, self.source, self.server = program, source, server
        self.cache = scratch / "kopia-cache"
        self.env = ferry.environment(HOME=scratch, KOPIA_PASSWORD=PASSWORD, KOPIA_CONFIG_PATH=scratch / "kopia.config", KOPIA_CHECK_FOR_UPDATES="false",
                                     KOPIA_LOG_DIR=scratch / "kopia-log", KOPIA_PERSIST_CREDENTIALS_ON_CONNECT="true", KOPIA_USE_KEYRING="false")

    def prepare(self):
        self.server.make_bucket("kopia")
        quietly([self.program, "repository", "create", "s3", "--bucket=kopia", f"--endpoint={self.server.url.removeprefix('https://')}",
                 f"--root-ca-pem-path={self.server.keys['AWS_CA_BUNDLE']}", "--region=us-east-1", f"--access-key={self.server.access}", f"--secret-access-key={self.server.secret}",
                 f"--cache-directory={self.cache}"], self.env)
        quietly([self.program, "policy", "set", "--global", "--compression=zstd"], self.env)

    def backup(self):
        return {"words": [self.program, "snapshot", "create", self.source], "env": self.env}

    def restore(self, target):
        listed = subprocess.run([self.program, "snapshot", "list", "--json"], env=self.env, capture_output=True, text=True, check=True)
        newest = json.loads(listed.stdout)[-1]["rootEntry"]["obj"]
        return {"words": [self.program, "snapshot", "restore", newest, target], "env": self.env}


ALL = {peer.name: peer for peer in (Restic, Rclone, Kopia)}
