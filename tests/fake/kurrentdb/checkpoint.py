# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: one little-endian int64, written in place."""

import os
import struct


def read(path, default=None):
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return default
    if len(raw) != 8:
        raise ValueError("%s: %d bytes, not 8" % (path, len(raw)))
    return struct.unpack("<q", raw)[0]


class Checkpoint:
    """A checkpoint held open, as the server does."""

    def __init__(self, path, default):
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        raw = os.pread(self.fd, 8, 0)
        self.value = struct.unpack("<q", raw)[0] if len(raw) == 8 else None
        if self.value is None:
            os.ftruncate(self.fd, 8)
            self.write(default)

    def write(self, value):
        self.value = value
        os.pwrite(self.fd, struct.pack("<q", value), 0)

    def close(self):
        os.close(self.fd)
