"""The campaigns of a day: candidates, who was refused by which rule, control, target, value expected, and the lists."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_OUTCOMES = "campaign_outcomes"
_BY_CAMPAIGN = f"""
    select
        campaign_id, outcome, rule, count(*) as clients,
        sum(value) filter (where outcome = 'target') as value,
        sum(cost) filter (where outcome = 'target') as cost
    from {_OUTCOMES} where as_of_date = ? group by campaign_id, outcome, rule
    order by campaign_id, outcome, count(*) desc, rule
"""
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
        as_of, campaigns = read(settings, args.as_of)
        output.print_json({"as_of": as_of, "campaigns": campaigns})
        return 0
    show(settings, args.as_of)
    return 0


def read(settings: Settings, as_of: date | None = None) -> tuple[date, list[dict[str, Any]]]:
    """The date, and its campaigns with their counts by outcome and rule (L7) and their lists (L15).

    `as_of` None is the newest date that was planned. Raises ContractViolation when that date was not planned.
    """
    from perennial.warehouse.reader import open_published

    with open_published(settings) as published:
        if _OUTCOMES not in published.tables():
            raise _not_planned(as_of)
        planned = published.query(f"select max(as_of_date) as day from {_OUTCOMES}").to_pylist()[0]["day"]
        wanted = as_of or planned
        outcomes = published.query(_BY_CAMPAIGN, [wanted]).to_pylist() if wanted else []
    if not outcomes:
        raise _not_planned(wanted)
    return wanted, _campaigns(outcomes, _lists(settings, wanted))


def show(settings: Settings, as_of: date | None = None) -> None:
    """Print the day's campaigns as a table, and where their lists are."""
    wanted, campaigns = read(settings, as_of)
    columns = ("campaign", "candidates", "refused", "control", "target", "value", "cost", "refused because")
    rows = [
        (
            *(one["campaign_id"], one["candidates"], sum(one["refused"].values()), one["control"], one["target"]),
            *(one["value"], one["cost"], _reasons(one["refused"])),
        )
        for one in campaigns
    ]
    currency = settings.company.currency
    output.print_table(columns, rows, title=f"Campaigns of {wanted} (value expected and cost in {currency})")
    lists = [one for campaign in campaigns for one in campaign["lists"]]
    if not lists:
        print("No list was handed over: nothing new for this day.")
        return
    columns = ("list", "state", "size", "sent", "rejected", "skipped", "pending", "path")
    output.print_table(columns, [[*(one[name] for name in columns[:-1]), _place(one)] for one in lists], title="Lists")


def _campaigns(outcomes: list[dict[str, Any]], lists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in outcomes:
        name = row["campaign_id"]
        _count_in(found.setdefault(name, _no_client_yet(name)), row)
    for one in lists:
        if one["campaign_id"] in found:
            found[one["campaign_id"]]["lists"].append(one)
    return list(found.values())


def _no_client_yet(campaign_id: str) -> dict[str, Any]:
    counts = {"candidates": 0, "target": 0, "control": 0, "refused": {}}
    return {"campaign_id": campaign_id, **counts, "value": 0.0, "cost": 0.0, "lists": []}


def _count_in(campaign: dict[str, Any], row: dict[str, Any]) -> None:
    campaign["candidates"] += row["clients"]
    if row["outcome"] == "refused":
        campaign["refused"][row["rule"]] = row["clients"]
    else:
        campaign[row["outcome"]] += row["clients"]
    campaign["value"] += row["value"] or 0.0
    campaign["cost"] += row["cost"] or 0.0


def _lists(settings: Settings, as_of: date) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.tables import lists

    kept = ("list_id", "campaign_id", "channel", "state", "size", "sent", "rejected", "skipped", "pending", "reasons")
    query = sa.select(lists).where(lists.c.as_of == as_of).order_by(lists.c.list_id)
    with open_ledger(settings).connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        {
            "list": row["list_id"],
            **{name: row[name] for name in kept if name != "list_id"},
            "path": str(settings.home / row["path"]) if row["path"] else None,
        }
        for row in rows
    ]


def _reasons(refused: dict[str, int]) -> str:
    first = [f"{rule} {clients:,}" for rule, clients in list(refused.items())[:_RULES_SHOWN]]
    return ", ".join(first) + (", ..." if len(refused) > _RULES_SHOWN else "")


def _place(one: dict[str, Any]) -> str:
    return output.relative(Path(one["path"])) if one["path"] else ""


def _not_planned(as_of: date | None) -> Exception:
    from perennial.core.errors import ContractViolation, Problem

    day = f"of {as_of} " if as_of else ""
    return ContractViolation(
        Problem(
            "lists", f"no campaign {day}was planned in what is published", "run the day: perennial run --as-of DATE"
        )
    )
