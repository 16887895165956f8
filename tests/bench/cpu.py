# SPDX-License-Identifier: Apache-2.0
"""Where the CPU time of one run goes, by what it is spent on; from samples of perf, so a percent is about what it can tell."""
import re
import shutil
import subprocess

import measure

HZ = 499
# (what, shared object, symbol), the first that fits. Debian's libraries carry no symbols: their name has to do.
GROUPS = (("zstd", r"libzstd", r""),
          ("SHA-256 and MD5", r"libcrypto", r""),
          ("SHA-256 and MD5", r"^chunkferry", r"sha|md5|block"),
          ("chunkferry, the rest", r"^chunkferry", r""),
          ("kernel: bytes copied", r"^\[kernel", r"copy|memcpy|clear_page|rep_movs|csum"),
          ("kernel, the rest", r"^\[", r""),
          ("other libraries", r"", r""))


def possible():
    return shutil.which("perf") is not None


def group_of(where, symbol):
    return next(name for name, dso, pattern in GROUPS if re.search(dso, where) and re.search(pattern, symbol))


def parse(text):
    """{group: seconds} of `perf report -F sample,dso,symbol -t|`."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("#") or len(cells) < 3 or not cells[0].isdigit():
            continue
        name = group_of(cells[1], cells[2])
        found[name] = found.get(name, 0.0) + int(cells[0]) / HZ
    return found


def profile(scratch, words, env):
    out = str(scratch / "perf.data")
    done = subprocess.run(["perf", "record", "-q", "-F", str(HZ), "-e", "cpu-clock", "-o", out, "--", *map(str, words)], env=env,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise measure.Failed(f"perf: {done.stderr[-300:]}")
    told = subprocess.run(["perf", "report", "-i", out, "--stdio", "--no-children", "-F", "sample,dso,symbol", "-t", "|"],
                          capture_output=True, text=True, check=False)
    return parse(told.stdout)
