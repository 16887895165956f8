# SPDX-License-Identifier: Apache-2.0
"""The indexmap: which tables make the index, and up to where in the log it reaches."""

import hashlib
import os
import uuid

LEVEL_MAX = 2147483647


class IndexMapError(ValueError):
    """The text is not an indexmap, or its hash is wrong."""


class IndexMap:
    """tables: [(level, position, name)] in the file's order."""

    def __init__(self, prepare=-1, commit=-1, tables=(), version=2):
        self.prepare, self.commit, self.tables = prepare, commit, list(tables)
        self.version = version

    def pack(self):
        rows = ["%d" % self.version, "%d/%d" % (self.prepare, self.commit), "%d" % LEVEL_MAX]
        rows += ["%d,%d,%s" % row for row in sorted(self.tables)]
        body = ("\n" + "\n".join(rows) + "\n").encode()
        return hashlib.md5(body).hexdigest().upper().encode() + body

    @classmethod
    def parse(cls, raw):
        if hashlib.md5(raw[32:]).hexdigest().upper().encode() != raw[:32]:
            raise IndexMapError("the hash of the indexmap is wrong")
        rows = raw[33:].decode().splitlines()
        version = int(rows[0])
        prepare, commit = map(int, rows[1].split("/"))
        tables = [row.split(",") for row in rows[2 if version == 1 else 3:]]
        return cls(prepare, commit, [(int(a), int(b), c) for a, b, c in tables], version)

    @classmethod
    def load(cls, index_dir):
        try:
            with open(os.path.join(index_dir, "indexmap"), "rb") as file:
                return cls.parse(file.read())
        except FileNotFoundError:
            return cls()

    def save(self, index_dir):
        """Temporary file, delete the old one, rename: for a moment there is none."""
        path = os.path.join(index_dir, "indexmap")
        temp = "%s.%s.indexmap.tmp" % (path, uuid.uuid4())
        with open(temp, "wb") as file:
            file.write(self.pack())
        if os.path.exists(path):
            os.unlink(path)
        os.rename(temp, path)
