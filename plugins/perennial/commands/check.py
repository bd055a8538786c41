"""What is wrong and how to mend it: configuration, connections, environment, lock files.

Exit code 0 when nothing is wrong (warnings are told), 2 otherwise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perennial.commands import findings, output
from perennial.commands.findings import Finding
from perennial.core.errors import ConfigError

if TYPE_CHECKING:
    from perennial.core.settings import Settings

PARTS = ("config", "connections", "environment", "locks")
_WRONG = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--only", choices=PARTS, help="look at one part")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Look at everything; tell all findings at once."""
    found = list(look(PARTS if args.only is None else (args.only,)))
    wrong = [finding for finding in found if finding.level == "error"]
    if args.json:
        output.print_json({"ok": not wrong, "findings": found})
    else:
        for finding in found:
            fix = f" -> {finding.fix}" if finding.fix else ""
            print(f"{finding.level:7}  {finding.where}: {finding.message}{fix}")
    return _WRONG if wrong else 0


def look(parts: tuple[str, ...]) -> Iterator[Finding]:
    """The findings of the parts. A wrong perennial.yml hides only what cannot be looked at without it."""
    from perennial.core.settings import load_settings

    if "locks" in parts:
        yield from _check_locks()
    if parts == ("locks",):
        return
    try:
        settings = load_settings()
    except ConfigError as error:
        yield from (Finding("error", "config", p.where, p.message, p.fix) for p in error.problems)
        return
    checks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "config": findings.check_config,
        "connections": findings.check_connections,
        "environment": findings.check_environment,
    }
    for part, check in checks.items():
        if part in parts:
            yield from check(settings)


def _check_locks() -> Iterator[Finding]:
    from perennial.commands.locks import lock_problems

    problems = lock_problems()
    yield from (Finding("error", "locks", p.where, p.message, p.fix) for p in problems)
    if not problems:
        yield Finding("ok", "locks", "requirements*.lock", "they give what pyproject.toml asks for, with hashes")
