"""dbt's documentation of the project as one page, made anew when the project has changed.

dbt/docs/<digest of the project>.html     the newest alone; the page behind sign-in serves it (web)

It tells of models, columns, tests and SQL; it holds no row of any table.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.pipeline.transform import generate_docs, project_digest
from perennial.pipeline.turns import WAREHOUSE_BUILD, turn


def docs_page(settings: Settings) -> Path | None:
    """The page, if one was made."""
    pages = sorted(_folder(settings).glob("*.html"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return pages[-1] if pages else None


def refresh_docs(settings: Settings, run: DayRun) -> bool:
    """Make the page of the project as it is now from the run's build, unless it is there; whether it was made.

    Raises ContractViolation when dbt cannot make it.
    """
    page = _folder(settings) / f"{project_digest(settings)}.html"
    if page.exists():
        return False
    page.parent.mkdir(parents=True, exist_ok=True)
    target = page.parent / "target"
    with turn(settings, WAREHOUSE_BUILD):
        generate_docs(settings, run, target)
    (target / "static_index.html").replace(page)
    shutil.rmtree(target)
    for old in _folder(settings).glob("*.html"):
        if old != page:
            old.unlink()
    return True


def _folder(settings: Settings) -> Path:
    return settings.home / "dbt" / "docs"
