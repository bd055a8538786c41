"""From a task of `build_warehouse` to the page about the build: what failed, its SQL and rows, seconds by model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_PAGES = "/perennial/builds"

log = logging.getLogger("perennial")


class BuildReport(BaseOperatorLink):
    """The button on the task: it leads to the page of the run that the task built."""

    name = "Build report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The page of the run id that the task was given; of all builds before it was."""
        given = next((value for value in getattr(operator, "op_args", ()) if isinstance(value, str)), None)
        return page_of(given)


def page_of(run_id: str | None) -> str:
    """The address of the page about a run's build."""
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}{_PAGES}" + (f"/{quote(run_id, safe='')}" if run_id else "")


def log_failures(settings: Settings, run_id: str, said: str) -> None:
    """Write into the task's log what failed in the run's build: each model's SQL, its failing rows, and the page.

    `said` is the error's text: what it does not name failed in an earlier try.
    """
    from perennial.pipeline.build_reports import read_report

    report = read_report(settings, run_id)
    failures = [failure for failure in (report["failures"] if report else ()) if failure["name"] in said]
    for failure in failures:
        log.error("%s %s failed: %s", failure["kind"], failure["name"], failure["message"])
        for row in failure["rows"]:
            log.error("failing row: %s", ", ".join(f"{name}={value}" for name, value in row.items()))
        log.error("its SQL (%s):\n%s", failure["compiled"], failure["sql"].strip())
    if failures:
        log.error("The same as a page: %s", page_of(run_id))
