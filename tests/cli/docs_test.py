# SPDX-License-Identifier: Apache-2.0
"""The README's session is run, and what is printed is compared; words that differ from run to run count as equal."""
import os
import re
import subprocess
import sys

sys.path.insert(0, "tests/cli")
import ferry  # noqa: E402


def blocks(text):
    """[(command, what it prints)] of the console block."""
    session = re.search(r"```console\n(.*?)```", text, re.S).group(1)
    parts = re.split(r"^\$ ", session, flags=re.M)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]


def plain(text):
    """Without ids, times, sizes, counts and places."""
    text = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", "RUN", text)
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"file:///\S+", "URL", text)
    text = re.sub(r"'/\S+/", "'/", text)
    text = re.sub(r"\d[\d.:TZ-]*( [KMG]iB| B)?", "N", text)
    return re.sub(r" +", " ", text).strip()


class Docs(ferry.Case):
    def test_the_session_of_the_readme(self):
        self.make_node("--chunks", 8, "--chunk-size", 1048576, "--seed", 7)
        env = ferry.environment(PATH=f"{ferry.BINARY.parent}:{os.environ['PATH']}")
        script = ""
        commands = blocks((ferry.ROOT / "README.md").read_text())
        self.assertGreaterEqual(len(commands), 6)
        for command, _ in commands:
            script += f"{command}\necho '--- next'\n"
        done = subprocess.run(["bash", "-e"], input=script, env=env, cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        printed = done.stdout.split("--- next\n")
        for (command, expected), found in zip(commands, printed):
            with self.subTest(command=command):
                self.assertEqual(plain(found), plain(expected))

    def test_exit_codes_of_the_readme_are_those_of_the_manual(self):
        readme = (ferry.ROOT / "README.md").read_text()
        manual = self.ferry("manual").out
        for code in re.findall(r"^\.TP\n\.B (\d+)$", manual, re.M):
            self.assertRegex(readme, rf"\b{code} ", code)

    def test_every_command_of_the_readme_is_known(self):
        known = set(re.findall(r"^  (\w+)", self.ferry("--help").out, re.M))
        used = set(re.findall(r"chunkferry ([a-z]+)\s+(?:--|latest)", (ferry.ROOT / "README.md").read_text()))
        self.assertTrue(used <= known, used - known)


ferry.main(__name__)
