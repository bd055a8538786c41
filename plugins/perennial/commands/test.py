"""Run the tests: ./perennial test [arguments of pytest].

Without `-m` the tests marked `slow` and `bench` are left out; `-m slow` runs the slow ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

from perennial.core.errors import PermanentError, Problem

_DEFAULT_MARKS = "not slow and not bench"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command: pytest's."""
    parser.usage = "perennial test [arguments of pytest]"
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Become pytest, in the repository's folder."""
    from perennial.core.settings import REPOSITORY

    if importlib.util.find_spec("pytest") is None:
        raise PermanentError(Problem("perennial test", "pytest is not installed", "run it as ./perennial test"))
    arguments = list(args.arguments)
    if not any(argument.startswith("-m") for argument in arguments):
        arguments = ["-m", _DEFAULT_MARKS, *arguments]
    os.chdir(REPOSITORY)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606 - no shell is wanted
