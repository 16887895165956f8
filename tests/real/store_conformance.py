# SPDX-License-Identifier: Apache-2.0
"""Runs the store conformance suite against a real server that a script of ci/ starts and stops."""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.environ.get("CHUNKFERRY_BUILD", ""), "tests", "store.s3_conformance_test")
SKIP = 77


def suite(given, endpoint, ca_bundle=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env.update({k: v for k, v in given.items() if k.startswith("AWS_")})
    env.update(AWS_ENDPOINT_URL_S3=endpoint, AWS_EC2_METADATA_DISABLED="true")
    if ca_bundle:
        env["AWS_CA_BUNDLE"] = ca_bundle
    print("== %s" % endpoint, flush=True)
    return subprocess.run([PROGRAM], env=env, timeout=800).returncode


def main(server, tls):
    """server: a script of ci/. tls: it also listens on https with a CA of its own."""
    if not os.path.exists(PROGRAM):
        print("skipped: %s is not built" % PROGRAM)
        return SKIP
    script = os.path.join(ROOT, "ci", server)
    with tempfile.TemporaryDirectory(prefix="chunkferry-%s-" % server) as state:
        folder = os.path.join(state, "server")
        started = subprocess.run([script, "start", folder], stdout=subprocess.PIPE, text=True)
        try:
            if started.returncode == SKIP:
                print("skipped: ci/%s cannot run here; its last words are above" % server)
                return SKIP
            if started.returncode != 0:
                print("ci/%s start failed with %d" % (server, started.returncode))
                return 1
            given = dict(line.split("=", 1) for line in started.stdout.splitlines() if "=" in line)
            code = abs(suite(given, given["AWS_ENDPOINT_URL_S3"]))
            if tls:
                code = max(code, abs(suite(given, given["CHUNKFERRY_TLS_ENDPOINT"], given["CHUNKFERRY_CA_BUNDLE"])))
            return code
        finally:
            subprocess.run([script, "stop", folder], stdout=subprocess.DEVNULL)
