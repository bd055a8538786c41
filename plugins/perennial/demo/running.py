"""Whether a demo of a home is running: its Airflow processes carry the home's mark, or share its session."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil

HOME_MARK = "PERENNIAL_DEMO_HOME"
_CLOCK_SLACK_SECONDS = 5.0


def demo_processes(home: Path) -> list[int]:
    """The ids of the processes that a demo of this home has started and that still run."""
    session = _read_session(home)
    return sorted(process.pid for process in psutil.process_iter() if _belongs_to(process, home, session))


def write_session(home: Path, pid: int) -> None:
    """Remember the session that a demo's Airflow leads (a process that renames itself loses its environment's mark)."""
    path = _session_path(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps({"session": pid, "started": psutil.Process(pid).create_time()}))


def _session_path(home: Path) -> Path:
    return home / "airflow" / "session.json"


def _read_session(home: Path) -> dict[str, float]:
    try:
        found = json.loads(_session_path(home).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _belongs_to(process: psutil.Process, home: Path, session: dict[str, float]) -> bool:
    try:
        if process.environ().get(HOME_MARK) == str(home):
            return True
        if not session or os.getsid(process.pid) != session["session"]:
            return False
        # A number is used again after a while: only what is Airflow's, and not older than our session, is ours.
        is_younger = process.create_time() >= session["started"] - _CLOCK_SLACK_SECONDS
        return is_younger and "airflow" in " ".join(process.cmdline())
    except (psutil.Error, OSError):  # it has ended, or is another user's
        return False
