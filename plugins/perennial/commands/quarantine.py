"""Rows that the gate set aside: what waits, why, and what becomes of it.

perennial quarantine list
perennial quarantine show 3f2a91c0d5e6b7a8
perennial quarantine export 3f2a --to bad.csv      correct the values in it, then:
perennial quarantine replay 3f2a --from bad.csv
perennial quarantine replay shop.sales             after the contract in sources.yml was corrected
perennial quarantine drop 3f2a:17 --note "test order"

A batch is named by the beginning of its id; BATCH:LINE (or BATCH:FILE:LINE) is one row. Replayed rows are a batch of
their own, which the next build picks up. list, show and replay take --json.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings
    from perennial.pipeline.quarantine import BadRow
    from perennial.pipeline.replay import Replayed

_ROWS_SHOWN = 20
_NOTE_LENGTH = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|export|replay|drop")
    output.add_json(actions.add_parser("list", help="by source entity, batch and rule: rows, share, age"))
    show = actions.add_parser("show", help="rows with file and line, every reason with its fix, raw values")
    show.add_argument("what", metavar="BATCH[:LINE]")
    show.add_argument("--unmasked", action="store_true", help="personal values too, as they landed")
    show.add_argument("--limit", type=int, default=_ROWS_SHOWN, metavar="N", help=f"default: {_ROWS_SHOWN}")
    output.add_json(show)
    export = actions.add_parser("export", help="the bad rows as CSV, in the source's own columns, to be corrected")
    export.add_argument("what", metavar="BATCH|SOURCE.ENTITY")
    export.add_argument("--to", type=Path, required=True, metavar="FILE.csv")
    replay = actions.add_parser("replay", help="corrected rows, or all under the corrected contract, once more")
    replay.add_argument("what", metavar="BATCH|SOURCE.ENTITY")
    replay.add_argument(
        "--from", dest="corrected", type=Path, metavar="FILE.csv", help="an export, with its values corrected"
    )
    output.add_json(replay)
    drop = actions.add_parser("drop", help="nobody will mend these rows; who, when and why is kept")
    drop.add_argument("what", metavar="BATCH[:LINE]|SOURCE.ENTITY")
    drop.add_argument("--note", required=True, type=_note, help="why")
    drop.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from perennial.core.settings import load_settings

    actions = {"list": _list, "show": _show, "export": _export, "replay": _replay, "drop": _drop}
    return actions[args.action](load_settings(), args)


def _note(text: str) -> str:
    if not text.strip() or len(text) > _NOTE_LENGTH:
        raise argparse.ArgumentTypeError(f"say why, in 1 to {_NOTE_LENGTH} characters")
    return text.strip()


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.quarantine import waiting

    found = waiting(settings)
    if args.json:
        output.print_json(found)
    elif not found:
        print("nothing waits in quarantine")
    else:
        columns = ("source entity", "batch", "state", "as of", "rows", "of batch", "age, days", "oldest", "rule")
        output.print_table(
            columns,
            [
                (f"{w.source}.{w.entity}", w.batch_id, w.state, w.as_of, w.rows, f"{w.share:.2%}", w.age_days,
                 f"{w.oldest:%Y-%m-%d %H:%M}", w.rule)
                for w in found
            ],
        )  # fmt: skip
        print("A row that breaks several rules counts under each. `perennial quarantine show BATCH` tells the rows.")
    return 0


def _show(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.quarantine import rows, select

    chosen = select(settings, args.what)
    found = rows(settings, chosen, masked=not args.unmasked)
    if args.unmasked:
        sys.stderr.write("personal values are shown as they landed: do not keep or pass on this output\n")
    if args.json:
        output.print_json(list(islice(found, max(args.limit, 1))))
        return 0
    shown = 0
    for row in islice(found, max(args.limit, 1)):
        _print_row(row)
        shown += 1
    left = sum(1 for _row in found)
    if left:
        print(f"... and {left:,} more: --limit shows more than {shown} rows")
    if not shown:
        for one in chosen.batches:
            print("\n".join(one.reasons) or f"no row of batch {one.batch_id} waits")
    return 0


def _print_row(row: BadRow) -> None:
    print(output.plain_text(f"{row.file}:{row.line}"))
    for reason in row.reasons:
        print(output.plain_text(f"  {reason}"))
    values = ", ".join(f"{name}={value}" for name, value in row.raw.items() if value is not None)
    print(output.plain_text(f"  values: {values}"))


def _export(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.quarantine import export, select

    chosen = select(settings, args.what)
    rows = export(settings, chosen, args.to)
    print(f"{rows:,} rows are in {args.to}, readable by you alone: personal values stand in it as they landed.")
    print("Correct the values, leave the columns that begin with _, then:")
    print(f"  perennial quarantine replay {args.what} --from {args.to}")
    return 0


def _replay(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.quarantine import select
    from perennial.pipeline.replay import replay

    done = replay(settings, select(settings, args.what), corrected=args.corrected, by=getpass.getuser())
    if args.json:
        output.print_json(done)
    else:
        for one in done:
            _tell(one)
        if not done:
            print(f"no row of {args.what} is in {args.corrected}")
    return 0


def _tell(one: Replayed) -> None:
    if one.batch is not None:
        b = one.batch
        print(
            f"batch {b.batch_id} replays {b.landed:,} rows of {one.origin}: {b.loaded:,} loaded,"
            f" {b.quarantined:,} still bad, {b.duplicate:,} duplicate. The next build picks it up (`perennial run`)."
        )
    if one.unchanged:
        print(f"{one.unchanged:,} rows of {one.origin} are as bad as before, and wait where they were")
    if one.settled:
        print(f"{one.settled:,} rows of {one.origin} had been replayed or dropped before")
    for reason in one.reasons:
        print(output.plain_text(f"  {reason}"))


def _drop(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.quarantine import drop, rows, select

    chosen = select(settings, args.what)
    count = sum(1 for _row in rows(settings, chosen, masked=True))
    if not args.yes and not _confirmed(f"Drop {count:,} rows of {args.what} for good? Type yes: "):
        sys.stderr.write("nothing was dropped; --yes does not ask\n")
        return 1
    dropped = drop(settings, chosen, note=args.note, by=getpass.getuser())
    print(f"{dropped:,} rows of {args.what} are dropped; the ledger keeps who, when and why")
    return 0


def _confirmed(question: str) -> bool:
    return sys.stdin.isatty() and input(question).strip().lower() == "yes"
