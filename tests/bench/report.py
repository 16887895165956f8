# SPDX-License-Identifier: Apache-2.0
"""Tables of what was measured: on the screen, results.md, results.csv."""
import csv
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

KEYS = ("wall", "cpu", "server", "rss")


def cell(values, digits):
    """median (min-max)"""
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1 or f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def by_row(runs):
    rows = {}
    for run in runs:
        rows.setdefault(run.row, []).append(run)
    return rows


def table(lines):
    """Rows of cells as a Markdown table whose columns stand below each other, so that it reads on a screen too."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    texts = ["| " + " | ".join(str(c).ljust(w) for c, w in zip(line, widths)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(texts) + "\n"


def size_of(count):
    if count < 0:
        return ""
    for unit, digits in (("", 0), ("KiB", 1), ("MiB", 1), ("GiB", 2)):
        if count < 1024 or unit == "GiB":
            return f"{count:.{digits}f} {unit}".strip()
        count /= 1024
    return ""


def figures(runs, cores):
    lines = [("row", "wall s", "CPU s", "server CPU s", "peak RSS MiB", f"wall / (CPU / {cores})", "stored or sent", "requests")]
    for name, found in by_row(runs).items():
        many = {int(run.requests) for run in found if run.requests >= 0}
        lines.append((name, cell([r.wall for r in found], 2), cell([r.cpu for r in found], 2),
                      cell([r.server for r in found], 2) if any(r.server for r in found) else "",
                      cell([r.rss for r in found], 0), f"{statistics.median(r.wall / (r.all_cpu / cores) for r in found if r.all_cpu):.2f}" if any(r.all_cpu for r in found) else "",
                      size_of(statistics.median(r.stored for r in found)), "-".join(str(n) for n in sorted({min(many), max(many)})) if many else ""))
    return table(lines)


def verdicts(found):
    lines = [("target", "at most", "measured", "")]
    for v in found:
        unit = f" {v.target.unit}" if v.target.unit else ""
        lines.append((v.target.name, f"{v.limit:g}{unit}", f"{v.measured:.2f}{unit}" if v.measured is not None else f"no row '{v.missing}'", v.word))
    counts = [sum(1 for v in found if v.word == word) for word in ("met", "missed", "not measured")]
    return table(lines) + "\n{} met, {} missed, {} not measured\n".format(*counts)


def skipped(reasons):
    if not reasons:
        return "Nothing was skipped.\n"
    return f"Skipped: {len(reasons)}\n\n" + "".join(f"- {row}: {why}\n" for row, why in reasons.items())


def words_of(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    memory = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")).split()[1]) / (1 << 20)
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    kind = words_of(["stat", "-f", "-c", "%T", "."])
    return (f"{time.strftime('%Y-%m-%d', time.gmtime())}; {os.cpu_count()} cores ({model}), {memory:.0f} GiB, {kind}, "
            f"{release.get('PRETTY_NAME', '').strip(chr(34))}, Linux {platform.release()}; load before: {os.getloadavg()[0]:.1f}; "
            f"commit {words_of(['git', 'rev-parse', '--short', 'HEAD']) or 'unknown'}")


def write_csv(path, runs):
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("round", "row", "wall_s", "cpu_s", "server_cpu_s", "rss_mib", "stored_bytes", "requests"))
        for r in runs:
            out.writerow((r.round, r.row, f"{r.wall:.4f}", f"{r.cpu:.4f}", f"{r.server:.2f}", f"{r.rss:.1f}", r.stored, r.requests))


def profiles(found):
    """CPU seconds of one run by what they went into."""
    if not found:
        return "Not looked at.\n"
    names = list(dict.fromkeys(name for seconds in found.values() for name in seconds))
    names.sort(key=lambda name: -sum(seconds.get(name, 0) for seconds in found.values()))
    lines = [("CPU seconds", *found)]
    for name in names:
        lines.append((name, *(f"{s.get(name, 0):.2f} ({100 * s.get(name, 0) / sum(s.values()):.0f} %)" for s in found.values())))
    return table(lines) + "\nOne run each in round 1, sampled by perf; the server is not in it.\n"


def growth(runs, sizes):
    """Per store and kind of run: a line for each size of node."""
    rows, lines = by_row(runs), [("store", "run", "chunks", "wall s", "CPU s", "requests", "bytes sent")]
    for store in ("file", "Ceph"):
        for kind in ("no change", "3 changed"):
            for size in sizes:
                found = rows.get(f"{size:,} chunks, {kind} ({store})")
                if found:
                    lines.append((store, kind, f"{size:,}", cell([r.wall for r in found], 2), cell([r.cpu for r in found], 2),
                                  cell([r.requests for r in found], 0), cell([r.stored for r in found], 0)))
    return table(lines) if len(lines) > 1 else ""
