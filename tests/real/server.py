# SPDX-License-Identifier: Apache-2.0
"""A real server for one test: a script of ci/ starts it in a scratch folder, and stops it whatever comes."""
import contextlib
import subprocess
import tempfile
from pathlib import Path

import ferry


@contextlib.contextmanager
def started(script):
    """script: ci/server-X. Gives what it told, by name, and the scratch folder; a counted skip where it cannot run."""
    with tempfile.TemporaryDirectory(prefix="chunkferry-real.") as scratch:
        folder = f"{scratch}/server"
        done = subprocess.run([script, "start", folder], stdout=subprocess.PIPE, text=True)
        if done.returncode == 77:
            ferry.skip(f"{script} cannot run here")
        assert done.returncode == 0, f"{script} did not start"
        try:
            told = dict(line.split("=", 1) for line in done.stdout.split() if "=" in line)
            yield {k: v.strip("'\"") for k, v in told.items()}, Path(scratch)
        finally:
            subprocess.run([script, "stop", folder], check=False)


def credentials(told):
    return {k: v for k, v in told.items() if k.startswith("AWS_")}
