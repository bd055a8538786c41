"""Whether a demo of a home is running: its Airflow processes carry the home in their environment."""

from __future__ import annotations

from pathlib import Path

import psutil

HOME_MARK = "PERENNIAL_DEMO_HOME"


def demo_processes(home: Path) -> list[int]:
    """The ids of the processes that a demo of this home has started and that still run."""
    return sorted(process.pid for process in psutil.process_iter() if _belongs_to(process, home))


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get(HOME_MARK) == str(home)
    except (psutil.Error, OSError):  # it has ended, or is another user's
        return False
