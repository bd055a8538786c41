"""Task bodies of the DAG pull_feedback: each wraps one function of the pipeline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from perennial.orchestration.errors import as_airflow_errors

log = logging.getLogger("perennial")


def tools_to_ask(params: Mapping[str, Any]) -> list[str]:
    """The tool that a person names, else all of config/destinations.yml. Skips when there is none."""
    from perennial.core.settings import load_settings
    from perennial.pipeline.feedback_pull import pullable

    with as_airflow_errors():
        names = pullable(load_settings())
    found = [params["destination"]] if params.get("destination") else names
    if not found:
        raise AirflowSkipException("No tool of config/destinations.yml is asked: files have nothing to tell.")
    return found


def ask_tool(destination: str) -> dict[str, int]:
    """Ask one tool for what is new; the counts. Retried when it may pass."""
    from perennial.core.settings import load_settings
    from perennial.orchestration.connections import AirflowConnections
    from perennial.pipeline.feedback_pull import problems_of, pull

    with as_airflow_errors():
        reports = pull(load_settings(), destination, connections=AirflowConnections())
        for report in reports:
            taken = report.taken
            log.info("%s: %s pages, %s new events", report.destination, report.pages, f"{taken.new:,}")
            if taken.unknown_lists:
                log.warning("%s tells of %s lists that are not ours", report.destination, len(taken.unknown_lists))
        error = problems_of(reports)
        if error is not None:
            raise error
    return {
        "pages": sum(one.pages for one in reports),
        "new": sum(one.taken.new for one in reports),
        "without_client": sum(one.taken.without_client for one in reports),
    }
