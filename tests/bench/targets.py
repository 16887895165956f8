# SPDX-License-Identifier: Apache-2.0
"""What the figures have to be. A ratio is taken inside each round; the median of the rounds counts."""
import dataclasses
import os
import statistics
from collections.abc import Callable

CORES = os.cpu_count() or 1
FLOOR_PUT = "compress to disk, then PUT"
ZSTD = "zstd -3 -T1 > /dev/null"


class Missing(Exception):
    """A row that the target needs was not run."""


class Table:
    """Runs by row and round."""

    def __init__(self, runs):
        self.rows = {}
        for run in runs:
            self.rows.setdefault(run.row, {})[run.round] = run

    def of(self, row):
        if row not in self.rows:
            raise Missing(row)
        return self.rows[row]

    def median(self, row, key):
        return statistics.median(getattr(run, key) for run in self.of(row).values())

    def ratios(self, row, key, others, of=None):
        """Per round, the row's figure over the sum of the others'."""
        mine, theirs = self.of(row), [self.of(other) for other in others]
        rounds = [r for r in mine if all(r in other for other in theirs)]
        if not rounds:
            raise Missing(f"{row} in one round with {', '.join(others)}")
        return [getattr(mine[r], key) / sum(getattr(other[r], of or key) for other in theirs) for r in rounds]

    def busy(self, row):
        """wall / ((client + server CPU) / cores): 1.0 when no core waits."""
        return [run.wall / (run.all_cpu / CORES) for run in self.of(row).values()]


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    limit: float
    figures: Callable           # Table -> list of one figure a round
    unit: str = ""
    exact: bool = False         # does not depend on the machine: --quick takes the same limit
    quick: float = 2.0          # times the limit for --quick; 0: not looked at there

    def measure(self, table):
        return statistics.median(self.figures(table))


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: Target
    limit: float
    measured: float | None      # None: a row is missing
    missing: str = ""

    @property
    def met(self):
        return self.measured is not None and self.measured <= self.limit

    @property
    def word(self):
        if self.measured is None:
            return "not measured"
        return "met" if self.met else "missed"


def ratio(row, key, *others):
    return lambda table: table.ratios(row, key, others)


def figure(row, key):
    return lambda table: [getattr(run, key) for run in table.of(row).values()]


def busy(row):
    return lambda table: table.busy(row)


BACKUP, PLAIN = "backup, default", "backup, no-verify"


def backup_targets(store):
    yield Target(f"{PLAIN}, {store}: CPU / CPU of zstd -3", 1.30, ratio(f"{PLAIN} ({store})", "cpu", ZSTD))
    yield Target(f"{BACKUP}, {store}: CPU / CPU of zstd -3", 1.65, ratio(f"{BACKUP} ({store})", "cpu", ZSTD))
    floor = FLOOR_PUT if store == "Ceph" else "zstd -3 -T2 to disk, synced"
    yield Target(f"{PLAIN}, {store}: wall / ({floor})", 1.10, ratio(f"{PLAIN} ({store})", "wall", floor), quick=3)
    yield Target(f"{BACKUP}, {store}: wall / ({floor})", 1.35, ratio(f"{BACKUP} ({store})", "wall", floor), quick=3)
    for row in (BACKUP, PLAIN):
        yield Target(f"{row}, {store}: peak RSS", 128, figure(f"{row} ({store})", "rss"), "MiB", exact=True)


def restic_targets():
    """Both over https, see peers.py."""
    yield Target(f"{PLAIN}, Ceph https: wall / restic's", 0.50, ratio(f"{PLAIN} (Ceph https)", "wall", "restic backup"), quick=0)
    yield Target(f"{BACKUP}, Ceph https: wall / restic's", 0.60, ratio(f"{BACKUP} (Ceph https)", "wall", "restic backup"), quick=0)
    yield Target(f"{BACKUP}, Ceph https: peak RSS / restic's", 1.0, ratio(f"{BACKUP} (Ceph https)", "rss", "restic backup"), quick=0)
    yield Target("restore, Ceph https: wall / restic's", 0.50, ratio("restore (Ceph https)", "wall", "restic restore"), quick=0)


