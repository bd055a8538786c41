"""The campaigns of a day: candidates, who was refused by which rule, control, target, value expected, and the lists."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_COUNTS = ("size", "sent", "rejected", "skipped", "pending")
_RULES_SHOWN = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: the newest)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the campaigns and lists of the day."""
    from perennial.core.settings import load_settings

    settings = load_settings()
    if args.json:
        output.print_json(read(settings, args.as_of))
    else:
        show(settings, args.as_of)
    return 0


def read(settings: Settings, as_of: date | None = None) -> dict[str, Any]:
    """The run, its campaigns with their counts by outcome and rule (L7), and the day's lists (L15).

    `as_of` None is the newest day that was planned. Raises ContractViolation when there is no such day.
    """
    from perennial.commands.days import newest_run
    from perennial.pipeline.plan import campaign_summary

    day_run = newest_run(settings, as_of, "planned")
    return {
        "as_of": day_run.as_of,
        "run_id": day_run.run_id,
        "currency": settings.company.currency,
        "campaigns": campaign_summary(settings, day_run),
        "lists": _lists(settings, day_run.as_of),
        "waiting": _waiting(settings, day_run.as_of),
    }


def show(settings: Settings, as_of: date | None = None) -> None:
    """Print the day's campaigns as a table, and where their lists are."""
    found = read(settings, as_of)
    columns = ("campaign", "candidates", "refused", "control", "target", "value", "refused by, or note")
    rows = [
        (
            *(one.campaign_id, one.candidates, sum(one.refused.values()), one.control, one.target),
            *(one.expected_value, one.note or _rules(one.refused)),
        )
        for one in found["campaigns"]
    ]
    title = f"Campaigns of {found['as_of']} (expected value in {found['currency']})"
    output.print_table(columns, rows, title=title)
    for one in found["campaigns"]:
        if one.test:
            print(f"test of {one.campaign_id}: {one.test}")
    for one in found["waiting"]:
        _tell_waiting(one, found["as_of"])
    if not found["lists"]:
        print("No list was handed over for this day.")
        return
    rows = [
        (one["campaign_id"], one["channel"], one["state"], *(one[name] for name in _COUNTS), _rules(one["reasons"]))
        for one in found["lists"]
    ]
    output.print_table(("campaign", "channel", "state", *_COUNTS, "because"), rows, title="Lists")
    for one in found["lists"]:
        for code, rows in one["reasons"].items():
            print(f"{one['campaign_id']}__{one['channel']}: {rows:,} {_in_words(code)}")
        if one["path"]:
            print(output.relative(Path(one["path"])))


def _in_words(code: str) -> str:
    from perennial.delivery.reasons import REASONS

    return f"not sent: {REASONS[code].sentence()}" if code in REASONS else f"not sent: {code}"


def _waiting(settings: Settings, as_of: date) -> list[dict[str, Any]]:
    """The lists that wait for a person: why, what she sees of them, and until when."""
    from perennial.ledger.approvals import questions
    from perennial.ledger.engine import open_ledger

    asked = [one for one in questions(open_ledger(settings), as_of=as_of) if not one.is_expired]
    names = ("campaign_id", "channel", "destination", "why", "view", "expires_at")
    return [{name: getattr(one, name) for name in names} for one in asked]


def _tell_waiting(one: dict[str, Any], as_of: date) -> None:
    view = one["view"]
    shown = ", ".join(f"{name.replace('_', ' ')} {view[name]}" for name in ("size", "add", "cost") if name in view)
    until = f"{one['expires_at']:%Y-%m-%d %H:%M} UTC"
    why = ", ".join(one["why"])
    print(
        f"{one['campaign_id']}__{one['channel']} of {as_of} waits for an answer until {until} ({why}; {shown}): "
        "the page Lists in Airflow, or `perennial approve`"
    )


def _lists(settings: Settings, as_of: date) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.tables import lists

    names = ("list_id", "run_id", "campaign_id", "channel", "destination", "state", *_COUNTS, "reasons", "path")
    query = sa.select(*(lists.c[name] for name in names)).where(lists.c.as_of == as_of).order_by(lists.c.list_id)
    with open_ledger(settings).connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [{**row, "path": str(settings.home / row["path"]) if row["path"] else None} for row in rows]


def _rules(refused: dict[str, int]) -> str:
    first = [f"{rule} {clients:,}" for rule, clients in list(refused.items())[:_RULES_SHOWN]]
    return ", ".join(first) + (", ..." if len(refused) > _RULES_SHOWN else "")
