"""Segments: the rules that say who is meant.

perennial segments list                what there is, how big it was on the newest planned day, what stands on it
perennial segments check [FILE]        every mistake by file, line and fix; rules that select everyone or nobody
perennial segments preview FILE_OR_ID  size, reach by channel, revenue, overlaps, changes, ten masked clients
perennial segments schema              the JSON Schema of config/segments/*.yml, for editors

A FILE need not be in config/ yet: its segments stand beside ours, or instead of those with the same id. All but schema
take --json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ACTIONS = {
    "list": "what there is, how big it was on the newest planned day, what stands on it",
    "check": "every mistake by file, line and fix; rules that select everyone or nobody",
    "preview": "size, reach by channel, revenue, overlaps, changes, ten masked clients",
    "schema": "the JSON Schema of config/segments/*.yml, for editors",
}
_DAYS = 10  # of drift that are printed


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = parsers.add_parser(name, help=text, description=text)
        if name == "check":
            action.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a file beside config/segments")
        if name == "preview":
            action.add_argument("what", metavar="FILE_OR_ID", help="a file of segments, or the id of one of ours")
        if name != "schema":
            action.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: newest)")
            output.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. Raises ConfigError for mistakes in rules."""
    from perennial.core.settings import load_settings

    actions = {"list": _list, "check": _check, "preview": _preview, "schema": _schema}
    return actions[args.action](load_settings(), args)


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_or_none
    from perennial.pipeline.segments import list_segments

    told = list_segments(settings, newest_or_none(settings, args.as_of, "published"))
    if args.json:
        output.print_json(told)
        return 0
    rows = [
        (one["segment"], one["clients"], one["entered"], one["exited"], ", ".join(one["used_by"]), one["description"])
        for one in told
    ]
    output.print_table(("segment", "clients", "entered", "left", "used by", "description"), rows)
    return 0


def _check(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_or_none
    from perennial.pipeline.segments import check_segments

    told = check_segments(settings, args.file, newest_or_none(settings, args.as_of, "published"))
    if args.json:
        output.print_json(told)
        return 0
    print(f"{told['segments']} segments are right")
    for remark in told["remarks"]:
        print(f"  {remark}")
    return 0


def _preview(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.commands.days import newest_run
    from perennial.pipeline.segments import preview_segments

    told = preview_segments(settings, args.what, newest_run(settings, args.as_of, "published"))
    if args.json:
        output.print_json(told)
        return 0
    scan = told["scan"]
    print(f"{told['as_of']}: {scan['segments']} segments of {scan['clients']:,} clients in one scan, {scan['ms']:,} ms")
    for one in told["segments"]:
        _show(one)
    for remark in told["remarks"]:
        print(f"\n{remark}")
    return 0


def _show(one: dict[str, Any]) -> None:
    print(f"\n{one['segment']}: {output.plain_text(one['description'])}\n  where {output.plain_text(one['where'])}\n")
    facts = [
        ("clients", f"{one['clients']:,} of {one['of']:,} ({one['share']:.1%})"),
        ("revenue of 365 days", f"{one['revenue_365d']:,.2f} ({one['revenue_share']:.1%})"),
        ("may be written to", ", ".join(f"{name} {n:,}" for name, n in one["mailable"].items())),
        ("a value is not known", f"{one['unknown']:,} clients, whom the rule leaves out"),
        ("since the day before", _change(one["change"])),
    ]
    if one["is_undecided"]:
        facts.insert(0, ("undecided", "it stands on a score that the day does not have"))
    for name, text in facts:
        print(f"  {name:<22}{text}")
    _table("Shares clients with", ("segment", "clients", "in both", "Jaccard"), one["overlaps"])
    days = [{**day, "is_new_rule": "new rule" if day["is_new_rule"] else ""} for day in one["drift"][-_DAYS:]]
    _table("Day by day", ("day", "clients", "entered", "left", ""), days, without=("version",))
    print("\n  Some of them, and why")
    for example in one["examples"]:
        why = "; ".join(f"{term['term']} ({_values(term['values'])})" for term in example["why"] if term["holds"])
        print(f"  {example['client']}  {output.plain_text(why)}")


def _change(change: dict[str, Any] | None) -> str:
    if change is None:
        return "it was never decided before"
    rule = ", by another rule" if change["is_new_rule"] else ""
    return f"{change['entered']:,} came, {change['exited']:,} left (since {change['since']}{rule})"


def _table(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]], without: tuple[str, ...] = ()) -> None:
    if rows:
        print()
        cells = [[value for key, value in row.items() if key not in without] for row in rows]
        output.print_table(columns, cells, title=title)


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} is {value}" for name, value in values.items())


def _schema(_settings: Settings, _args: argparse.Namespace) -> int:
    from perennial.contracts.targeting import SegmentsFile

    output.print_json(SegmentsFile.model_json_schema())
    return 0
