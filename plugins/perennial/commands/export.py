"""Hand over the lists of a day that is planned, or show what would be handed over.

perennial export            all destinations, as the chain does it; run again it sends only what is new
perennial export --dry-run  the difference of each list, with who would be removed; nothing is sent or asked
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.contracts.records import DayRun
    from perennial.core.settings import Settings

_SUMS = ("size", "sent", "rejected", "skipped", "pending")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--dry-run", action="store_true", help="show the difference, with removals; send nothing")
    parser.add_argument("--destination", metavar="NAME", help="the lists of one destination alone")
    parser.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: the newest)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Export, or tell what an export would do."""
    from perennial.commands.days import newest_run
    from perennial.core.settings import load_settings

    settings = load_settings()
    day_run = newest_run(settings, args.as_of, "planned")
    if args.dry_run:
        return _dry_run(settings, day_run, args)
    return _export(settings, day_run, args)


def _export(settings: Settings, day_run: DayRun, args: argparse.Namespace) -> int:
    from perennial.pipeline.export import Options, export

    lists = export(settings, day_run, Options(only=args.destination))
    if args.json:
        output.print_json({"run_id": day_run.run_id, "lists": lists})
        return 0
    rows = [(one.list_id, *(getattr(one, name) for name in _SUMS), _words(one.reasons)) for one in lists]
    output.print_table(("list", *_SUMS, "because"), rows, title=f"Lists of {day_run.as_of}")
    return 0


def _dry_run(settings: Settings, day_run: DayRun, args: argparse.Namespace) -> int:
    from perennial.pipeline.export.differences import differences

    found = differences(settings, day_run, only=args.destination)
    if args.json:
        output.print_json({"run_id": day_run.run_id, "differences": found})
        return 0
    names = ("add", "update", "remove", "rejected", "skipped", "pending")
    rows = [
        (one.list_name, one.destination, *(getattr(one, name) for name in names), _words(one.reasons)) for one in found
    ]
    title = f"What an export of {day_run.as_of} would do (nothing was sent)"
    output.print_table(("list", "goes to", *names, "because"), rows, title=title)
    for one in found:
        for client_id, why in one.removals:
            print(f"{one.list_name}: {client_id} would be removed: {why}")
        if one.asks:
            print(f"{one.list_name}: a person would be asked first ({', '.join(one.asks)})")
    return 0


def _words(reasons: dict[str, int]) -> str:
    return ", ".join(f"{code} {rows:,}" for code, rows in sorted(reasons.items()))