def restore_targets(store):
    yield Target(f"restore, {store}: peak RSS", 128, figure(f"restore ({store})", "rss"), "MiB", exact=True)
    yield Target(f"restore, {store}: CPU / (zstd -d > /dev/null + SHA-256)", 1.25,
                 ratio(f"restore ({store})", "cpu", "zstd -d > /dev/null", "SHA-256"), quick=4)
    yield Target(f"restore, {store}: CPU / (zstd -d to files + SHA-256)", 1.25,
                 ratio(f"restore ({store})", "cpu", "zstd -d to files, synced", "SHA-256"))
    yield Target(f"verify --read-data, {store}: wall / restore's", 1.0, ratio(f"verify --read-data ({store})", "wall", f"restore ({store})"), quick=3)


def busy_targets(store):
    for row in (PLAIN, BACKUP, "restore", "verify --read-data"):
        yield Target(f"{row}, {store}: wall / (CPU of both sides / {CORES})", 1.15, busy(f"{row} ({store})"), quick=0)


def many_targets(store, wall_s, chunks=10000):
    row = f"{chunks:,} chunks, no change ({store})"
    yield Target(f"{row}: wall", wall_s, figure(row, "wall"), "s", quick=5)
    yield Target(f"{row}: requests", 16, figure(row, "requests"), exact=True)
    yield Target(f"{row}: peak RSS", 64, figure(row, "rss"), "MiB", exact=True)


def grows_with_change(store, small, large):
    """A run that found three changed chunks, in nodes of very different size.

    The manifest's lines go up again in segments of 4,096 lines and more (docs/PERFORMANCE.md, "How a run grows"): 160 bytes a
    chunk in a small node, a bounded sum for each changed chunk in a large one. The issue gives no figure; these are 1.9 times
    what was measured when it was written.
    """
    rows = [f"{size:,} chunks, 3 changed ({store})" for size in (small, large)]
    yield Target(f"3 changed of {large:,} and of {small:,}, {store}: requests", 1.5, ratio(rows[1], "requests", rows[0]))
    yield Target(f"{rows[1]}: sent for each changed one", min(1, large / 10000),
                 lambda table: [run.stored / 3 / (1 << 20) for run in table.of(rows[1]).values()], "MiB", exact=True)


def list_targets():
    yield Target("list of 1,000 snapshots, file: wall", 0.5, figure("list of 1,000 snapshots", "wall"), "s", quick=5)
    yield Target("list of 1,000 snapshots, file: peak RSS", 32, figure("list of 1,000 snapshots", "rss"), "MiB", exact=True)


def full(stores=("Ceph", "file")):
    targets = []
    for store in stores:
        targets += backup_targets(store)
        if store == "Ceph":
            targets += restic_targets()
        targets += restore_targets(store)
        targets += many_targets(store, 1.5 if store == "Ceph" else 1.0)
        targets += grows_with_change(store, 100, 10000)
        targets += busy_targets(store)
    return targets + list(list_targets())


def quick(stores=("Ceph", "file")):
    """The same with room: a collapse is seen, a busy machine is not. What no machine changes keeps its limit."""
    targets = []
    for store in stores:
        targets += [*backup_targets(store), *restore_targets(store)]
        targets += many_targets(store, 1.5 if store == "Ceph" else 1.0, 1000 if store == "Ceph" else 10000)
        targets += grows_with_change(store, 100, 1000)
    return [t for t in [*targets, *list_targets()] if t.quick]


def judge(targets, runs, quick_limits=False):
    table, verdicts = Table(runs), []
    for target in targets:
        limit = target.limit * (target.quick if quick_limits and not target.exact else 1)
        try:
            verdicts.append(Verdict(target, limit, target.measure(table)))
        except Missing as missing:
            verdicts.append(Verdict(target, limit, None, str(missing)))
    return verdicts
