"""Reference material outside the tree (borders.md, last section): found through PERENNIAL_REFERENCE, or said to be absent."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """A part that a test needs is not to be had: a failure under PERENNIAL_REQUIRE_ALL=1, else listed as not run."""
    if os.environ.get("PERENNIAL_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def lacking(reason: str) -> NoReturn:
    """The machine itself cannot do what the test needs (another Python, a kernel's right): always listed, with why."""
    pytest.skip(f"NOT RUN: {reason}")


def python_of(version: str) -> Path:
    """The interpreter of another Python (`3.12`), from the path or from pyenv; where there is none it is listed."""
    name = f"python{version}"
    found = [Path(folder) / name for folder in os.get_exec_path()]
    for pyenv in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
        found += sorted(Path(pyenv or "/nowhere").glob(f"versions/{version}.*/bin/{name}"), reverse=True)
    for path in found:
        if path.exists() and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    lacking(f"there is no {name} on this machine")


def reference(path: str) -> Path:
    """The file or folder below PERENNIAL_REFERENCE.

    Absent, it is a failure under PERENNIAL_REQUIRE_ALL=1, else the test is reported as not run, with the reason.
    """
    folder = os.environ.get("PERENNIAL_REFERENCE")
    if folder and (Path(folder) / path).exists():
        return Path(folder).resolve() / path
    absent(f"{path} is not below PERENNIAL_REFERENCE={folder or ''}")
