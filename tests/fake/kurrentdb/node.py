#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line of the fake node; see README.md for every verb."""

import argparse
import json
import os
import sys
import time

sys.dont_write_bytecode = True
if __package__ in (None, ""):
    sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

from kurrentdb import making, serving                                   # noqa: E402
from kurrentdb.database import (Database, NodeError, Options,                # noqa: E402
                                truncate_on_start)   # noqa: E402


def _add_common(parser):
    parser.add_argument("--db", required=True)
    parser.add_argument("--index")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--table-pause-ms", type=int, default=0)


def _add_making(parser):
    _add_common(parser)
    parser.add_argument("--chunk-size", type=int, default=1 << 20)
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--layout", choices=("23.10", "24.10", "25"), default="24.10")
    parser.add_argument("--filter-size", type=int, default=10_000)
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--scavenged", metavar="A-B")
    parser.add_argument("--epoch-id")
    parser.add_argument("--transform", type=int, default=0)
    parser.add_argument("--empty-chunks", action="store_true")
    parser.add_argument("--scavenging-db", choices=("stopped", "running"))
    parser.add_argument("--tag", action="store_true")
    parser.add_argument("--no-filter", action="store_true")
    parser.add_argument("--clean-stop", action="store_true")


def _add_serving(parser):
    _add_common(parser)
    parser.add_argument("--control", required=True)
    parser.add_argument("--rate-bytes", type=int, default=0)
    parser.add_argument("--chunk-size", type=int, default=1 << 20)
    parser.add_argument("--layout", choices=("23.10", "24.10", "25"), default="24.10")
    parser.add_argument("--filter-size", type=int, default=10_000)
    parser.add_argument("--mem-table", type=int, default=1000)
    parser.add_argument("--filter-ms", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64 * 1024)
    parser.add_argument("--settle", action="store_true")
    parser.add_argument("--no-epoch", action="store_true")


def _parser():
    parser = argparse.ArgumentParser(prog="node.py", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    _add_making(verbs.add_parser("make"))
    _add_serving(verbs.add_parser("serve"))
    append = verbs.add_parser("append")
    _add_common(append)
    append.add_argument("--bytes", type=int, required=True)
    for name in serving.VERBS:
        if name not in ("append", "stop", "pause", "resume", "lag", "hold-chaser",
                        "scavenging-db"):
            verb = verbs.add_parser(name)
            _add_common(verb)
            verb.add_argument("words", nargs="*")
    return parser


def _one_verb(args):
    """The same verb as in the control protocol, on a stopped directory."""
    if args.verb not in ("status", "truncate-pending"):
        truncate_on_start(args.db)
    options = Options(seed=args.seed, pause_s=args.table_pause_ms / 1000)
    database = Database(args.db, args.index, options)
    words = [str(args.bytes)] if args.verb == "append" else args.words
    try:
        print(serving.run_verb(database, args.verb, words))
    finally:
        database.close()


def main():
    args = _parser().parse_args()
    started = time.monotonic()
    try:
        if args.verb == "make":
            print(json.dumps(making.make(args)))
        elif args.verb == "serve":
            serving.serve(args)
        else:
            _one_verb(args)
    except (NodeError, ValueError) as error:
        print("node.py: %s" % error, file=sys.stderr)
        return 1
    if os.environ.get("FAKE_TIMES"):
        print("%.2f s" % (time.monotonic() - started), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
