#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store conformance suite against ci/server-ceph: http, and https with a CA of its own."""

import sys

sys.dont_write_bytecode = True
import store_conformance

sys.exit(store_conformance.main("server-ceph", tls=True))
