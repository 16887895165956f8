#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store conformance suite against the fake S3 server: plain, with small pages, and in a versioned bucket; then deleting by version."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
FAKE = os.path.join(os.path.dirname(HERE), "fake")
PROGRAM = os.path.join(os.environ.get("CHUNKFERRY_BUILD", ""), "tests", "store.s3_conformance_test")


VERSIONS = os.path.join(os.path.dirname(PROGRAM), "store.s3_versions_test")
DAY_S = 86400
DENIED = [{"match": {"op": "DeleteObjects"}, "action": {"delete_errors": {"key": ".", "code": "AccessDenied"}}}]
NO_VERSIONS = [{"match": {"op": op}, "action": {"status": 501, "code": "NotImplemented"}} for op in ("ListObjectVersions", "GetBucketVersioning")]
HEAD_IS_SILENT = [{"match": {"op": "HeadObject"}, "action": {"set_headers": {
    "x-amz-object-lock-mode": None, "x-amz-object-lock-retain-until-date": None, "x-amz-object-lock-legal-hold": None}}}]


def run(*command, **options):
    """One server with these options, one run of the suite; what the suite itself found wrong is its exit code."""
    sys.path.insert(0, FAKE)
    from s3.server import FakeServer
    with FakeServer(**options) as server:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        env.update(AWS_ENDPOINT_URL_S3=server.url, AWS_ACCESS_KEY_ID=server.options.access_key,
                   AWS_SECRET_ACCESS_KEY=server.options.secret_key, AWS_REGION=server.options.region,
                   AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
        print("== fake S3 with %s" % (options or "its defaults"), flush=True)
        code = subprocess.run(list(command) or [PROGRAM], env=env, timeout=600).returncode
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
    codes = [
        run(),
        run(page_size=7),
        run(versioned=["chunkferry-conformance"]),
        run(VERSIONS, "plain", "bucket", buckets=["bucket"]),
        run(VERSIONS, "plain", "bucket", buckets=["bucket"], rules=NO_VERSIONS),
        run(VERSIONS, "versioned", "bucket", versioned=["bucket"]),
        run(VERSIONS, "versioned", "bucket", versioned=["bucket"], minio_markers=True),
        run(VERSIONS, "versioned-small", "bucket", versioned=["bucket"], page_size=2),
        run(VERSIONS, "versioned-small", "bucket", versioned=["bucket"], page_size=2, minio_markers=True),
        run(VERSIONS, "denied", "bucket", versioned=["bucket"], rules=DENIED),
        run(VERSIONS, "locked", "bucket", object_lock=["bucket:GOVERNANCE:%d" % DAY_S]),
        run(VERSIONS, "locked", "bucket", object_lock=["bucket:COMPLIANCE:%d" % DAY_S], page_size=3),
        run(VERSIONS, "locked", "bucket", object_lock=["bucket:COMPLIANCE:%d" % DAY_S], rules=HEAD_IS_SILENT),
    ]
    return max(abs(code) for code in codes)


if __name__ == "__main__":
    sys.exit(main())
