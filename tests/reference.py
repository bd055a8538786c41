"""Reference material outside the tree (borders.md, last section): found through PERENNIAL_REFERENCE, or said to be absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def reference(path: str) -> Path:
    """The file or folder below PERENNIAL_REFERENCE.

    Absent, it is a failure under PERENNIAL_REQUIRE_ALL=1, else the test is reported as not run, with the reason.
    """
    folder = os.environ.get("PERENNIAL_REFERENCE")
    if folder and (Path(folder) / path).exists():
        return Path(folder).resolve() / path
    reason = f"{path} is not below PERENNIAL_REFERENCE={folder or ''}"
    if os.environ.get("PERENNIAL_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
