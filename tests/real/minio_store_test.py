#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store conformance suite against ci/server-minio: http."""

import sys

sys.dont_write_bytecode = True
import store_conformance

sys.exit(store_conformance.main("server-minio", tls=False))
