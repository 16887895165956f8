# SPDX-License-Identifier: Apache-2.0
"""dump: the exact bytes of one file, or a failure that says so."""
import os
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402


class Dump(pieces.Small):
    def dump(self, repo, path, run="latest", node="kdb-1", words=()):
        return subprocess.run([str(ferry.BINARY), "dump", "--repo", repo.url, "--node", node, run, path, *words], env=ferry.environment(),
                              capture_output=True, timeout=60)

    def test_every_file(self):
        repo, node = self.repository_copy(), self.shared / "node"
        for line in repo.lines():
            done = self.dump(repo, line["path"], words=["--json"])
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            source = (node / line["path"].removeprefix("db/")).read_bytes()
            end = len(source.rstrip(b"\0"))
            self.assertEqual(done.stdout[:end] == source[:end] and len(done.stdout) == line["size"], True, line["path"])

    def test_tree(self):
        """Names that are no text, holes, empty ones, several frames; what has no content."""
        tree = self.dir / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "empty").write_bytes(b"")
        (tree / "sub" / "big").write_bytes(os.urandom(9 * 1024 * 1024 + 5))
        with open(tree / "hole", "wb") as f:
            f.truncate(5 * 1024 * 1024)
            f.seek(2 * 1024 * 1024)
            f.write(b"in the middle")
        odd = os.fsencode(str(tree)) + b"/odd-\xff\xfe"
        with open(odd, "wb") as f:
            f.write(b"odd")
        (tree / "link").symlink_to("sub/big")
        repo = pieces.Repository(self.dir / "repository", node="files")
        self.ferry("init", "--repo", repo.url)
        self.ferry("backup", "--repo", repo.url, "--node", "files", "--profile", "directory", "--dir", tree)
        for name in (b"empty", b"sub/big", b"hole", b"odd-\xff\xfe"):
            done = self.dump(repo, b"dir/" + name, node="files")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(os.fsencode(str(tree)) + b"/" + name, "rb") as f:
                self.assertEqual(done.stdout == f.read(), True, name)
        self.refused(2, "is a directory", "dump", "--repo", repo.url, "--node", "files", "latest", "dir/sub")
        self.refused(2, "symbolic link to 'sub/big'", "dump", "--repo", repo.url, "--node", "files", "latest", "dir/link")

    def test_names(self):
        repo = self.repository_copy()
        words = ["dump", "--repo", repo.url, "--node", "kdb-1", "latest"]
        self.refused(1, "has no file 'chunk-000001.000000'", *words, "chunk-000001.000000", hint="did you mean 'db/chunk-000001.000000'?")
        self.refused(1, "has no file 'db/writer.chj'", *words, "db/writer.chj", hint="did you mean 'db/writer.chk'")
        self.refused(1, "has no file", *words, "nothing/like/it", hint="show -v")
        self.refused(2, "no node given", "dump", "--repo", repo.url, "latest", "db/writer.chk")
        self.refused(2, "a word is missing", "dump", "--repo", repo.url, "--node", "kdb-1", "latest")
        self.refused(1, "no snapshot '2020'", "dump", "--repo", repo.url, "--node", "kdb-1", "2020", "db/writer.chk")

    def test_damage(self):
        """Nothing of a damaged frame is written, and what was written before is called what it is."""
        repo = self.repository_copy()
        pieces.flip(repo.packs("chunk-000001")[0], 3000)
        done = self.dump(repo, "db/chunk-000001.000000")
        self.assertEqual((done.returncode, done.stdout), (4, b""))
        self.assertIn(b"pack '", done.stderr)
        tree, content = self.dir / "tree", os.urandom(9 * 1024 * 1024)
        tree.mkdir()
        (tree / "big").write_bytes(content)
        big = pieces.Repository(self.dir / "big", node="files")
        self.ferry("init", "--repo", big.url)
        self.ferry("backup", "--repo", big.url, "--node", "files", "--profile", "directory", "--dir", tree)
        pack = big.packs("-pack-")[0]
        pieces.flip(pack, pack.stat().st_size - 100_000)
        done = self.dump(big, "dir/big", node="files")
        self.assertEqual(done.returncode, 4)
        self.assertEqual(len(done.stdout) % (4 * 1024 * 1024), 0, "whole frames only")
        self.assertGreater(len(done.stdout), 0)
        self.assertEqual(done.stdout == content[:len(done.stdout)], True)
        self.assertIn(b"do not trust what was written", done.stderr)
        lines = repo.lines()
        next(x for x in lines if x["path"] == "db/chunk-000002.000000")["sha256"] = "0" * 64
        repo.put_lines(lines)
        done = self.dump(repo, "db/chunk-000002.000000")
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"do not trust what was written", done.stderr)

    def test_closed_and_full(self):
        repo = self.repository_copy()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([str(ferry.BINARY), "dump", "--repo", repo.url, "--node", "kdb-1", "latest", "db/chunk-000001.000000"],
                                  env=ferry.environment(), stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"standard output could not be written", done.stderr)


ferry.main(__name__)
