# SPDX-License-Identifier: Apache-2.0
"""Round trips through a real server that ci/server-ceph starts."""
import sys

sys.path.insert(0, "tests/real")
import roundtrip  # noqa: E402

roundtrip.main("ci/server-ceph", tls=True)
