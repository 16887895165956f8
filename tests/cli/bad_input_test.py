# SPDX-License-Identifier: Apache-2.0
"""Bad input, as a user meets it: the right exit code, a message that names what is wrong, nothing committed, no target left half done."""
import contextlib
import json
import os
import shutil
import socket
import sys
import threading

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

DOOR = "http://127.0.0.1:1"


class Words(pieces.Small):
    """Flags, commands, values and addresses."""

    def test_unknown_flag(self):
        self.refused(2, "unknown option '--dbb'", "backup", "--dbb", "/x", hint="did you mean '--db'?")
        self.refused(2, "unknown option '--tarjet=/x'", "restore", "latest", "--tarjet=/x", hint="did you mean '--target'?")
        self.refused(2, "unknown option '--zzzzzzzz'", "list", "--zzzzzzzz", hint="--help lists the options")
        self.refused(2, "unknown option '-x'", "list", "-x")
        self.refused(2, "unknown option '--db'", "list", "--db", "/x")     # of another command

    def test_unknown_command(self):
        self.refused(2, "'bakcup' is no command of chunkferry", "bakcup", hint="did you mean 'backup'?")
        self.refused(2, "'zzzzzz' is no command of chunkferry", "zzzzzz", hint="--help lists them")
        result = ferry.run()
        self.assertEqual((result.code, result.out), (2, ""))
        self.assertIn("usage: chunkferry COMMAND", result.err)

    def test_missing_value(self):
        self.refused(2, "option '--db' needs a value", "backup", "--db")
        self.refused(2, "option '-n' needs a value", "list", "-n")
        self.refused(2, "option '--json' takes no value", "list", "--json=1")
        self.refused(2, "option '--repo' is given twice", "list", "--repo", "file:///a", "--repo", "file:///b")

    def test_missing_words(self):
        url = self.repository_copy().url
        self.refused(2, "no repository given", "list", hint="CHUNKFERRY_REPO")
        self.refused(2, "no node given", "backup", "--repo", url, "--db", "/x", hint="--node NAME")
        self.refused(2, "no database directory given", "backup", "--repo", url, "--node", "a", hint="--db")
        self.refused(2, "a word is missing", "restore", "--repo", url, "--node", "kdb-1", "--target", "/x")
        self.refused(2, "no target given", "restore", "latest", "--repo", url, "--node", "kdb-1", hint="--target DIR")
        self.refused(2, "one word too many", "list", "everything", "--repo", url)
        self.refused(2, "no database directory given", "inspect")

    def test_values_out_of_range(self):
        repo, db = self.repository_copy(), self.node_copy()
        backup = ["backup", "--repo", repo.url, "--node", "kdb-1", "--db", db]
        for words, message in ((["--jobs", "0"], "'--jobs 0' is outside 1 to 64"), (["--jobs", "65"], "'--jobs 65' is outside 1 to 64"),
                               (["--jobs", "two"], "'--jobs two' is no number"), (["--jobs", ""], "is no number"),
                               (["--jobs", "-1"], "is no number"), (["--memory", "1MiB"], "--memory"), (["--memory", "0"], "--memory"),
                               (["--memory", "47MiB"], "--memory"), (["--memory", "lots"], "is no size"), (["--compression", "20"], "outside 1 to 19"),
                               (["--compression", "0"], "outside 1 to 19"), (["--mode", "quick"], "is neither 'differential' nor 'full'"),
                               (["--source", "running"], "is neither 'live' nor 'stopped'"), (["--profile", "oracle"], "'oracle' is not known"),
                               (["--max-truncation", "x"], "is no size")):
            self.refused(2, message, *backup, *words)
        self.refused(2, "--memory", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "t", "--memory", "1MiB")
        self.refused(2, "outside 1 to 64", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "t", "--jobs", 0)
        self.assertEqual(len(repo.roots()), 1)
        self.assertFalse((self.dir / "t").exists())

    def test_bad_urls(self):
        for url, message in (("backups/prod", "begins neither with s3:// nor with file://"), ("http://host/bucket", "begins neither"),
                             ("", "no repository given"), ("s3:/bucket", "begins neither"), ("s3://", "names no bucket"),
                             ("s3:///prefix", "names no bucket"), ("s3://ab", "2 bytes, 3 are needed"), ("s3://back up", "has the byte 0x20"),
                             ("s3://backups/a//b", "the component ''"), ("s3://backups/../x", "the component '..'"),
                             ("s3://backups/a b", "the component 'a b'"), ("file://relative/path", "not an absolute path"),
                             ("file://", "not an absolute path"), ("file:///", "is the root directory"), ("file:////", "is the root directory"),
                             ("s3://" + "b" * 300, "300 bytes, 255 are allowed")):
            for command in (["init"], ["list"]):
                self.refused(2, message, *command, "--repo", url)
        for endpoint in ("127.0.0.1:9000", "ftp://127.0.0.1", "http://", "http://host:99999", "http://host/path?x=1", "http://user:pw@host"):
            env = ferry.environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
            self.refused(2, "endpoint", "list", "--repo", "s3://backups", "--endpoint", endpoint, env=env)
        self.refused(2, "addressing 'sideways' is not one of", "list", "--repo", "s3://backups", "--addressing", "sideways")

    def test_node_names(self):
        repo, db = self.repository_copy(), self.node_copy()
        for name in ("", "UPPER", "a/b", "..", ".a", "-a", "a b", "n\u00e4", "a" * 64, "a\nb"):
            self.refused(2, "node", "backup", "--repo", repo.url, "--node", name, "--db", db)
            self.refused(2, "node", "show", "--repo", repo.url, "--node", name, "latest")
        self.refused(2, "node", "backup", "--repo", repo.url, "--node", "\udcff\udcfe", "--db", db)
        self.assertEqual([p.name for p in (repo.path / "nodes").iterdir()], ["kdb-1"])

    def test_no_such_snapshot(self):
        repo = self.repository_copy()
        self.refused(1, "node 'kdb-9' has no snapshot", "show", "--repo", repo.url, "--node", "kdb-9", "latest")
        self.refused(1, "has no snapshot '2019'; the newest are", "restore", "2019", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "t")
        self.refused(1, "has no snapshot", "show", "--repo", repo.url, "--node", "kdb-1", "")
        self.assertFalse((self.dir / "t").exists())

    def test_source_is_no_node(self):
        repo = self.repository_copy()
        (self.dir / "empty").mkdir()
        (self.dir / "file").write_text("x")
        names = "--db names the folder"
        for db, message, hint in ((self.dir / "empty", "it has no 'writer.chk'", names), (self.dir / "missing", "does not exist", names),
                                  (self.dir / "file", "open the data directory", None)):
            self.refused(3, message, "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, hint=hint)
            self.refused(3, message, "inspect", "--db", db, hint=hint)
        self.refused(3, "does not exist", "backup", "--repo", repo.url, "--node", "kdb-1", "--db", self.node_copy(), "--index", self.dir / "none")
        self.assertEqual(len(repo.roots()), 1)


class Server(pieces.Small):
    """What a store, or something else in its place, answers."""

    @contextlib.contextmanager
    def server(self, **options):
        with ferry.fake_s3(**options) as (server, env):
            if server.options.session_token:
                env["AWS_SESSION_TOKEN"] = server.options.session_token
            yield server, env

    def test_wrong_key_and_secret(self):
        with self.server() as (server, env):
            self.ferry("init", "--repo", "s3://backups/prod", env=env)
            for change, message in (({"AWS_ACCESS_KEY_ID": "NOSUCHKEY"}, "InvalidAccessKeyId"),
                                    ({"AWS_SECRET_ACCESS_KEY": pieces.SECRETS[2]}, "SignatureDoesNotMatch")):
                for words in (["list"], ["backup", "--node", "kdb-1", "--db", self.shared / "node"], ["init"],
                              ["restore", "latest", "--node", "kdb-1", "--target", self.dir / "t"]):
                    self.refused(12, message, *words, "--repo", "s3://backups/prod", env={**env, **change})
                self.refused(12, message, "list", "--repo", "s3://backups/prod", "-vv", "--json", env={**env, **change})
            self.refused(2, "credentials", "list", "--repo", "s3://backups/prod",
                         env={k: v for k, v in env.items() if "KEY" not in k} | {"AWS_EC2_METADATA_DISABLED": "true"})
            keys = self.keys(server)
        self.assertEqual(keys, ["prod/chunkferry.json"])
        self.assertFalse((self.dir / "t").exists())

    @staticmethod
    def keys(server):
        from s3.client import Client
        return sorted(Client.of(server).control("GET", "keys")["backups"])

    def test_session_token_is_used_and_never_shown(self):
        with self.server(session_token=pieces.SECRETS[1]) as (server, env):
            self.ferry("init", "--repo", "s3://backups/prod", env=env)
            done = self.backup("s3://backups/prod", self.shared / "node", "-vv", env=env)
            self.assertTrue([x for x in done.lines if x["type"] == "request"], done)
            self.ferry("backup", "--repo", "s3://backups/prod", "--node", "kdb-1", "--db", self.shared / "node", "-vv", env=env)
            self.refused(12, "", "list", "--repo", "s3://backups/prod", "-vv", env={**env, "AWS_SESSION_TOKEN": pieces.SECRETS[2]})

    def test_wrong_region_is_put_right_once(self):
        with self.server(region="eu-west-3") as (server, env):
            self.ferry("init", "--repo", "s3://backups/prod", env={**env, "AWS_REGION": "us-east-1"})
        lost = {"match": {"op": "*"}, "action": {"status": 400, "code": "AuthorizationHeaderMalformed", "message": "the region is wrong"}}
        with self.server(rules=[lost]) as (server, env):
            self.refused(1, "region", "list", "--repo", "s3://backups/prod", env=env)

    def test_missing_bucket(self):
        with self.server() as (server, env):
            for words in (["list"], ["backup", "--node", "kdb-1", "--db", self.shared / "node"]):
                self.refused(10, "bucket", *words, "--repo", "s3://nowhere/prod", env=env)

    def test_no_repository_there(self):
        with self.server() as (server, env):
            self.refused(10, "this is no repository", "list", "--repo", "s3://backups/prod", env=env, hint="chunkferry init")
            self.refused(10, "this is no repository", "backup", "--node", "kdb-1", "--db", self.shared / "node", "--repo", "s3://backups/prod", env=env)
            self.assertEqual(self.keys(server), [])
        (self.dir / "empty").mkdir()
        for folder in ("empty", "missing"):
            self.refused(10, "", "backup", "--node", "kdb-1", "--db", self.shared / "node", "--repo", f"file://{self.dir}/{folder}")
        self.assertFalse((self.dir / "missing").exists())
        self.assertEqual(list((self.dir / "empty").iterdir()), [])

    def test_denied(self):
        rule = {"match": {"op": "PutObject", "key": "/runs/"}, "action": {"status": 403, "code": "AccessDenied", "message": "no"}}
        with self.server() as (server, env):
            self.ferry("init", "--repo", "s3://backups/prod", env=env)
            from s3.client import Client
            Client.of(server).control("POST", "script", [rule])
            self.refused(1, "AccessDenied", "backup", "--node", "kdb-1", "--db", self.shared / "node", "--repo", "s3://backups/prod", env=env)
            self.assertEqual([k for k in self.keys(server) if "/snapshots/" in k], [])

    def test_unreachable_endpoint(self):
        env = ferry.environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        self.refused(1, "127.0.0.1", "list", "--repo", "s3://backups/prod", "--endpoint", DOOR, env=env)

    def test_no_such_host(self):
        env = ferry.environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        self.refused(1, "no-such-host.invalid", "list", "--repo", "s3://backups/prod", "--endpoint", "http://no-such-host.invalid", env=env)

    def test_tls_with_an_unknown_ca(self):
        ca, certificate, key = pieces.make_ca(self.dir)
        with self.server(tls=(str(certificate), str(key))) as (server, env):
            self.refused(1, "certificate", "list", "--repo", "s3://backups/prod", env=env, hint="--ca-bundle")
            self.refused(10, "this is no repository", "list", "--repo", "s3://backups/prod", "--ca-bundle", ca, env=env)
            self.refused(2, "nowhere.pem", "list", "--repo", "s3://backups/prod", "--ca-bundle", "/nowhere.pem", env=env)

    def test_https_to_a_server_that_speaks_http(self):
        result = self.something_else(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "https")
        self.assertIn("SSL", result.err)

    def test_http_to_something_else(self):
        self.something_else(b"220 mail.example.org ESMTP\r\n", "http")

    def something_else(self, answer, scheme):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        peer.recv(65536)
                        peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        env = ferry.environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        result = self.refused(1, "127.0.0.1", "list", "--repo", "s3://backups/prod", "--endpoint", f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", env=env)
        listener.close()
        return result

    def test_server_answers_html(self):
        with self.server(rules=[{"match": {"op": "*"}, "action": {"status": 200, "html": True}}]) as (server, env):
            result = ferry.run("list", "--repo", "s3://backups/prod", env=env)
            self.assertIn(result.code, (1, 4), result)  # a descriptor that is no JSON
            self.assertNotIn("<body", result.err)
        with self.server(rules=[{"match": {"op": "*"}, "action": {"status": 403, "html": True}}]) as (server, env):
            self.refused(1, "403", "list", "--repo", "s3://backups/prod", env=env)

    def test_listing_is_html(self):
        with self.server() as (server, env):
            self.ferry("init", "--repo", "s3://backups/prod", env=env)
            from s3.client import Client
            Client.of(server).control("POST", "script", [{"match": {"op": "ListObjectsV2"}, "action": {"status": 200, "html": True}}])
            self.refused(1, "ListObjectsV2", "list", "--repo", "s3://backups/prod", env=env, hint="a web page answered")


class Damage(pieces.Small):
    """A repository that is newer, cut, flipped or has lost something. Every restore that fails leaves nothing that starts."""

    def restore_refused(self, repo, code, message, target="target", **more):
        result = self.refused(code, message, "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / target, **more)
        self.assert_no_half_target(self.dir / target)
        return result

    def untouched(self):
        self.assertFalse((self.dir / "target").exists(), "checked before anything was written")

    def test_newer_format(self):
        repo = self.repository_copy()
        descriptor = repo.path / "chunkferry.json"
        descriptor.chmod(0o644)
        old = json.loads(descriptor.read_text())
        for change, message in (({"format": 2}, "format"), ({"requires": ["holograms"]}, "holograms"), ({"sealing": "age"}, "age")):
            descriptor.write_text(json.dumps({**old, **change}))
            self.refused(1, message, "list", "--repo", repo.url)
            self.refused(1, message, "backup", "--repo", repo.url, "--node", "kdb-1", "--db", self.shared / "node")
            self.restore_refused(repo, 1, message)
        descriptor.write_text("{")
        self.refused(4, "chunkferry.json", "list", "--repo", repo.url)
        self.assertEqual(len(repo.roots()), 1)
        self.untouched()

    def test_newer_root(self):
        repo = self.repository_copy()
        old = repo.root()
        for change, message in (({"format": 2}, "format"), ({"requires": ["holograms"]}, "holograms"), ({"profile": "spanner"}, "profile 'spanner'")):
            repo.put_root({**old, **change})
            self.restore_refused(repo, 1, message)
        repo.put_root({**old, "a key from the future": 1})
        self.restore(repo.url, self.dir / "whole")

    def test_damaged_root(self):
        repo = self.repository_copy()
        path = repo.roots()[0]
        good = path.read_bytes()
        path.chmod(0o644)
        for bad in (good[:-20], good[:1], b"\0" * 100, good.replace(b'"segments"', b'"segmentz"'), b'{"run": "' + b"x" * 2000000):
            path.write_bytes(bad)
            self.restore_refused(repo, 4, f"root 'nodes/kdb-1/snapshots/{path.name}'")
            self.refused(4, path.name, "show", "--repo", repo.url, "--node", "kdb-1", "latest")
            self.refused(4, "could not be read", "list", "--repo", repo.url)
        self.untouched()
        # It is no parent: the next backup stands alone, and is whole.
        done = self.backup(repo.url, self.node_copy())
        self.assertEqual(done.summary["files_reused"], 0)
        self.restore(repo.url, self.dir / "whole")
        self.assert_whole(self.dir / "whole")

    def test_fence_instead_of_a_root(self):
        repo = self.repository_copy()
        path = repo.roots()[0]
        path.chmod(0o644)
        path.write_bytes(b"")
        self.restore_refused(repo, 1, "has no snapshot")
        self.refused(1, "", "show", path.name, "--repo", repo.url, "--node", "kdb-1")

    def test_damaged_segments(self):
        for kind in ("files", "packs"):
            for how in ("cut", "flipped", "missing", "empty"):
                repo = self.repository_copy(f"{kind}-{how}")
                path = repo.run_files(kind=kind)[0]
                path.chmod(0o644)
                if how == "cut":
                    path.write_bytes(path.read_bytes()[:-7])
                elif how == "flipped":
                    pieces.flip(path)
                elif how == "empty":
                    path.write_bytes(b"")
                else:
                    path.unlink()
                if kind == "files":
                    self.restore_refused(repo, 4, path.name)
                    self.untouched()
                # Nothing of the damaged parent is reused, and the run says so.
                done = self.backup(repo.url, self.shared / "node")
                self.assertIn(path.name, done.err + done.out)
                self.assertEqual(done.summary["files_reused"], 0)
                self.restore(repo.url, self.dir / f"whole-{kind}-{how}")

    def test_damaged_packs(self):
        for hint, name in (("chunk-000001", "chunk-000001.000000"), ("small", "")):
            for how in ("cut", "flipped", "missing"):
                repo = self.repository_copy(f"{hint}-{how}")
                path = repo.packs(hint)[0]
                path.chmod(0o644)
                if how == "cut":
                    path.write_bytes(path.read_bytes()[:-7])
                elif how == "flipped":
                    pieces.flip(path)
                else:
                    path.unlink()
                result = self.restore_refused(repo, 4, path.name, target=f"target-{hint}-{how}")
                self.assertIn(name, result.err)
                self.check_start(self.dir / f"target-{hint}-{how}", code=1)

    def test_swapped_packs(self):
        repo = self.repository_copy()
        one, two = repo.packs("chunk-000001")[0], repo.packs("chunk-000002")[0]
        data = one.read_bytes()
        for path in (one, two):
            path.chmod(0o644)
        one.write_bytes(two.read_bytes())
        two.write_bytes(data)
        self.restore_refused(repo, 4, "chunk-00000")

    def test_paths_that_leave_the_target(self):
        repo = self.repository_copy()
        good = repo.lines()
        outside = self.dir / "outside"
        for path, message in (("db/../../outside/x", "a component '..'"), ("../outside", "a component '..'"), (f"{outside}/x", "is absolute"),
                              ("/etc/passwd", "is absolute"), (b"db/a\0b", "NUL"), ("db//x", "an empty component"), ("db/./x", "a component '.'"),
                              ("db/", "an empty component"), ("etc/passwd", "belongs to no directory"), ("db", "is the target itself"),
                              ("dbx/y", "belongs to no directory"), ("db/" + "n" * 256, "256 bytes, more than 255"), ("", ""), ("db/..", "a component '..'")):
            line = pieces.file_line(path, step=4)
            key = path.encode() if isinstance(path, str) else path
            lines = sorted(good + [line], key=lambda x: (x["step"], x.get("path", "").encode() if x is not line else key))
            repo.put_lines(lines)
            result = self.restore_refused(repo, 4, message)
            self.assertIn("path" if "belongs" in message or "itself" in message else "segment", result.err)
            self.untouched()
        nul = json.dumps(pieces.file_line("db/a\0b", step=4)).encode() + b"\n"
        repo.put_lines([], raw=nul)
        self.restore_refused(repo, 4, "segment")
        repo.put_lines(good + [pieces.file_line("db/zz", step=6, type="symlink", target="/etc/passwd")])
        self.assertIn(ferry.run("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "target").code, (1, 4))
        self.untouched()
        repo.put_lines(good + good[-1:])
        self.restore_refused(repo, 4, "against the order")
        self.untouched()
        repo.put_lines(good)
        self.restore(repo.url, self.dir / "whole")
        self.assertFalse(outside.exists())

    def test_lies_about_content(self):
        for number, change in enumerate(({"size": 1 << 50}, {"sha256": "0" * 64}, {"size": 7})):
            repo, target = self.repository_copy(f"lies-{number}"), self.dir / f"target-{number}"
            lines = repo.lines()
            at = next(i for i, line in enumerate(lines) if line["path"] == "db/chunk-000001.000000")
            lines[at] = {**lines[at], **change}
            repo.put_lines(lines)
            result = ferry.run("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target)
            self.assertIn(result.code, (1, 4), result)
            self.assertIn("chunk-000001", result.err, result)
            self.assert_no_half_target(target)

    def links_in_the_way(self, prepare):
        """A restore is killed early; somebody puts a link where it goes on."""
        repo = self.repository_copy()
        target, outside = self.dir / "target", self.dir / "outside"
        outside.mkdir()
        (outside / "kept").write_text("kept")
        os.utime(outside / "kept", ns=(10**18, 10**18))
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.restore_refused(repo, 4, pack.name)
        (self.dir / "pack").rename(pack)
        prepare(target, outside)
        result = self.refused(1, "", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target)
        self.assert_no_half_target(target)
        self.assertEqual([(p.name, p.read_text(), p.stat().st_mtime_ns) for p in outside.iterdir()], [("kept", "kept", 10**18)])
        return result

    def test_link_for_a_folder_of_the_target(self):
        def prepare(target, outside):
            shutil.rmtree(target / "index/stream-existence", ignore_errors=True)
            (target / "index").mkdir(exist_ok=True)
            (target / "index/stream-existence").symlink_to(outside)
        result = self.links_in_the_way(prepare)
        self.assertIn("stream-existence", result.err)
        self.assertIn("a link or a file stands in the way", result.err)

    def test_link_for_the_index_of_the_target(self):
        def prepare(target, outside):
            shutil.rmtree(target / "index", ignore_errors=True)
            (target / "index").symlink_to(outside)
        self.assertIn("index", self.links_in_the_way(prepare).err)

    def test_link_for_a_file_of_the_target(self):
        def prepare(target, outside):
            (target / "chunk-000002.000000").unlink(missing_ok=True)
            (target / "chunk-000002.000000").symlink_to(outside / "kept")
        result = self.links_in_the_way(prepare)
        self.assertIn("'db/chunk-000002.000000' stands in the way", result.err)

    def test_link_for_a_temporary_file(self):
        repo = self.repository_copy()
        target, outside = self.dir / "target", self.dir / "outside"
        outside.write_text("kept")
        pack = repo.packs("chunk-000002")[0]
        pack.rename(self.dir / "pack")
        self.restore_refused(repo, 4, pack.name)
        (self.dir / "pack").rename(pack)
        for name in ("chunk-000002.000000", "writer.chk", "truncate.chk"):
            (target / (name + ".chunkferry.tmp")).symlink_to(outside)
        self.restore(repo.url, target)
        self.assert_whole(target)
        self.assertEqual(outside.read_text(), "kept")


class Disks(pieces.Small):
    """Full, small and forbidden."""

    def small_disk(self, size, target_words, code, message, prepare="true"):
        if not pieces.can_mount():
            self.skipTest("needs root and mount namespaces")
        (self.dir / "disk").mkdir(exist_ok=True)
        keep = self.dir / "kept"
        keep.mkdir()
        repo = self.repository_copy()
        result = pieces.run_on_small_disk(self.dir / "disk", size, "restore", "latest", "--repo", repo.url, "--node", "kdb-1", *target_words,
                                          keep=keep, prepare=prepare)
        self.assertEqual(result.code, code, result)
        self.assertIn(message, result.err, result)
        self.assert_no_half_target(keep)
        return keep

    def test_target_disk_is_too_small(self):
        keep = self.small_disk("size=128k", ["--target", self.dir / "disk/db"], 1, "the restore needs")
        self.assertEqual(list(keep.iterdir()), [], "nothing was written")

    def test_index_disk_is_too_small(self):
        keep = self.small_disk("size=16k", ["--target", self.dir / "target", "--index-target", self.dir / "disk/index"], 1, "disk/index")
        self.assertEqual(list(keep.iterdir()), [], "nothing was written")
        self.assertFalse((self.dir / "target").exists())

    def test_target_disk_is_full_half_way(self):
        # Free bytes there are, inodes not: so the check before finds nothing.
        keep = self.small_disk("size=8m,nr_inodes=9", ["--target", self.dir / "disk/db"], 1, "pace")
        self.check_start(keep / "db", code=1)

    def test_repository_disk_is_full(self):
        if not pieces.can_mount():
            self.skipTest("needs root and mount namespaces")
        (self.dir / "disk").mkdir()
        keep = self.dir / "kept"
        keep.mkdir()
        base = self.repository_copy("base")
        db = self.node_copy()
        done = ferry.subprocess.run([*ferry.NODE, "append", "--db", str(db), "--bytes", "400000"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for size in ("160k", "176k", "200k"):
            shutil.rmtree(keep)
            keep.mkdir()
            result = pieces.run_on_small_disk(self.dir / "disk", f"size={size}", "backup", "--repo", f"file://{self.dir}/disk/r", "--node", "kdb-1",
                                              "--db", db, keep=keep, prepare=f"cp -a {base.path} {self.dir}/disk/r")
            self.assertEqual(result.code, 1, result)
            self.assertIn("pace", result.err, result)
            kept = pieces.Repository(keep / "r")
            self.assertEqual([p.name for p in kept.roots()], [p.name for p in base.roots()], "nothing committed")
            # With room again it goes on without any repair.
            self.backup(kept.url, db)
            self.restore(kept.url, self.dir / f"restored-{size}")
            self.assert_whole(self.dir / f"restored-{size}")

    def as_nobody(self, *words):
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        return {"user": pieces.NOBODY, "group": pieces.NOBODY, "extra_groups": []}

    def hand_over(self, path):
        for folder, folders, files in os.walk(path):
            for name in [".", *files]:
                os.chown(os.path.join(folder, name), pieces.NOBODY, pieces.NOBODY)

    def test_source_cannot_be_read(self):
        who = self.as_nobody()
        repo, db = self.repository_copy(), self.node_copy()
        self.hand_over(repo.path)
        for name in ("chunk-000001.000000", "writer.chk", "index/indexmap", "chunk-000003.000000"):
            mode = (db / name).stat().st_mode
            (db / name).chmod(0o600)
            # Full, else a completed chunk is referenced; it is opened all the same.
            self.refused(3, name.split("/")[-1], "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--mode", "full", hint="run as the server's user", **who)
            (db / name).chmod(mode)
        (db / "index").chmod(0o700)
        self.refused(3, "index", "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, **who)
        (db / "index").chmod(0o755)
        db.chmod(0o700)
        self.refused(3, str(db), "backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, **who)
        db.chmod(0o755)
        self.assertEqual(len(repo.roots()), 1)
        self.backup(repo.url, db, **who)

    def test_target_cannot_be_written(self):
        who = self.as_nobody()
        repo = self.repository_copy()
        self.hand_over(repo.path)
        (self.dir / "theirs").mkdir()
        for target in (self.dir / "theirs", self.dir / "theirs/below"):
            self.refused(1, "theirs", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", target, **who)
        self.assertEqual(list((self.dir / "theirs").iterdir()), [])
        (self.dir / "file").write_text("x")
        self.refused(1, "file", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "file")
        self.refused(1, "file", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "file/below")

    def test_repository_cannot_be_written(self):
        who = self.as_nobody()
        repo = self.repository_copy()
        for folder, _, files in os.walk(repo.path):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o444)
        self.refused(1, "denied", "backup", "--repo", repo.url, "--node", "kdb-1", "--db", self.shared / "node", **who)
        self.assertEqual(len(repo.roots()), 1)
        self.refused(1, "", "init", "--repo", f"file://{self.dir}/new", **who)
        self.assertFalse((self.dir / "new").exists())


class Moving(pieces.Small):
    """Files that vanish or shrink between two looks; names that are no text."""

    def count_steps(self, db, url):
        trace = self.dir / "count"
        self.ferry("backup", "--repo", url, "--node", "kdb-1", "--db", db, "--dry-run", binary=ferry.STEPPING,
                   env=ferry.environment(CF_STEP_TRACE=self.dir / "dry"))
        probe = shutil.copytree(self.shared / "repository", self.dir / "probe")
        self.ferry("backup", "--repo", f"file://{probe}", "--node", "kdb-1", "--db", db, "--mode", "full", binary=ferry.STEPPING,
                   env=ferry.environment(CF_STEP_TRACE=trace))
        return len(pieces.steps_of(trace))

    def at_steps(self, what, names, act, apart):
        """A full backup per name and step; each is refused with 3, or its copy starts and holds every event."""
        self.node_copy("keep")
        steps = self.count_steps(self.dir / "keep", "file://%s" % shutil.copytree(self.shared / "repository", self.dir / "count-repository"))
        outcomes = {}
        for name in names:
            for step in range(1, steps + 1, apart):
                db = self.node_copy()
                repo = self.repository_copy()
                with pieces.Helper(self.dir, lambda _, db=db, name=name: act(db / name)) as helper:
                    done = ferry.run("backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--mode", "full", "-vv", binary=ferry.STEPPING,
                                     env=ferry.environment(CF_STEP_AT=step, CF_STEP_SOCKET=helper.path, CF_STEP_COMMANDS="now",
                                                           CF_STEP_TRACE=self.dir / "trace"))
                    self.assertIsNone(helper.failed)
                where = f"{what} of {name} at step {step}\n{done}\n{(self.dir / 'trace').read_text()[-1500:]}"
                self.assertIn(done.code, (0, 3), where)
                outcomes[done.code] = outcomes.get(done.code, 0) + 1
                if done.code == 3:
                    self.assertEqual(len(repo.roots()), 1, where)
                    self.assertIn("hint: ", done.err, where)
                    self.assertTrue(name.rsplit("/")[-1].rsplit(".")[0] in done.err or "chunk" in done.err, where)
                else:
                    self.assertEqual(len(repo.roots()), 2, where)
                    self.restore(repo.url, self.dir / "restored")
                    self.assert_whole(self.dir / "restored")
                    shutil.rmtree(self.dir / "restored")
                shutil.rmtree(db)
                shutil.rmtree(repo.path)
        print(f"{what}: {outcomes.get(3, 0)} refused, {outcomes.get(0, 0)} whole, {steps} steps")
        return outcomes

    def table_of(self):
        return "index/" + next(p.name for p in sorted((self.shared / "node/index").iterdir()) if len(p.name) == 36)

    def test_a_file_vanishes(self):
        outcomes = self.at_steps("vanishing", ["chunk-000001.000000", "chunk-000003.000000", self.table_of(), "writer.chk"], lambda p: p.unlink(), 9)
        self.assertGreater(outcomes.get(3, 0), 0)

    def test_a_file_shrinks(self):
        def shrink(path):
            path.chmod(0o644)
            os.truncate(path, path.stat().st_size // 2)
        outcomes = self.at_steps("shrinking", ["chunk-000001.000000", "chunk-000003.000000", self.table_of()], shrink, 9)
        self.assertGreater(outcomes.get(3, 0), 0)

    def test_errors_while_reading(self):
        """The node's disk fails at a call: exit 3 with the file's name, nothing committed, and the next run is whole."""
        repo, db = self.repository_copy(), self.node_copy()
        steps = self.count_steps(db, repo.url)
        roots = len(repo.roots())
        for step in range(2, steps + 1, 5):
            done = ferry.run("backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--mode", "full", binary=ferry.STEPPING,
                             env=ferry.environment(CF_STEP_AT=step, CF_STEP_ERRNO=22))
            self.assertIn(done.code, (0, 3), (step, done))
            roots += done.code == 0     # a look that is best effort
            if done.code == 3:
                self.assertTrue("injected" in done.err or "hint: " in done.err, (step, done))
            self.assertEqual(len(repo.roots()), roots)
        self.backup(repo.url, db)
        self.restore(repo.url, self.dir / "restored")
        self.assert_whole(self.dir / "restored")

    def test_names_that_are_no_text(self):
        db = self.node_copy()
        folder = os.fsencode(db)
        for name in (b"\xff\xfe", b"chunk-\xff00000.000000", b"\xe4.chk", b"new\nline", b"index/\xff", b"index/\xffindexmap", b"tab\t.chk"):
            with open(folder + b"/" + name, "wb") as f:
                f.write(b"12345678")
        os.mkdir(folder + b"/\xfffolder")
        repo = self.repository_copy()
        done = self.backup(repo.url, db, "-v")
        self.assertTrue(any(x["type"] == "warning" and "checkpoint" in x["text"] for x in done.lines), done)
        self.ferry("inspect", "--db", db, "--json")
        self.ferry("show", "--repo", repo.url, "--node", "kdb-1", "latest", "-v")
        shown = [x for x in self.ferry("show", "--repo", repo.url, "--node", "kdb-1", "latest", "-v", "--json").lines if x["type"] == "file"]
        self.assertEqual(len(shown), done.summary["files_total"])
        self.restore(repo.url, self.dir / "restored", "-v")
        self.assert_whole(self.dir / "restored")
        with open(os.fsencode(self.dir / "restored") + b"/\xe4.chk", "rb") as f:
            self.assertEqual(f.read(), b"12345678")

    def test_folders_whose_names_are_no_text(self):
        place = os.fsencode(self.dir) + b"/n\xf6de"
        shutil.copytree(os.fsencode(self.shared / "node"), place, copy_function=shutil.copy2)
        repo = self.repository_copy()

        text = os.fsdecode(place)
        self.assertTrue(self.ferry("inspect", "--db", text, "--json").summary["fit"])
        self.backup(repo.url, text)
        self.assertIn("n\ufffdde", self.restore(repo.url, text + "2").summary["target"])
        self.ferry("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", text + "3")
        self.assertIn("n\ufffdde2", self.refused(1, "is not empty", "restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", text + "2",
                                                "--json").lines[-1]["text"])

    def test_odd_files_in_the_source(self):
        """A directory, a pipe or a link in the place of a file is refused by name, and never waited for."""
        for name in ("chunk-000001.000000", "index/indexmap", "writer.chk", "chunk-000003.000000"):
            for kind in ("directory", "pipe", "link"):
                db = self.node_copy(f"node-{kind}")
                repo = self.repository_copy(f"repository-{kind}")
                (db / name).rename(self.dir / "moved")
                if kind == "directory":
                    (db / name).mkdir()
                elif kind == "pipe":
                    os.mkfifo(db / name)
                else:
                    (db / name).symlink_to(self.dir / "moved")
                done = ferry.run("backup", "--repo", repo.url, "--node", "kdb-1", "--db", db, "--mode", "full", timeout=30)
                self.assertEqual(done.code, 3, (name, kind, done))
                self.assertIn(name.split("/")[-1], done.err)
                self.assertEqual(len(repo.roots()), 1)
                shutil.rmtree(db)
                shutil.rmtree(repo.path)


ferry.main(__name__)
