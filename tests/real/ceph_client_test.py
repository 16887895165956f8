# SPDX-License-Identifier: Apache-2.0
"""The S3 client's own operations (client_real.py) against a Ceph that ci/server-ceph starts, over http and https."""
import os
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="chunkferry-client.") as scratch:
    server = f"{scratch}/server"
    started = subprocess.run(["ci/server-ceph", "start", server], stdout=subprocess.PIPE, text=True)
    if started.returncode == 77:
        print("skipped: ci/server-ceph cannot run here")
        sys.exit(77)
    if started.returncode != 0:
        sys.exit("ci/server-ceph did not start")
    try:
        given = dict(line.split("=", 1) for line in started.stdout.splitlines() if "=" in line)
        sys.exit(subprocess.run([sys.executable, "tests/real/client_real.py"], env={**os.environ, **given}).returncode)
    finally:
        subprocess.run(["ci/server-ceph", "stop", server], check=False)
