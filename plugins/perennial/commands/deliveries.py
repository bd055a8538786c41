"""What became of rows that were handed to tools.

perennial deliveries unknown            rows of which nobody knows whether the tool took them: they wait for a person
perennial deliveries settle LIST --as   say what became of them: accepted, or not_sent (the next export sends them)
perennial deliveries rejects            the sheet of rejected rows: who (masked), why, what to mend, tried again or not
perennial deliveries start LIST         begin the send of a list that was filled, once (tools that can)

Each speaks JSON with --json.
"""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ACTIONS = {
    "unknown": "rows of which nobody knows whether the tool took them: they wait for a person",
    "settle": "say what became of the unknown rows of a list, after a look in the tool",
    "rejects": "the sheet of a date's rejected rows: who (masked), why, what to mend",
    "start": "begin the send of a list that was filled; done once, never by itself (L18)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = parsers.add_parser(name, help=text, description=text)
        if name in ("settle", "start"):
            action.add_argument("list_id", metavar="LIST", help="as in `perennial deliveries unknown`")
        if name == "settle":
            action.add_argument("--as", dest="outcome", required=True, choices=("accepted", "not_sent"))
        if name == "start":
            action.add_argument("--by", default=None, metavar="NAME", help="who begins it (default: the user here)")
        if name == "rejects":
            action.add_argument("--as-of", type=output.day, metavar="DATE", help="the date (default: the newest)")
            action.add_argument("--to", type=Path, metavar="FILE", help="write a CSV that a spreadsheet opens")
        output.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    from perennial.core.settings import load_settings

    actions = {"unknown": _unknown, "settle": _settle, "rejects": _rejects, "start": _start}
    return actions[args.action](load_settings(), args)


def _unknown(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.pushes import unknown_rows

    rows = unknown_rows(open_ledger(settings))
    if args.json:
        output.print_json({"unknown": rows})
    elif not rows:
        print("Of every row that was handed over it is known what became of it.")
    else:
        names = ("list_id", "destination", "action", "rows", "since")
        output.print_table(names, [tuple(row[name] for name in names) for row in rows], title="Unknown rows")
        print("Look in the tool, then: perennial deliveries settle LIST --as accepted|not_sent")
    return 0


def _settle(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.core.errors import PermanentError, Problem
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.pushes import settle_unknown

    rows = settle_unknown(open_ledger(settings), args.list_id, as_accepted=args.outcome == "accepted")
    if not rows:
        raise PermanentError(Problem(args.list_id, "it has no unknown rows", "see `perennial deliveries unknown`"))
    if args.json:
        output.print_json({"list_id": args.list_id, "rows": rows, "as": args.outcome})
    elif args.outcome == "accepted":
        print(f"{args.list_id}: {rows:,} rows count as delivered.")
    else:
        print(f"{args.list_id}: {rows:,} rows were not sent; the next export of the day sends them.")
    return 0


def _rejects(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_run
    from perennial.pipeline.export.rejects import COLUMNS, rejects, write_sheet

    as_of = newest_run(settings, args.as_of, "planned").as_of
    if args.to is not None:
        rows = write_sheet(settings, as_of, args.to)
        print(f"{args.to}: {rows:,} rejected rows of {as_of}")
        return 0
    found = list(rejects(settings, as_of))
    if args.json:
        output.print_json({"as_of": as_of, "rejects": [dict(zip(COLUMNS, row, strict=True)) for row in found]})
    elif not found:
        print(f"No row of {as_of} was rejected.")
    else:
        output.print_table(COLUMNS, found, title=f"Rejected rows of {as_of}")
    return 0


def _start(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.export.starting import start

    ids = start(settings, args.list_id, by=args.by or getpass.getuser())
    if args.json:
        output.print_json({"list_id": args.list_id, "started": ids})
    else:
        told = ", ".join(f"{name} {value}" for name, value in sorted(ids.items()))
        print(f"{args.list_id}: the send has begun ({told}).")
    return 0
