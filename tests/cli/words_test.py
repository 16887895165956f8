# SPDX-License-Identifier: Apache-2.0
"""What the program says about itself: help, manual, exit codes, output that nobody reads, a terminal."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402
import pieces  # noqa: E402

COMMANDS = ["init", "backup", "list", "show", "restore", "inspect", "bench", "version"]
LATER = ["copy", "diff", "dump", "prune", "status", "tag", "unlock", "verify"]


def options_of(text):
    """Names of the long options a help text lists, in its order."""
    return re.findall(r"^  (?:-\w, |    )--([a-z-]+)", text, re.M)


class Help(ferry.Case):
    def test_overview(self):
        for words in (["--help"], ["-h"], ["help"]):
            out = self.ferry(*words).out
            for command in COMMANDS:
                self.assertRegex(out, rf"(?m)^  {command} ")
        self.assertRegex(self.ferry("--version").out, r"^chunkferry \d+\.\d+\.\d+\n$")

    def test_every_command(self):
        for command in COMMANDS:
            out = self.ferry(command, "--help").out
            self.assertEqual(out, self.ferry("help", command).out)
            self.assertEqual(out, self.ferry(command, "--json", "-h").out)
            self.assertIn(f"usage: chunkferry {command}", out)
            self.assertIn(f"example:\n  chunkferry {command}", out)
            self.assertIn("help", options_of(out))
            self.assertEqual([line for line in out.splitlines() if len(line) > 120], [])
            # Help comes before what is missing or wrong elsewhere on the line.
            self.assertEqual(self.ferry(command, "--help", *(["latest"] if command in ("show", "restore") else [])).out, out)

    def test_help_of_an_unknown_command(self):
        self.assertIn("usage: chunkferry COMMAND", self.ferry("help", "nonsense").out)

    def test_every_option_is_taken(self):
        """What --help lists is parsed; what it does not list is refused."""
        everything = {name for command in COMMANDS for name in options_of(self.ferry(command, "--help").out)}
        self.assertGreater(len(everything), 20)
        for command in COMMANDS:
            mine = set(options_of(self.ferry(command, "--help").out))
            for name in sorted(everything):
                result = ferry.run(command, f"--{name}=x" if name not in ("json", "verbose", "help") else f"--{name}", "--help")
                if name in mine:
                    self.assertNotIn("unknown option", result.err, (command, name))
                else:
                    self.refused(2, f"unknown option '--{name}", command, f"--{name}")

    def test_readme_knows_only_real_options(self):
        everything = {name for command in COMMANDS + LATER for name in options_of(self.ferry(command, "--help").out)}
        readme = (ferry.ROOT / "README.md").read_text()
        used = set()
        for line in readme.splitlines():
            if "chunkferry " in line:
                used |= set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", line))
        self.assertEqual(used - everything - {"version"}, set())
        self.assertGreater(len(used), 3)

    def test_version_names_the_libraries(self):
        out = self.ferry("version").out
        for word in ("chunkferry", "repository format 1", "libcurl", "OpenSSL", "libxml2", "zstd", "jansson"):
            self.assertIn(word, out)
        found = self.ferry("version", "--json").summary
        self.assertEqual(sorted(found), ["format", "libraries", "type", "version"])
        self.assertEqual(sorted(found["libraries"]), ["curl", "jansson", "libxml2", "openssl", "zstd"])


class Manual(ferry.Case):
    def pages(self):
        return {name: self.ferry("manual", *([name] if name else [])).out for name in ["", *COMMANDS]}

    def test_pages_are_good_roff(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not here")
        for name, page in self.pages().items():
            done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z"], input=page, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), (name, page))

    def test_man_shows_them(self):
        if shutil.which("man") is None or shutil.which("groff") is None:
            self.skipTest("man is not here")
        for name, page in self.pages().items():
            path = self.dir / f"chunkferry-{name}.1"
            path.write_text(page)
            done = subprocess.run(["man", "-l", str(path)], capture_output=True, text=True, env={**os.environ, "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""})
            if "minimized" in done.stdout or done.returncode == 127:
                self.skipTest("man is not really here")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_options_and_codes_are_the_tables(self):
        for name, page in self.pages().items():
            self.assertIn("EXIT STATUS", page)
            plain = page.replace("\\-", "-")
            for code in ("0", "1", "2", "3", "4", "10", "11", "12", "130"):
                self.assertRegex(plain, rf"(?m)^\.TP\n\.B {code}$")
            if name:
                shown = options_of(self.ferry(name, "--help").out)
                self.assertEqual(re.findall(r"(?m)^\.TP\n\.B (?:-\w, )?--([a-z-]+)", plain), shown, name)
            else:
                self.assertEqual([c for c in COMMANDS if f"\n.B {c}\n" in plain], COMMANDS)

    def test_an_unknown_page(self):
        self.refused(2, "'nonsense' is no command", "manual", "nonsense")


class Json(pieces.Small):
    def test_usage_errors_are_json_too(self):
        for words in (["backup", "--json", "--nonsense"], ["list", "--json", "--repo"], ["bakcup", "--json"], ["restore", "--json"],
                      ["list", "--json", "--repo", "ftp://x"]):
            result = self.refused(2, "chunkferry: ", *words)
            self.assertEqual(len(result.lines), 1, result)
            error = result.lines[0]
            self.assertEqual((error["type"], error["exit_code"], error["error"]), ("error", 2, "CF_ERR_USAGE"))
            self.assertIn(error["text"], result.err)

    def test_every_error_has_its_code(self):
        repo = self.repository_copy()
        for code, words in ((10, ["list", "--repo", f"file://{self.dir}/nowhere"]), (3, ["inspect", "--db", self.dir]),
                            (1, ["show", "latest", "--repo", repo.url, "--node", "x"])):
            result = self.refused(code, "chunkferry: ", *words, "--json")
            self.assertEqual(result.lines[-1]["exit_code"], code)

    def test_every_line_is_an_object(self):
        repo = self.repository_copy()
        for words in (["list"], ["list", "-vv"], ["show", "latest", "-v", "--node", "kdb-1"],
                      ["backup", "--node", "kdb-1", "--db", self.shared / "node", "-vv"], ["restore", "latest", "--node", "kdb-1", "--target", self.dir / "t", "-vv"]):
            done = self.ferry(*words, "--repo", repo.url, "--json")
            for line in done.out.splitlines():
                self.assertIn("type", json.loads(line))
            self.assertEqual(json.loads(done.out.splitlines()[-1])["type"], "summary")
            self.assertEqual(done.err, "")


class Streams(pieces.Small):
    def test_nobody_reads(self):
        repo = self.repository_copy()
        for words in (["list"], ["show", "latest", "--node", "kdb-1", "-v"], ["backup", "--node", "kdb-1", "--db", self.shared / "node", "-v"], ["--help"],
                      ["list", "--help"], ["manual"], ["version"], ["inspect", "--db", self.shared / "node"]):
            words = words if words[0] in ("--help", "manual", "version", "inspect") or "--help" in words else [*words, "--repo", repo.url]
            read, write = os.pipe()
            os.close(read)
            done = subprocess.run([str(ferry.BINARY), *map(str, words)], stdout=write, stderr=subprocess.PIPE, text=True, env=ferry.environment(), timeout=60)
            os.close(write)
            pieces.check_output(done.stderr)
            self.assertIn(done.returncode, (0, 1), (words, done.stderr))
            if done.returncode == 1:
                self.assertIn("standard output could not be written", done.stderr)
        self.assertEqual(len(repo.roots()), 2, "a backup whose words nobody read is a backup")

    def test_output_disk_is_full(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(ferry.BINARY), "version"], stdout=full, stderr=subprocess.PIPE, text=True, env=ferry.environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output could not be written", done.stderr)

    def test_streams_are_closed(self):
        repo = self.repository_copy()
        done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(ferry.BINARY), "backup", "--repo", repo.url, "--node", "kdb-1", "--db",
                               str(self.shared / "node"), "--mode", "full", "-v"], env=ferry.environment())
        self.assertIn(done.returncode, (0, 1))
        # The words went nowhere, least of all into an object: a descriptor that was closed must not become one of ours.
        if len(repo.roots()) == 2:
            self.restore(repo.url, self.dir / "restored")
            self.assert_whole(self.dir / "restored")

    def on_terminal(self, *words):
        """Output of the program whose three streams are a terminal."""
        parent, child = pty.openpty()
        process = subprocess.Popen([str(ferry.BINARY), *map(str, words)], stdin=child, stdout=child, stderr=child, env=ferry.environment())
        os.close(child)
        out = b""
        while True:
            ready, _, _ = select.select([parent], [], [], 60)
            try:
                data = os.read(parent, 65536) if ready else b""
            except OSError:
                break
            if not data:
                break
            out += data
        os.close(parent)
        self.assertEqual(process.wait(60), 0, out)
        pieces.check_output(out.decode())
        return out.decode()

    def test_a_terminal_gets_a_progress_line(self):
        repo = self.repository_copy()
        words = ["backup", "--repo", repo.url, "--node", "kdb-1", "--db", self.shared / "node", "--mode", "full"]
        out = self.on_terminal(*words)
        self.assertRegex(out, r"\r\x1b\[K\w+  .* of .* files")
        self.assertRegex(out, r"\r\x1b\[Ksnapshot \S+ of node kdb-1 is committed", )
        out = self.on_terminal("restore", "latest", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "t")
        self.assertRegex(out, r"\r\x1b\[K\w+  .* of .* files")
        self.assertNotIn("\x1b", self.on_terminal(*words, "--json"))
        self.assertNotIn("\x1b", repr(self.ferry(*words)))

    def test_odd_bytes_do_not_reach_the_terminal(self):
        """A snapshot from elsewhere must not steer the terminal of whoever lists or restores it."""
        repo = self.repository_copy()
        lines = repo.lines()
        name = "db/evil\x1b[2J.chk"
        repo.put_lines(sorted(lines + [pieces.file_line(name, step=4)], key=lambda x: (x["step"], x["path"].encode())))
        out = self.ferry("show", "latest", "-v", "--repo", repo.url, "--node", "kdb-1").out
        self.assertIn("evil", out)
        self.assertNotIn("\x1b", out)
        done = self.ferry("restore", "latest", "-v", "--repo", repo.url, "--node", "kdb-1", "--target", self.dir / "t")
        self.assertNotIn("\x1b", done.out + done.err)


ferry.main(__name__)
