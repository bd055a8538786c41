"""What came back from mailing tools: ask them now, or see what is known.

perennial feedback pull    ask every tool, or one, who withdrew and what recipients did since the last time
perennial feedback status  events by tool and kind, and when each tool was asked last

Each speaks JSON with --json.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ACTIONS = {
    "pull": "ask every tool, or one, who withdrew and what recipients did since the last time",
    "status": "events by tool and kind, and when each tool was asked last",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = parsers.add_parser(name, help=text, description=text)
        if name == "pull":
            action.add_argument("destination", nargs="?", metavar="TOOL", help="one of config/destinations.yml")
        output.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Ask, or tell. Fails when a tool could not be read to its end."""
    from perennial.core.settings import load_settings

    actions = {"pull": _pull, "status": _status}
    return actions[args.action](load_settings(), args)


def _pull(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.feedback_pull import problems_of, pull

    reports = pull(settings, args.destination)
    rows: list[dict[str, Any]] = [
        {
            "destination": one.destination,
            "pages": one.pages,
            "new": one.taken.new,
            "known": one.taken.known,
            "without_client": one.taken.without_client,
            "unknown_lists": list(one.taken.unknown_lists),
            "problem": str(one.problem) if one.problem else None,
        }
        for one in reports
    ]
    if args.json:
        output.print_json({"pulled": rows})
    elif not rows:
        print("No tool of config/destinations.yml is asked: files have nothing to tell.")
    else:
        columns = ("tool", "pages", "new", "known before", "nobody's address", "lists that are not ours")
        names = ("destination", "pages", "new", "known", "without_client")
        shown = [(*(row[name] for name in names), len(row["unknown_lists"])) for row in rows]
        output.print_table(columns, shown, title="Feedback")
    error = problems_of(reports)
    if error is not None:
        raise error
    return 0


def _status(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.feedback import counts, pulls

    engine = open_ledger(settings)
    known, asked = counts(engine), pulls(engine)
    if args.json:
        output.print_json({"events": known, "pulls": asked})
        return 0
    if not known and not asked:
        print("Nothing has come back yet: set a webhook up (docs/delivery.md), or `perennial feedback pull`.")
        return 0
    columns = ("from", "kind", "events", "by machines", "nobody's address", "no list of ours", "newest (UTC)")
    names = ("destination", "kind", "events", "by_machines", "without_client", "without_campaign")
    rows = [(*(row[name] for name in names), f"{row['newest']:%Y-%m-%d %H:%M}") for row in known]
    output.print_table(columns, rows, title="Events")
    for row in asked:
        failed = f", failed: {row['last_error']}" if row["last_error"] else ""
        print(f"{row['destination']} was asked for {row['stream']} at {row['pulled_at']:%Y-%m-%d %H:%M} UTC{failed}")
    return 0
