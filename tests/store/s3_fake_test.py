#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store conformance suite against the fake S3 server: plain, and with small pages."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
FAKE = os.path.join(os.path.dirname(HERE), "fake")
PROGRAM = os.path.join(os.environ.get("CHUNKFERRY_BUILD", ""), "tests", "store.s3_conformance_test")


def run(**options):
    """One server with these options, one run of the suite; what the suite itself found wrong is its exit code."""
    sys.path.insert(0, FAKE)
    from s3.server import FakeServer
    with FakeServer(**options) as server:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        env.update(AWS_ENDPOINT_URL_S3=server.url, AWS_ACCESS_KEY_ID=server.options.access_key,
                   AWS_SECRET_ACCESS_KEY=server.options.secret_key, AWS_REGION=server.options.region,
                   AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
        print("== fake S3 with %s" % (options or "its defaults"), flush=True)
        code = subprocess.run([PROGRAM], env=env, timeout=600).returncode
        from s3.client import Client
        counts = Client.of(server).control("GET", "counts")
        if isinstance(counts, dict) and counts.get("fake_bugs"):
            print("the fake server failed by itself %d times" % counts["fake_bugs"])
            return 1
        return code


def main():
    if not os.path.exists(PROGRAM):
        print("skipped: %s is not built" % PROGRAM)
        return 77
    return max(abs(run()), abs(run(page_size=7)))


if __name__ == "__main__":
    sys.exit(main())
