"""What campaigns have earned against their control groups: the difference, its interval, and a plain verdict.

perennial results
perennial results --campaign retention
perennial results --as-of 2017-10-01 --json
"""

from __future__ import annotations

import argparse
from datetime import date
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_TABLE = "fct_campaign_results"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--campaign", metavar="ID", help="every metric of one campaign (default: each one's headline)")
    parser.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: the newest)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the results of the day."""
    from perennial.core.settings import load_settings

    settings = load_settings()
    found = read(settings, args.as_of, args.campaign)
    if args.json:
        output.print_json(found)
    else:
        _show(found, settings.company.currency)
    return 0


def read(settings: Settings, as_of: date | None = None, campaign: str | None = None) -> list[dict[str, Any]]:
    """The rows of the newest measured day, or of `as_of`: each campaign's headline, or every metric of one campaign."""
    from perennial.commands.days import newest_run
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import published_version
    from perennial.warehouse.engine import open_published

    day_run = newest_run(settings, as_of, "scored")
    with open_published(settings, published_version(open_ledger(settings), day_run.run_id)) as published:
        if _TABLE not in published.tables():
            return []
        wanted = "campaign_id = $campaign" if campaign else "is_headline"
        params: dict[str, Any] = {"day": day_run.as_of} | ({"campaign": campaign} if campaign else {})
        rows: list[dict[str, Any]] = published.query(
            f"select * from {_TABLE} where as_of_date = cast($day as date) and {wanted} "
            "order by campaign_id, arm, metric",
            params,
        ).to_pylist()
    return rows


def _show(rows: list[dict[str, Any]], currency: str) -> None:
    if not rows:
        print("Nothing is measured yet: a campaign is, from the day after it has first picked clients.")
        return
    columns = (
        "campaign",
        "arm",
        "metric",
        "clients",
        "control",
        "open",
        "per client",
        "95 % interval",
        "in all",
        "verdict",
    )
    output.print_table(columns, [_line(row) for row in rows], title=f"Against control (money in {currency})")
    for row in rows:
        if row["profit"] is not None:
            left = f"{row['profit']:+,.0f} ({row['profit_low']:+,.0f} to {row['profit_high']:+,.0f})"
            print(f"{row['campaign_id']}, {row['arm']}: cost {row['cost']:,.0f} {currency}, left of the margin {left}")
        if row["note"]:
            print(f"{row['campaign_id']}, {row['metric']}: {row['note']}")


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    known = row["difference"] is not None
    return (
        *(row[name] for name in ("campaign_id", "arm", "metric", "target_clients", "control_clients", "open_clients")),
        f"{row['difference']:+,.3f}" if known else "",
        f"{row['low']:+,.3f} to {row['high']:+,.3f}" if known else "",
        f"{row['total']:+,.0f}" if known else "",
        row["verdict"].replace("_", " ") + (", final" if row["status"] == "final" else ""),
    )
