"""Running Perennial as a person does, by its command, in a home of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 900


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command: nothing of ours but the home folder."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PERENNIAL"))}
    return {**clean, "PYTHONPATH": str(REPOSITORY / "plugins"), "PERENNIAL_HOME": str(home), **more}


def perennial(home: Path, *arguments: str, fails: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end; asserts that it succeeds, or that it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "perennial", *arguments],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode != 0) == fails, f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def perennial_json(home: Path, *arguments: str, **more: str) -> Any:
    """What the command prints with --json."""
    return json.loads(perennial(home, *arguments, "--json", **more).stdout)


def tree(folder: Path) -> dict[str, str]:
    """Every file below the folder with the digest of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
