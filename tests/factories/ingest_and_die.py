"""Kills an ingestion by SIGKILL before its n-th rename, for every n, and finishes it with a second one.

    python ingest_and_die.py FOLDER

FOLDER/template is a home folder and FOLDER/config its config. Every attempt works on a copy, FOLDER/n, in a child process: forked
before any thread is started, so that the slow imports are paid once. Prints the number of attempts that were killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import great_expectations  # noqa: F401 - imported before the forks
import pandas as pd  # noqa: F401

from perennial.core.settings import load_settings
from perennial.pipeline.ingest import ingest

MOST = 200


def die_before_rename(number: int) -> None:
    """Have this process die right before its n-th rename: all that lasts is put in its place by one."""
    left = number

    def hook(name: str, _arguments: tuple[object, ...]) -> None:
        nonlocal left
        if name == "os.rename":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_child(work: Callable[[], object]) -> int:
    """The wait status of a child that does the work: 0 when it comes to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the parent asserts on the exit code
            sys.stderr.write(f"{type(error).__name__} {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def attempt(folder: Path, number: int) -> bool:
    """Kill at the n-th rename, then ingest again; whether it was killed at all."""
    home = folder / str(number)
    shutil.copytree(folder / "template", home, symlinks=True)
    settings = load_settings({"PERENNIAL_HOME": str(home), "PERENNIAL_CONFIG": str(folder / "config")})

    def once() -> None:
        die_before_rename(number)
        ingest(settings)

    status = in_child(once)
    if status != 0 and os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit(f"attempt {number} failed by itself")
    if status != 0 and in_child(lambda: ingest(settings)) != 0:
        sys.exit(f"the ingestion after attempt {number} failed")
    return status != 0


if __name__ == "__main__":
    place = Path(sys.argv[1])
    killed = 0
    while killed < MOST and attempt(place, killed + 1):
        killed += 1
    sys.stdout.write(f"{killed}\n")
