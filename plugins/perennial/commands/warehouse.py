"""What is published: what it was built from, which versions are kept, whether all of it is there.

perennial warehouse status     what readers see now, as of when, built from what, compared with the day before
perennial warehouse versions   the versions that are kept, newest first
perennial warehouse init       make schemas, roles and rights (PostgreSQL); may be run again at any time
perennial warehouse verify     every file is there, its rows are those that were written, every view opens

Each takes --json.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_DAMAGED = 3  # as ContractViolation


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("status", "what is published, as of when, and what it was built from"),
        ("versions", "the versions that are kept, newest first"),
        ("init", "make the schemas, roles and rights that the warehouse needs"),
        ("verify", "whether every file of a version is there and holds the rows that were written"),
    ):
        action = parsers.add_parser(name, help=text, description=text)
        output.add_json(action)
        if name == "verify":
            action.add_argument("--version", metavar="ID", help="another version than the one that readers open")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; `verify` ends with 3 when something is damaged."""
    from perennial.core.settings import load_settings

    actions = {"status": _status, "versions": _versions, "verify": _verify, "init": _init}
    return actions[args.action](load_settings(), args)


def _status(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.warehouse.engine import published_state

    state = published_state(settings)
    if args.json:
        output.print_json(state)
    else:
        _show(state)
    return 0


def _show(state: dict[str, Any]) -> None:
    built = state["built_from"]
    print(f"Published: {state['id']}, as of {state['as_of']} (run {state['run_id']}, step {state['step']})")
    print(f"When: {state['published_at'] or 'unknown'} UTC")
    print(f"Built: {_how(built)}")
    tests = built.get("tests") or {}
    print(f"Tests: {tests.get('passed', 0)} passed, {tests.get('warned', 0)} warned")
    for warning in built.get("warnings") or ():
        print(f"  warned: {output.plain_text(warning)}")
    if built.get("sources"):
        names = ("source", "entity", "batches", "rows", "quarantined", "newest")
        rows = [[one[name] for name in names] for one in built["sources"]]
        output.print_table(names, rows, title=f"Built from {built.get('batches', 0)} batches")
    title = f"Tables, compared with {state['compared_with']}" if state["compared_with"] else "Tables"
    columns = ("table", "rows", "rows_more", "bytes", "bytes_written", "files")
    output.print_table(columns, [[one[name] for name in columns] for one in state["tables"]], title=title)
    for name in state["only_before"]:
        print(f"No longer published: {name}")


def _how(built: dict[str, Any]) -> str:
    modes = {"change": "as a change of the build before", "full": "in full"}
    return f"{modes.get(built.get('mode') or '', 'unknown how')}, by the dbt project {built.get('project', 'unknown')}"


def _versions(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.warehouse.engine import known_versions

    versions = known_versions(settings)
    if args.json:
        output.print_json(versions)
    else:
        columns = ("id", "as_of", "run_id", "step", "mode", "rows", "bytes", "published_at", "current")
        output.print_table(columns, [[one[name] for name in columns] for one in versions])
    return 0


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.warehouse.engine import damages

    version_id, files, found = damages(settings, args.version)
    if args.json:
        output.print_json({"id": version_id, "files": files, "problems": found})
    else:
        for problem in found:
            sys.stderr.write(f"{problem}\n")
        print(f"{version_id}: {files} files, {len(found)} damaged" if found else f"{version_id}: {files} files, whole")
    return _DAMAGED if found else 0


def _init(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.warehouse.engine import initialise

    made = initialise(settings)
    if args.json:
        output.print_json(made)
    else:
        print("\n".join(made))
    return 0
