# SPDX-License-Identifier: Apache-2.0
"""The page cache is left as it was found: what was hot stays, what only the backup read goes, packs of a directory too."""
import ctypes
import mmap
import os
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402

MIB = 1 << 20
PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def there(path):
    """One byte a page: is it in the page cache?"""
    size = path.stat().st_size
    pages = ctypes.create_string_buffer((size + PAGE - 1) // PAGE)
    fd = os.open(path, os.O_RDONLY)
    at = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    assert at not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
    assert LIBC.mincore(at, size, pages) == 0
    LIBC.munmap(at, size)
    return bytes(b & 1 for b in pages.raw)


def share(path, start=0.0, end=1.0):
    pages = there(path)
    part = pages[int(len(pages) * start):int(len(pages) * end)]
    return sum(part) / len(part)


def make_cold(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read(path, start, end):
    """Into the page cache, these bytes and no more; twice, so that a busy machine does not take them for the least wanted."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for at in [*range(start, end, MIB)] * 2:
        os.pread(fd, min(MIB, end - at), at)
    os.close(fd)


class Cache(ferry.Case):
    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.source.mkdir()

    def make(self, name, size, sparse=False):
        path = self.source / name
        with open(path, "wb") as f:
            if sparse:
                f.truncate(size)
                f.seek(size // 2)
                f.write(os.urandom(4 * MIB))
            else:
                for _ in range(0, size, MIB):
                    f.write(os.urandom(MIB // 4) + bytes(MIB * 3 // 4))
        make_cold(path)
        return path

    def backup(self, url, *words):
        return self.ferry("backup", "--repo", url, "--node", "n", "--profile", "directory", "--dir", self.source, *words)

    def test_hot_stays_cold_goes(self):
        cold, hot, half = self.make("cold", 256 * MIB), self.make("hot", 32 * MIB), self.make("half", 64 * MIB)
        sparse, ragged = self.make("sparse", 64 * MIB, sparse=True), self.make("ragged", 16 * MIB)
        with open(ragged, "ab") as f:
            f.write(b"the end of a page")
        make_cold(ragged)
        if share(cold) > 0:
            self.skipTest("this filesystem keeps its pages: nothing to see")
        read(hot, 0, 32 * MIB)
        read(half, 32 * MIB, 64 * MIB)
        before = {p: there(p) for p in (hot, half)}
        self.assertGreater(share(hot), 0.9, "the test could not heat the file")
        self.assertLess(share(half, 0, 0.45), 0.01)
        url = self.repository()
        self.backup(url)
        print(f"there afterwards: cold {share(cold):.2%}, hot {share(hot):.2%}, half {share(half, 0, 0.49):.2%} and {share(half, 0.5):.2%}, "
              f"sparse {share(sparse):.2%}, ragged {share(ragged):.2%}")
        for path in (cold, sparse, ragged):
            self.assertLess(share(path), 0.01, path)
        for path, pages in before.items():
            kept = sum(a and b for a, b in zip(pages, there(path)))
            self.assertGreaterEqual(kept, sum(pages) * 0.9, path)
        self.assertLess(share(half, 0, 0.49), 0.01)
        # Packs are on the disk and nowhere else; what the next run reads first is small and stays.
        packs = [p for p in (self.dir / "repository").rglob("*-pack-*") if p.stat().st_size > 2 * MIB]
        self.assertGreater(len(packs), 1)
        for path in packs:
            self.assertLess(share(path), 0.01, path)

    def test_memory_filesystem(self):
        """tmpfs has no other place for its pages: everything works as ever."""
        shm = self.dir.__class__("/dev/shm") / f"chunkferry-test.{os.getpid()}"
        if not os.access(shm.parent, os.W_OK):
            self.skipTest("no /dev/shm")
        shm.mkdir()
        self.addCleanup(lambda: [p.unlink() for p in shm.iterdir()] and shm.rmdir())
        (shm / "file").write_bytes(bytes(range(256)) * 40000)
        url = self.repository()
        self.ferry("backup", "--repo", url, "--node", "n", "--profile", "directory", "--dir", shm)
        self.ferry("restore", "--repo", url, "--node", "n", "latest", "--target", self.dir / "back")
        self.assertEqual((shm / "file").read_bytes(), (self.dir / "back/file").read_bytes())


if __name__ == "__main__" and share(ferry.BINARY) == 0:
    ferry.skip("nothing is in the page cache here, not even the program")
ferry.main(__name__)
