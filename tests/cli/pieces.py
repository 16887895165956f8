# SPDX-License-Identifier: Apache-2.0
"""More of what end-to-end tests share: a small node with one snapshot, an editor of the repository's format, a helper that acts
at a numbered step, small disks. Every output that passes here is searched for secrets and for a sanitizer's report."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import ferry

NOBODY = 65534
SEED = 21
SECRETS = ["fake/secret+key/0123456789abcdefghijklmn", "the-session-token-of-this-test", "wrong/secret+key/9876543210"]
SANITIZER = ("Sanitizer", "runtime error:")

_run = ferry.run


def check_output(text):
    for secret in SECRETS:
        assert secret not in text, f"a secret is in the output:\n{text}"
    for word in SANITIZER:
        assert word not in text, text


def checked_run(*words, **options):
    result = _run(*words, **options)
    check_output(result.out + result.err)
    assert result.code >= 0, result
    return result


ferry.run = checked_run


def zstd(data, *words):
    return subprocess.run(["zstd", "-q", "-c", *words], input=data, stdout=subprocess.PIPE, check=True).stdout


class Repository:
    """A repository in a directory, read and written by the words of docs/FORMAT.md, without the program."""

    def __init__(self, path, node="kdb-1"):
        self.path, self.node = Path(path), Path(path) / "nodes" / node
        self.url = f"file://{path}"

    def roots(self):
        return sorted((self.node / "snapshots").glob("*"))

    def run_files(self, run=None, kind=""):
        found = [p for p in sorted((self.node / "runs").glob("*/*")) if p.is_file()]
        return [p for p in found if (run is None or p.parent.name == run) and p.name.split("-")[1].startswith(kind)]

    def packs(self, hint=""):
        return [p for p in self.run_files(kind="pack") if hint in p.name]

    def root(self):
        return json.loads(self.roots()[-1].read_bytes())

    def put_root(self, root):
        self.roots()[-1].write_bytes(json.dumps(root, separators=(",", ":")).encode() + b"\n")

    def lines(self, kind="files"):
        found = []
        for segment in self.root()["segments"]:
            if segment["kind"] == kind:
                text = zstd((self.node / "runs" / segment["key"]).read_bytes(), "-d")
                found += [json.loads(line) for line in text.splitlines()]
        return found

    def put_lines(self, lines, kind="files", raw=None):
        """All lines of a kind become one segment under the key of the first; raw: its text instead of the lines."""
        root = self.root()
        first = next(s for s in root["segments"] if s["kind"] == kind)
        text = raw if raw is not None else b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        stored = zstd(text, "-3")
        path = self.node / "runs" / first["key"]
        path.chmod(0o644)
        path.write_bytes(stored)
        first.update(bytes=len(stored), lines=text.count(b"\n"), sha256=hashlib.sha256(stored).hexdigest())
        root["segments"] = [s for s in root["segments"] if s["kind"] != kind or s is first]
        self.put_root(root)


def file_line(path, content=b"x", **more):
    """A line whose content is inline; path as bytes goes through path_b64."""
    line = {"step": 6}
    line.update({"path": path} if isinstance(path, str) else {"path_b64": base64.b64encode(path).decode()})
    line.update(type="file", size=len(content), mode="0644", uid=0, gid=0, mtime="2026-01-01T00:00:00.000000000Z", **{"class": "checkpoint"},
                sha256=hashlib.sha256(content).hexdigest(), inline=base64.b64encode(content).decode())
    line.update(more)
    return line


def flip(path, offset=None):
    """One bit; the middle when no offset is given."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if offset is None else offset] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


