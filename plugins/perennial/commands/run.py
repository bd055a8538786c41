"""The chain of a day without the scheduler: ingest, build, publish, train if due, score, plan, export.

A past date is computed from what it was computed from before, and nothing of it is pushed; --to shows its lists.
Exit code 0 when the day is done, 4 when nothing was run and something that landed was refused, 75 when files are
missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.contracts.records import BatchReport, ListReport
    from perennial.pipeline.day import DayResult

_DONE, _REFUSED, _WAITING = 0, 4, 75
_COUNTS = ("landed", "loaded", "quarantined", "duplicate")
_SUMS = ("size", "sent", "rejected", "skipped", "pending")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--as-of", type=output.day, metavar="DATE", help="the business date (default: the latest complete day)"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="also write the day's lists into this new folder, as if none was sent"
    )
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the day and tell what each step did."""
    from perennial.core.settings import load_settings
    from perennial.pipeline.day import run_day
    from perennial.pipeline.export import render

    settings = load_settings()
    result = run_day(settings, args.as_of)
    written = render(settings, result.run, args.to) if args.to is not None and result.run is not None else []
    _warn(result)
    if args.json:
        output.print_json(_as_data(result, written))
    else:
        _show(result, written)
    return _code(result)


def _code(result: DayResult) -> int:
    if result.steps:
        return _DONE
    if any(batch.state == "refused" for batch in result.batches):
        return _REFUSED
    return _DONE if result.run is not None else _WAITING


def _warn(result: DayResult) -> None:
    for batch in result.batches:
        for text in (*batch.reasons, *batch.warnings):
            sys.stderr.write(f"{batch.source}.{batch.entity} {batch.state}: {text}\n")


def _as_data(result: DayResult, written: list[ListReport]) -> dict[str, Any]:
    return {
        "run": result.run,
        "batches": result.batches,
        "steps": result.steps,
        "lists": result.lists,
        "written": written,
        "notes": result.notes,
        "seconds": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
    }


def _show(result: DayResult, written: list[ListReport]) -> None:
    if result.batches:
        rows = [_batch_row(batch) for batch in result.batches]
        output.print_table(("source", "entity", "as of", "state", *_COUNTS), rows, title="Batches")
    if result.seconds:
        output.print_table(("step", "seconds"), list(result.seconds.items()), title="Steps")
    for note in (*(note for step in result.steps for note in step.notes), *result.notes):
        print(note)
    for title, lists in (("Lists", result.lists), ("Written, not sent", written)):
        if lists:
            rows = [_list_row(one) for one in lists]
            output.print_table(("campaign", "channel", *_SUMS, "path"), rows, title=title)
    if result.run is not None:
        print(f"{result.run.run_id} is {result.run.state}")


def _batch_row(batch: BatchReport) -> tuple[Any, ...]:
    counts = (getattr(batch, name) for name in _COUNTS)
    return batch.source, batch.entity, batch.as_of, batch.state, *counts


def _list_row(one: ListReport) -> tuple[Any, ...]:
    return one.campaign_id, one.channel, *(getattr(one, name) for name in _SUMS), one.path
