# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/FORMAT.md, 'Restore by hand', as they stand there: no program of ours takes part in such a restore."""
import re
import shutil
import subprocess
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[2] / "docs/FORMAT.md").read_text()
TOOLS = ("bash", "curl", "zstd", "jq")


def lacking():
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def block(info):
    found = re.findall(r"^```%s\n(.*?)^```$" % re.escape(info), TEXT, re.M | re.S)
    assert len(found) == 1, f"docs/FORMAT.md has {len(found)} blocks '{info}'"
    return found[0]


def restore(address, node, run, out, env):
    """address: file:///path, or http://host/bucket/prefix with the keys in env. The last step is KurrentDB's."""
    script = block("bash by-hand")
    if not address.startswith("file:"):
        script = block("bash s3") + script
    script += 'cp "$OUT/db/chaser.chk" "$OUT/db/truncate.chk"\n'
    return subprocess.run(["bash", "-c", script], env={**env, "REPO": address, "NODE": node, "RUN": run, "OUT": str(out)},
                          capture_output=True, text=True, timeout=600)
