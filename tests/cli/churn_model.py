# SPDX-License-Identifier: Apache-2.0
"""A model of shared packs under change: which packs a run empties (src/backup/sparse.c), what prune then frees, and what it costs.

Files are of one size; a snapshot names the newest place of each. Figures of the rule come from the sources. By hand: the table of
docs/internals/directory.md, or with words like share=0.6 least=1 slack=1.25 that of another rule.
"""
import random
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATTERNS = {    # share of the files that run n changes
    "0.1 %": lambda n, rnd: 0.001,
    "1 %": lambda n, rnd: 0.01,
    "5 %": lambda n, rnd: 0.05,
    "20 %": lambda n, rnd: 0.2,
    "0.1 %, 20 % in turn": lambda n, rnd: 0.2 if n % 2 else 0.001,
    "every fifth 20 %": lambda n, rnd: 0.2 if n % 5 == 0 else 0.001,
    "three of ten 20 %": lambda n, rnd: 0.2 if n % 10 < 3 else 0.01,
    "any of them": lambda n, rnd: rnd.choice((0.001, 0.01, 0.05, 0.2)),
}


def constant(file, name):
    return eval(re.search(rf"\b{name} = ([0-9 *]+)", (SOURCE / file).read_text()).group(1))


class Rule:
    def __init__(self, **other):
        self.slack = constant("repo/line.h", "CF_PACKS_SLACK_PERCENT") / 100
        self.worn = constant("repo/line.h", "CF_PACK_WORN_PERCENT") / 100
        self.sparse = constant("repo/line.h", "CF_PACK_SPARSE_PERCENT") / 100
        self.share = constant("backup/sparse.c", "CF_SPARSE_SHARE_PERCENT") / 100
        self.least = constant("backup/sparse.c", "CF_SPARSE_LEAST_BYTES") / 2**26       # packs
        self.looked = constant("backup/sparse.c", "CF_SPARSE_TOTAL_MAX")
        self.__dict__.update(other)


class Node:
    def __init__(self, rule, files, packs, seed):
        self.rule, self.files, self.room = rule, files, max(1, files // packs)
        self.rnd = random.Random(seed)
        self.order = list(range(files))
        self.rnd.shuffle(self.order)        # by path; what changes often stands anywhere in it
        self.rank = {file: at for at, file in enumerate(self.order)}
        self.where, self.members, self.size = [0] * files, [], []
        self.alive = set()                  # packs that the newest snapshot names
        self.gone, self.deaths = [], []     # (run that let go of it, pack); places given up, by run
        self.put(self.order)
        self.sent = files

    def put(self, files):
        for file in files:
            if file == files[0] or self.size[-1] == self.room:
                self.alive.add(len(self.size))
                self.members.append(set())
                self.size.append(0)
            self.where[file] = len(self.size) - 1
            self.members[-1].add(file)
            self.size[-1] += 1

    def chosen(self):
        """candidates_choose()"""
        used = {p: len(self.members[p]) for p in self.alive}
        stored, left = sum(self.size[p] for p in self.alive), max(self.rule.share * self.sent, self.rule.least * self.room)
        out = []
        for p in sorted((p for p in used if used[p] < self.rule.worn * self.size[p]), key=lambda p: used[p] / self.size[p])[:self.rule.looked]:
            if (stored > self.rule.slack * self.files or used[p] < self.rule.sparse * self.size[p]) and used[p] <= left:
                left -= used[p]
                stored -= self.size[p] - used[p]
                out.append(p)
        return out

    def run(self, n, share, skewed, kept):
        """(stored against live bytes, files changed, files sent)"""
        hot = self.files // 10
        changed = {self.rnd.randrange(hot if skewed and self.rnd.random() < 0.9 else self.files) for _ in range(max(1, int(self.files * share)))}
        send = changed.union(*(self.members[p] for p in self.chosen()))
        for file in send:
            p = self.where[file]
            self.members[p].discard(file)
            if not self.members[p]:
                self.alive.discard(p)
                self.gone.append((n, p))
        self.deaths.append(len(send))
        self.put(sorted(send, key=self.rank.__getitem__))
        self.sent = len(send)
        self.gone = [(m, p) for m, p in self.gone if m > n - kept + 1]      # run m - 1 named it last
        stored = sum(self.size[p] for p in self.alive) + sum(self.size[p] for _, p in self.gone)
        return stored / (self.files + sum(self.deaths[max(0, n - kept + 1):])), len(changed), len(send)


def churn(rule, pattern, skewed, packs, kept=1, files=4000, runs=60, seed=4):
    """(worst ratio, sent against changed, most sent again by one run as a share of the node)"""
    node = Node(rule, files, packs, seed)
    seen = [node.run(n, pattern(n, node.rnd), skewed, kept) for n in range(1, runs + 1)]
    return max(s[0] for s in seen), sum(s[2] for s in seen) / sum(s[1] for s in seen), max(s[2] - s[1] for s in seen) / files


def main(words):
    rule = Rule(**{k: float(v) for k, v in (w.split("=") for w in words)})
    columns = [(skewed, packs, kept) for skewed in (False, True) for packs, kept in ((2, 1), (5, 1), (50, 1), (50, 10), (500, 1))]
    print("stored/live, sent/changed, most again in one run;", *(f"{'skewed' if s else 'even'} {p} packs {k} kept;" for s, p, k in columns))
    for name, pattern in PATTERNS.items():
        print(f"{name:20}", *("%.2f %.1f %3.0f%%;" % (r[0], r[1], 100 * r[2]) for r in (churn(rule, pattern, *c, files=20000) for c in columns)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
