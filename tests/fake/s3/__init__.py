# SPDX-License-Identifier: Apache-2.0
"""A strict, scriptable S3 server for tests; see README.md in this folder."""
