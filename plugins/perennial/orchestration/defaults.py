"""What every DAG shares: owner, retries, time-outs, tags, pools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from airflow.sdk import Param

from perennial.orchestration.notify import task_failed

Tag = Literal["ingest", "warehouse", "scoring", "targeting", "delivery", "operation"]
TAGS: tuple[Tag, ...] = ("ingest", "warehouse", "scoring", "targeting", "delivery", "operation")

# One writer at a time: a DuckDB file has one writing process. The pool has one slot.
WAREHOUSE_POOL = "warehouse_writer"

START = datetime(2017, 1, 1, tzinfo=UTC)

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "perennial",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": task_failed,
}


def dag_options(*tags: Tag, doc: str | None) -> dict[str, Any]:
    """Keyword arguments of `@dag` that every DAG of ours has."""
    return {
        "catchup": False,
        "start_date": START,
        "max_active_runs": 1,
        "default_args": TASK_DEFAULTS,
        "tags": list(tags),
        "doc_md": doc,
    }


def run_params(**more: Param) -> dict[str, Param]:
    """The parameters of a DAG that works on a day: `as_of` empty means the latest complete day."""
    as_of = Param(
        None, type=["null", "string"], format="date", description="Business date; empty: the latest complete day"
    )
    return {"as_of": as_of, **more}