class Small(ferry.Case):
    """One small node and one repository with a snapshot of it, made once; each test works on copies."""
    NODE = ("--chunks", 3, "--chunk-size", 65536, "--seed", SEED, "--tables", 2)

    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp(prefix="chunkferry-class."))
        cls.shared.chmod(0o755)
        made = subprocess.run([*ferry.NODE, "make", "--db", str(cls.shared / "node"), *map(str, cls.NODE)], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        for words in (("init",), ("backup", "--node", "kdb-1", "--db", cls.shared / "node")):
            done = ferry.run(words[0], "--repo", f"file://{cls.shared}/repository", *words[1:])
            assert done.code == 0, done

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        super().setUp()
        self.dir.chmod(0o755)

    def node_copy(self, name="node"):
        return Path(shutil.copytree(self.shared / "node", self.dir / name, copy_function=shutil.copy2))

    def repository_copy(self, name="repository"):
        return Repository(shutil.copytree(self.shared / "repository", self.dir / name, copy_function=shutil.copy2))

    def assert_no_half_target(self, target):
        """What a failed restore may leave: files that are whole, and nothing that lets a server start."""
        if not target.exists():
            return
        names = [p.name for p in target.rglob("*")]
        self.assertEqual([n for n in names if n.endswith(".tmp")], [])
        self.assertNotIn("writer.chk", names)
        self.assertNotIn("truncate.chk", names)

    def assert_whole(self, target, *words):
        self.assertEqual([p.name for p in target.rglob("*") if p.name.endswith(".tmp") or "chunkferry" in p.name], [])
        self.check_start(target, "--seed", SEED, *words)


class Helper:
    """A Unix socket at which stepping_chunkferry calls: each line runs act(line) and is answered."""

    def __init__(self, scratch, act):
        self.path = str(Path(scratch) / "helper.socket")
        self.act, self.lines, self.failed = act, [], None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                line = peer.makefile().readline().strip()
                self.lines.append(line)
                try:
                    self.act(line)
                except Exception as failure:    # told by the test, not swallowed by this thread
                    self.failed = failure
                with contextlib.suppress(OSError):
                    peer.sendall(b"ok\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        os.unlink(self.path)


def run_and_hold(server, env, words, nth, when="before_apply", sign=signal.SIGKILL, match=None, release_s=0.1):
    """Runs the program against a fake server that holds the nth request that fits; there it gets the signal.
    (whether it got there, exit code, output)"""
    from s3.client import Client
    door = Client.of(server)
    door.control("POST", "script", [{"match": {**(match or {"op": "*"}), "nth": nth, "count": 1}, "action": {"hold": when}}])
    process = subprocess.Popen([str(ferry.BINARY), *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None and not held_total(door):
            time.sleep(0.002)
        held = process.poll() is None
        if held:
            process.send_signal(sign)
        if held and sign != signal.SIGKILL:
            time.sleep(release_s)
            door.control("POST", "release")
        out = process.communicate(timeout=120)[0]
    finally:
        door.control("POST", "script", [])
        door.control("POST", "release")
    check_output(out)
    return held, process.returncode, out


def held_total(door):
    found = door.control("GET", "held")
    return found if isinstance(found, int) else next(iter(found.values()))


def steps_of(trace):
    """[(number, operation, name)] of a CF_STEP_TRACE."""
    return [(int(line.split(" ", 2)[0]), line.split(" ")[1], line.rstrip("\n").split(" ", 2)[2])
            for line in Path(trace).read_text(errors="replace").splitlines() if line[:1].isdigit()]


def can_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def run_on_small_disk(disk, options, *words, keep=None, prepare="true"):
    """The program with a tmpfs of these options at disk, in a mount namespace of its own; keep: a folder that gets what was left."""
    script = ('mount -t tmpfs -o "$1" none "$2" || exit 97; eval "$4" || exit 98; K=$3; D=$2; shift 4; "$@"; code=$?; '
              '[ -z "$K" ] || cp -a "$D/." "$K"; exit $code')
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", options, str(disk), str(keep or ""), prepare, str(ferry.BINARY),
                           *map(str, words)], env=ferry.environment(), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    check_output(done.stdout + done.stderr)
    return ferry.Result(done)


def make_ca(scratch):
    """(CA certificate, server certificate, server key) for 127.0.0.1; paths."""
    scratch = Path(scratch)

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=scratch, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test ca")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (scratch / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2",
            "-extfile", "ext")
    return scratch / "ca.pem", scratch / "server.pem", scratch / "server.key"
