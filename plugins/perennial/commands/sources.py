"""Sources: what is configured and waits, a file as it would be loaded, the YAML for a new file, fetching by hand.

check [SOURCE]  sources.yml with the line of each mistake; systems that are asked, step by step; files that lie and wait
preview FILE    the file's first rows as they would be loaded, each with its fate and the reasons; nothing is written
infer FILE      a sources.yml for the file, on stdout; what to look at goes to stderr
fetch [SOURCE]  ask the outside systems for what is new, and land it
definition [NAME]  the ready definition of an API as it is shipped, to copy and change; their names when none is named

check, preview and fetch take --json.
Exit codes: 0 done, 1 or 75 a fetch failed (75: try again later), 2 a mistake in the configuration or a step of a check
that failed, 4 the file would be refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.contracts.sources import Source, SourceEntity
    from perennial.core.settings import Settings
    from perennial.pipeline.fetch import FetchReport
    from perennial.pipeline.preview import Preview

_ROWS = 10
_WRONG, _FAILED = 2, 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="check|preview|infer|fetch|definition")
    check = kinds.add_parser("check", help="the configuration, outside systems, files that lie and wait")
    check.add_argument("source", nargs="?", help="one source; all when absent")
    output.add_json(check)
    show = kinds.add_parser("preview", help="a file as it would be loaded")
    show.add_argument("file", type=Path)
    show.add_argument("--source", help="of sources.yml; found by the file's name when absent")
    show.add_argument("--entity", help="the source's entity, by its key in sources.yml")
    show.add_argument("--contract", type=Path, metavar="FILE", help="another sources.yml, such as infer writes")
    show.add_argument("--rows", type=int, default=_ROWS, help=f"how many to show (default {_ROWS})")
    output.add_json(show)
    guess = kinds.add_parser("infer", help="the YAML for a new file")
    guess.add_argument("file", type=Path)
    ask = kinds.add_parser("fetch", help="ask outside systems for what is new")
    ask.add_argument("source", nargs="?", help="one source; all when absent")
    output.add_json(ask)
    shipped = kinds.add_parser("definition", help="a ready definition of an API, to copy and change")
    shipped.add_argument("name", nargs="?", help="such as hubspot; the names of all when absent")


def run(args: argparse.Namespace) -> int:
    """Do one of the five."""
    does = {"check": _check, "preview": _preview, "infer": _infer, "fetch": _fetch, "definition": _definition}
    return does[args.what](args)


def _definition(args: argparse.Namespace) -> int:
    from perennial.sources.rest.definitions import definition_names, definition_text

    sys.stdout.write(definition_text(args.name) if args.name else "".join(f"{n}\n" for n in definition_names()))
    return 0


def _infer(args: argparse.Namespace) -> int:
    from perennial.sources.infer import infer

    found = infer(args.file)
    sys.stdout.write(found.yaml)
    for note in found.notes:
        sys.stderr.write(f"{args.file.name}: {note}\n")
    return 0


def _preview(args: argparse.Namespace) -> int:
    from perennial.core.settings import load_settings
    from perennial.pipeline.preview import preview

    settings = load_settings()
    _name, source, _key, entity = _contract_for(settings, args)
    found = preview(settings, args.file, source, entity, rows=args.rows)
    if args.json:
        output.print_json(found)
    else:
        _print_preview(found)
    return 0


def _contract_for(settings: Settings, args: argparse.Namespace) -> tuple[str, Source, str, SourceEntity]:
    """The one source entity that is meant. Raises ConfigError where none or several are."""
    from perennial.core.errors import ConfigError, Problem
    from perennial.sources.config import load_sources, read_sources
    from perennial.sources.landing import takes_base_name

    sources = (read_sources(args.contract) if args.contract else load_sources(settings)).sources
    every = [(name, one, key, entity) for name, one in sources.items() for key, entity in one.entities.items()]
    chosen = [one for one in every if args.source in {None, one[0]} and args.entity in {None, one[2]}]
    by_name = [one for one in chosen if takes_base_name(one[3], args.file.name)]
    found = chosen if len(chosen) == 1 else by_name
    if len(found) != 1:
        known = ", ".join(f"{name}.{key}" for name, _source, key, _entity in (found or every))
        said = "more than one entity takes this file name" if found else "no entity takes this file name"
        fix = f"name one of {known} by --source and --entity, or a contract by --contract"
        raise ConfigError(Problem(args.file.name, said, fix))
    return found[0]


def _print_preview(found: Preview) -> None:
    counts = found.counts
    rows = [[row.line, row.fate, *(row.values.get(name) for name in found.columns)] for row in found.rows]
    output.print_table(["line", "fate", *found.columns], [[_plain(cell) for cell in row] for row in rows])
    for row in found.rows:
        for reason in row.reasons:
            print(f"line {row.line}: {reason}")
    print(f"{found.entity}: {counts.good:,} would be loaded, {counts.quarantined:,} set aside, "
          f"{counts.duplicate:,} are duplicates")  # fmt: skip
    if found.unmapped:
        print(f"not mapped, kept: {', '.join(found.unmapped)}")
    for note in found.notes:
        print(note)


def _plain(cell: Any) -> Any:
    """A decimal as it is, not rounded to two places as in tables of results."""
    return "" if cell is None else str(cell)


def _check(args: argparse.Namespace) -> int:
    from perennial.core.settings import load_settings
    from perennial.pipeline.source_checks import check_sources

    lines = list(check_sources(load_settings(), args.source))
    wrong = any(not line.ok for line in lines)
    if args.json:
        output.print_json({"ok": not wrong, "lines": lines})
    else:
        output.print_table(
            ["", "source", "part", "message"],
            [["ok" if line.ok else "wrong", line.source, line.part, line.message] for line in lines],
        )
    return _WRONG if wrong else 0


def _fetch(args: argparse.Namespace) -> int:
    from perennial.core.settings import load_settings
    from perennial.pipeline.fetch import fetch

    reports = fetch(load_settings(), args.source)
    if args.json:
        output.print_json([_as_json(report) for report in reports])
    else:
        rows = [[r.source, r.entity, len(r.files), r.rows, "; ".join(r.notes)] for r in reports]
        output.print_table(["source", "entity", "files", "rows", "notes"], rows)
    for report in reports:
        for problem in report.problem.problems if report.problem else ():
            sys.stderr.write(f"{report.source}.{report.entity}: {problem}\n")
    codes = {report.problem.exit_code for report in reports if report.problem}
    return (codes.pop() if len(codes) == 1 else _FAILED) if codes else 0


def _as_json(report: FetchReport) -> dict[str, Any]:
    problems = [str(problem) for problem in report.problem.problems] if report.problem else []
    return {"source": report.source, "entity": report.entity, "files": report.files, "rows": report.rows,
            "notes": report.notes, "problems": problems}  # fmt: skip
