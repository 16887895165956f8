# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the program under test, scratch folders, nodes, repositories, fixtures.

A test file does: sys.path.insert(0, "tests/cli"); import ferry; class X(ferry.Case): ...; ferry.main(__name__)
"""
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
FIXTURES = SHARED / "fixtures"
BINARY = Path(os.environ.get("CHUNKFERRY", ROOT / "build/release/chunkferry"))
STEPPING = BINARY.parent / "stepping_chunkferry"
# Its own memory and time would be measured instead of the program's.
SANITIZED = subprocess.run(["grep", "-aqE", "__(asan|tsan)_init", str(BINARY)], check=False).returncode == 0
NODE = [sys.executable, str(ROOT / "tests/fake/kurrentdb/node.py")]
sys.path[:0] = [str(ROOT / "tests/fake"), str(ROOT / "tests/fake/startup_check")]
import check  # noqa: E402


class Result:
    """One finished run of chunkferry."""

    def __init__(self, done: subprocess.CompletedProcess):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    @property
    def summary(self):
        found = [x for x in self.lines if x["type"] == "summary"]
        assert len(found) == 1, self
        return found[0]

    def __repr__(self):
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


def environment(**more):
    """A clean one: no credentials, endpoints or profiles of whoever runs the tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CHUNKFERRY_", "CF_"))}
    env.update({"LC_ALL": "C", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"})
    env.update({k: str(v) for k, v in more.items()})
    return env


def run(*words, env=None, binary=None, timeout=300, **options):
    return Result(subprocess.run([str(binary or BINARY), *map(str, words)], env=env or environment(), capture_output=True, text=True,
                                 timeout=timeout, stdin=subprocess.DEVNULL, errors="backslashreplace", **options))


def start_check(*words):
    """The independent checker on a directory, in this process: an interpreter for each of hundreds costs more than it does."""
    out = io.StringIO()
    code = check.checked(["--db", *map(str, words)], out)
    return subprocess.CompletedProcess(words, code, out.getvalue())


class Case(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="chunkferry-test."))
        self.addCleanup(self.remove)

    def remove(self):
        for folder, _, _ in os.walk(self.dir):
            os.chmod(folder, 0o755)
        shutil.rmtree(self.dir, ignore_errors=True)

    # The program
    def ferry(self, *words, code=0, **options):
        result = run(*words, **options)
        self.assertEqual(result.code, code, result)
        return result

    def refused(self, code, message, *words, hint=None, **options):
        """Exit code, a message that names what is wrong, what to do; nothing that looks like a secret or a crash."""
        result = run(*words, **options)
        self.assertEqual(result.code, code, result)
        self.assertIn(message, result.err, result)
        self.assertRegex(result.err + result.out, r'\n  hint: |"hint":', result)
        if hint is not None:
            self.assertIn(hint, result.err, result)
        self.assertNotIn("Sanitizer", result.err)
        return result

    def repository(self, name="repository"):
        url = f"file://{self.dir / name}"
        self.ferry("init", "--repo", url)
        return url

    def backup(self, url, db, *words, node="kdb-1", **options):
        return self.ferry("backup", "--repo", url, "--node", node, "--db", db, "--json", *words, **options)

    def restore(self, url, target, *words, node="kdb-1", snapshot="latest", **options):
        return self.ferry("restore", "--repo", url, "--node", node, snapshot, "--target", target, "--json", *words, **options)

    def snapshots(self, url, node="kdb-1", **options):
        return [x["snapshot"] for x in self.ferry("list", "--repo", url, "--node", node, "--json", **options).lines if x["type"] == "snapshot"]

    # Nodes
    def make_node(self, *words, name="node"):
        db = self.dir / name
        done = subprocess.run([*NODE, "make", "--db", str(db), *map(str, words)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return db

    def check_start(self, db, *words, code=0):
        done = start_check(db, *words)
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def assert_same_tree(self, source, target, ongoing=()):
        """Every file of the target is the source's, but checkpoints that restore writes itself and what lies beyond the writer."""
        for path in sorted(p for p in target.rglob("*") if p.is_file()):
            relative = path.relative_to(target)
            if relative.name == "truncate.chk":
                self.assertEqual(path.read_bytes(), (target / "chaser.chk").read_bytes())
                continue
            mine, theirs = path.read_bytes(), (source / relative).read_bytes()
            if relative.name in ongoing:
                self.assertEqual(len(mine), len(theirs), relative)
                end = len(mine.rstrip(b"\0"))
                self.assertEqual(mine[:end], theirs[:end], relative)
            else:
                self.assertEqual(mine == theirs, True, f"{relative} differs")


class LiveNode:
    """The fake node, running."""

    def __init__(self, db, scratch, *words):
        self.socket = str(Path(scratch) / f"control.{os.getpid()}.{time.monotonic_ns()}")
        self.process = subprocess.Popen([*NODE, "serve", "--db", str(db), "--control", self.socket, *map(str, words)], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "ready" not in line:
            raise RuntimeError(f"the node says {line!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.process.stdout.close()

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.socket)
            s.sendall(command.encode() + b"\n")
            answer = s.makefile().readline().strip()
        if not answer.startswith("ok"):
            raise RuntimeError(f"{command}: {answer}")
        return answer[3:]

    def status(self):
        return json.loads(self.tell("status"))


def fixtures(kind="eventstore"):
    """Paths of the real directories' archives; [] when ../shared is not there."""
    return sorted(p for p in FIXTURES.glob("*/*.tar.zst") if p.parent.name.startswith(kind))


def unpack(archive, to):
    """The fixture's db directory, the one that holds writer.chk; and its index directory."""
    to.mkdir(parents=True)
    subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(to)], check=True)
    db = next(to.rglob("writer.chk")).parent
    index = next(iter(p.parent for p in to.rglob("indexmap")), db / "index")
    return db, index


@contextlib.contextmanager
def fake_s3(**options):
    """A strict server, and the environment that reaches it."""
    from s3.server import FakeServer
    with FakeServer(buckets=["backups"], **options) as server:
        yield server, environment(AWS_ACCESS_KEY_ID=server.options.access_key, AWS_SECRET_ACCESS_KEY=server.options.secret_key,
                                  AWS_ENDPOINT_URL_S3=server.url, AWS_REGION=server.options.region)


def server_counts(server):
    """Requests, bytes_uploaded, bytes_downloaded, ops, as the server saw them."""
    from s3.client import Client
    counts = Client.of(server).control("GET", "counts")
    assert counts["fake_bugs"] == 0, counts
    return counts


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def main(name):
    if name == "__main__":
        if not BINARY.exists():
            print(f"{BINARY} is not built")
            sys.exit(1)
        unittest.main(module="__main__", verbosity=1)
