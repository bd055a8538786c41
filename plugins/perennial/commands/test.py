"""Run the tests: ./perennial test [arguments of pytest].

Without `-m` the tests marked `slow` and `bench` are left out; `-m slow` runs the slow ones. When no file or folder is
named the tests run in several processes, one for each core (four at most); `-n 0` runs them in one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

from perennial.core.errors import PermanentError, Problem

_DEFAULT_MARKS = "not slow and not bench"
_MOST_WORKERS = 4  # each may start an Airflow of its own: a gigabyte
_ONE_PROCESS = (
    "-n",
    "--numprocesses",
    "--co",
    "--pdb",
    "--trace",
    "-s",
    "--help",
    "--version",
    "--fixtures",
    "--markers",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command: pytest's."""
    parser.usage = "perennial test [arguments of pytest]"
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Become pytest, in the repository's folder."""
    from perennial.core.settings import REPOSITORY

    if importlib.util.find_spec("pytest") is None:
        raise PermanentError(Problem("perennial test", "pytest is not installed", "run it as ./perennial test"))
    os.chdir(REPOSITORY)
    arguments = pytest_arguments(args.arguments)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606 - no shell is wanted


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments for pytest: without `-m` not the slow tests; several processes when no file or folder is named."""
    given = list(arguments)
    if not any(argument.startswith("-m") for argument in given):
        given = ["-m", _DEFAULT_MARKS, *given]
    named = any("/" in argument or argument.endswith(".py") for argument in arguments)
    if named or any(argument.startswith(_ONE_PROCESS) for argument in arguments):
        return given
    return ["-n", str(min(os.cpu_count() or 1, _MOST_WORKERS)), "--dist", "loadgroup", "--no-loadscope-reorder", *given]
