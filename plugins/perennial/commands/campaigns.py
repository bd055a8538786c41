"""Campaign cards: whether they are right, what the next days would bring, how they stand beside each other.

perennial campaigns check     every mistake by file, line and fix; size, cost, value, overlap of the next 30 days; what
                              a test against control could show
perennial campaigns calendar  the next days as one HTML file (or --text, --json), with clashes flagged
perennial campaigns schema    the JSON Schema of config/campaigns/*.yml, for editors

Forecasts stand on the newest published day. Without one, check looks for mistakes alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ACTIONS = {
    "check": "every mistake by file, line and fix; size, cost, value, overlap of the next days; what a test can show",
    "calendar": "the next days as one HTML file, with clashes flagged",
    "schema": "the JSON Schema of config/campaigns/*.yml, for editors",
}
_FILE = Path("campaigns.html")
_MOST_DAYS = 366


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = parsers.add_parser(name, help=text, description=text)
        if name == "schema":
            continue
        action.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: newest)")
        action.add_argument("--days", type=_days, metavar="N", help="days that are foreseen (default: 30)", default=30)
        if name == "calendar":
            action.add_argument("--to", type=Path, default=_FILE, metavar="FILE", help=f"default: {_FILE}")
            action.add_argument("--text", action="store_true", help="print it instead of writing a file")
        output.add_json(action)


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to {_MOST_DAYS}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for. Raises ConfigError for mistakes in cards."""
    from perennial.core.settings import load_settings

    actions = {"check": _check, "calendar": _calendar, "schema": _schema}
    return actions[args.action](load_settings(), args)


def _check(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_or_none
    from perennial.pipeline.campaign_forecast import check_campaigns

    day = newest_or_none(settings, None, "scored") if args.as_of is None else None  # a forecast stands on scores
    told = check_campaigns(settings, day or newest_or_none(settings, args.as_of, "published"), args.days)
    if args.json:
        output.print_json(told)
        return 0
    print(f"{told['campaigns']} campaigns are right")
    if not told["forecasts"]:
        print("nothing is published yet: there is no forecast")
        return 0
    print(f"\nIf all stays as on {told['as_of']}: {told['first_day']} to {told['last_day']}, {told['currency']}\n")
    names = ("audience", "reachable", "clients", "sent", "control", "responders", "cost", "expected_value")
    rows = [(one["campaign"], *(one[name] for name in names)) for one in told["forecasts"]]
    output.print_table(("campaign", *(name.replace("_", " ") for name in names)), rows)
    _remarks(told)
    _clashes(told["clashes"])
    return 0


def _remarks(told: dict[str, Any]) -> None:
    for one in told["forecasts"]:
        lines = [*one["remarks"], *([one["test"]] if one["test"] else [])]
        lines += [
            f"shares {other['clients']:,} clients with {other['campaign']}, {other['in_one_week']:,} get both in a week"
            for other in one["shares_with"]
        ]
        kept = one["on_its_first_day"]
        if kept:
            lines.append(
                f"expected on {kept['as_of']}, its first day: {kept['size']:,} clients, {kept['expected_value']:,.2f}"
            )
        print(f"\n{one['campaign']}")
        for line in lines:
            print(f"  {line}")


def _clashes(clashes: list[dict[str, Any]]) -> None:
    print(f"\n{len(clashes)} clashes" if clashes else "\nno clashes")
    for clash in clashes:
        print(f"  {clash['first_day']} to {clash['last_day']}: {output.plain_text(clash['message'])} -> {clash['fix']}")


def _calendar(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_run
    from perennial.pipeline.campaign_calendar import calendar_of, in_html, in_text
    from perennial.pipeline.campaign_forecast import outline

    calendar = calendar_of(outline(settings, newest_run(settings, args.as_of, "published"), args.days))
    if args.json:
        output.print_json(calendar)
    elif args.text:
        print(in_text(calendar))
    else:
        args.to.write_text(in_html(calendar), encoding="utf-8")
        print(f"{args.to}: {calendar['first_day']} to {calendar['last_day']}, {len(calendar['clashes'])} clashes")
    return 0


def _schema(_settings: Settings, _args: argparse.Namespace) -> int:
    from perennial.contracts.targeting import Campaign

    output.print_json(Campaign.model_json_schema())
    return 0
