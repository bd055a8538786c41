"""What each build said of itself, kept beside dbt's target: for `perennial warehouse status`, pages and the task's log.

    dbt/reports/<run_id>.json     of the run's last build: built or failed, tests, seconds, and what failed

A report holds no personal data: failing rows are masked where they are taken (dbt_failures).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perennial.contracts.records import DayRun
from perennial.core import clock
from perennial.core.settings import Settings
from perennial.pipeline.dbt_failures import Failure
from perennial.warehouse.versions import replace_text

_KEPT = 60
_UNTOLD: dict[str, Any] = {
    "mode": None, "previous_as_of": None, "project": None, "tests": None, "warnings": [], "seconds": {}, "rows": {},
    "failures": [],
}  # fmt: skip
_RUN_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.r[0-9]{1,6}")


def report_failed(settings: Settings, run: DayRun, failures: Sequence[Failure]) -> None:
    """Write that models or tests of the run's build failed."""
    _write(settings, run, {"state": "failed", "failures": [asdict(failure) for failure in failures]})


def report_built(settings: Settings, run: DayRun, told: Mapping[str, Any]) -> None:
    """Write what a build that passed its tests tells: how it was made, tests, warnings, seconds and rows."""
    _write(settings, run, {"state": "built", "failures": [], **told})


def read_report(settings: Settings, run_id: str) -> dict[str, Any] | None:
    """The report of the run's last build, what it does not tell as None or empty; None when there is none."""
    if not _RUN_ID.fullmatch(run_id):
        return None
    try:
        found: dict[str, Any] = json.loads(_path(settings, run_id).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return {**_UNTOLD, **found}


def recent_reports(settings: Settings, limit: int = _KEPT) -> list[dict[str, Any]]:
    """The reports, the newest build first."""
    found = [read_report(settings, path.stem) for path in _folder(settings).glob("[0-9]*.json")]
    known = [report for report in found if report is not None]
    return sorted(known, key=lambda report: (report["recorded_at"], report["run_id"]), reverse=True)[:limit]


def _write(settings: Settings, run: DayRun, told: Mapping[str, Any]) -> None:
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "run_id": run.run_id,
        "as_of": run.as_of.isoformat(),
        "recorded_at": clock.now().isoformat(timespec="seconds"),
        **told,
    }
    replace_text(_path(settings, run.run_id), json.dumps(said, indent=1, ensure_ascii=False), mode=0o600)
    for old in recent_reports(settings, limit=10_000)[_KEPT:]:
        _path(settings, old["run_id"]).unlink(missing_ok=True)


def _folder(settings: Settings) -> Path:
    return settings.home / "dbt" / "reports"


def _path(settings: Settings, run_id: str) -> Path:
    return _folder(settings) / f"{run_id}.json"
