"""Where lists go: every destination, and named steps against the real tool; nothing is sent.

perennial destinations list   what config/destinations.yml names, with its channels and its webhook
perennial destinations check  named steps (reachable, key, right to write, list, fields), each with how to mend it

Each speaks JSON with --json.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ACTIONS = {
    "list": "what config/destinations.yml names, with its channels and its webhook",
    "check": "named steps against the real tools, each with how to mend it; nothing is sent",
}
_FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = parsers.add_parser(name, help=text, description=text)
        if name == "check":
            action.add_argument("destination", nargs="?", metavar="NAME", help="one of config/destinations.yml")
        output.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; 1 when a step failed."""
    from perennial.core.settings import load_settings

    actions = {"list": _list, "check": _check}
    return actions[args.action](load_settings(), args)


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.delivery.destinations import load_destinations, open_routes

    file = load_destinations(settings)
    routes = open_routes(settings)
    rows: list[dict[str, Any]] = []
    for name, config in file.destinations.items():
        about = routes.by_name[name].describe()
        rows.append(
            {
                "destination": name,
                "kind": about.kind,
                "channels": list(config.channels),
                "campaigns": list(config.campaigns),
                "target": about.target,
                "webhook": f"/perennial/feedback/{name}" if config.feedback.secret else None,
            }
        )
    if args.json:
        output.print_json({"destinations": rows})
        return 0
    shown = [
        (
            *(row["destination"], row["kind"], ", ".join(row["channels"]), ", ".join(row["campaigns"]) or "all"),
            *(row["target"], row["webhook"] or "none"),
        )
        for row in rows
    ]
    output.print_table(("name", "kind", "channels", "campaigns", "goes to", "webhook"), shown, title="Destinations")
    return 0


def _check(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.core.errors import ConfigError, Problem
    from perennial.delivery.destinations import FILE
    from perennial.pipeline.export import check

    steps = [(name, step) for name, step in check(settings) if args.destination in (None, name)]
    if not steps:
        raise ConfigError(Problem(FILE, f"no destination is called {args.destination!r}", "name one of the file's"))
    if args.json:
        output.print_json({"steps": [{"destination": name, **step.__dict__} for name, step in steps]})
    else:
        rows = [(name, step.name, step.state, step.message) for name, step in steps]
        output.print_table(("destination", "step", "state", "what was found"), rows)
        for name, step in steps:
            if step.state == "failed" and step.fix:
                print(f"{name}, {step.name}: {step.fix}")
    return _FAILED if any(step.state == "failed" for _, step in steps) else 0
