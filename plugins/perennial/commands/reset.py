"""Remove all state (landing zone, ledger, warehouse, models, lists, Airflow), but not the installed environment.

A ledger that lies elsewhere (PERENNIAL_LEDGER_URL) is left as it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_ENVIRONMENT = ("env", "envs", "env.lock", "env.lock.pid")
_SIGNS = ("ledger.db", "landing", "airflow")  # a home of ours has at least one of these


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--force", action="store_true", help="even while a demo is running in it")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Remove the state, after asking when there is someone to ask."""
    from perennial.core.settings import load_settings

    settings = load_settings()
    if not args.force:
        _refuse_while_running(settings)
    found = state_of(settings)
    if found and not args.yes and not _agreed(settings, found):
        sys.stderr.write("nothing was removed\n")
        return 1
    for path in found:
        _remove(path)
    if args.json:
        output.print_json({"home": settings.home, "removed": [path.name for path in found]})
    else:
        names = ", ".join(path.name for path in found) or "nothing: there was no state"
        print(f"Removed from {output.relative(settings.home)}: {names}")
    return 0


def state_of(settings: Settings) -> list[Path]:
    """What a reset removes: all of the home but the environment.

    Raises PermanentError for a folder that holds more than our state, or none of it.
    """
    from perennial.core.errors import PermanentError, Problem
    from perennial.core.settings import REPOSITORY

    home = settings.home
    if home in (REPOSITORY, *REPOSITORY.parents, Path.home().resolve()):
        fix = "point PERENNIAL_HOME to a folder of its own"
        raise PermanentError(Problem(str(home), "this folder holds more than Perennial's state", fix))
    found = sorted(path for path in home.iterdir() if path.name not in _ENVIRONMENT) if home.is_dir() else []
    if found and not _is_default(settings) and not any(path.name in _SIGNS for path in found):
        fix = "see that PERENNIAL_HOME is right"
        raise PermanentError(Problem(str(home), "nothing here looks like Perennial's state", fix))
    return found


def _is_default(settings: Settings) -> bool:
    from perennial.core.settings import REPOSITORY

    return settings.home == REPOSITORY / ".perennial"


def _refuse_while_running(settings: Settings) -> None:
    from perennial.core.errors import PermanentError, Problem
    from perennial.demo.running import demo_processes

    processes = demo_processes(settings.home)
    if processes:
        found = f"a demo is running here ({len(processes)} processes, the first is {processes[0]})"
        raise PermanentError(Problem(str(settings.home), found, "end it with Ctrl-C, or say --force"))


def _agreed(settings: Settings, found: list[Path]) -> bool:
    """The answer on a terminal; without one, yes for the repository's own folder and no for any other."""
    if not sys.stdin.isatty():
        return _is_default(settings)
    names = ", ".join(path.name for path in found)
    return input(f"Remove {names} from {settings.home}? [y/N] ").strip().lower() in {"y", "yes"}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
