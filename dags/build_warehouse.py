"""Build the warehouse of client metrics, test it, publish it.

## What
Decides which business day is complete, writes down what it is computed from, builds all dbt models in one process,
runs their tests, and swaps the published version. A failed test leaves yesterday's in place.

## When
After `raw.sales` or `raw.crm`; it skips while the day still waits for a daily source, and when nothing is new.

## Reads
`raw/` by the ledger's list of committed batches, `config/`, `dbt_project/`.

## Writes
`warehouse/` (build database, parts, versions, `current`), `private/`; one asset for each published table, with rows
and seconds.

## Parameters
`as_of`: a business date, empty for the latest complete day. `force`: build although the day is done.

## If it fails
The log names the model or test, with its SQL and failing rows without personal data; the button "Build report" of the
task leads to the same as a page. Mend the model or the data, then clear `build_models`.

## Idempotent because
A run is a function of its batches and config; a version is made beside the old one and swapped by one rename.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from perennial.orchestration import assets
from perennial.orchestration.build_links import BuildReport
from perennial.orchestration.defaults import WAREHOUSE_POOL, dag_options, run_params

PARAMS = run_params(force=Param(False, type="boolean", description="Build although the day is done"))


@dag(schedule=(assets.RAW_SALES | assets.RAW_CRM), params=PARAMS, **dag_options("warehouse", doc=__doc__))
def build_warehouse() -> None:
    @task
    def open_day(*, triggering_asset_events: Any = None, params: Any = None, ti: Any = None) -> str:
        from perennial.orchestration import tasks

        return tasks.open_day(triggering_asset_events, params, ti.try_number)

    @task(pool=WAREHOUSE_POOL)
    def build_models(day_run: str) -> dict[str, float]:
        from perennial.orchestration import tasks

        return tasks.build_models(day_run)

    @task(pool=WAREHOUSE_POOL, outlets=list(assets.MARTS.values()))
    def publish_marts(day_run: str, seconds: dict[str, float], *, outlet_events: Any = None) -> int:
        from perennial.orchestration import tasks

        return tasks.publish_marts(day_run, seconds, assets.MARTS, outlet_events)

    day_run = open_day()
    seconds = build_models(day_run)
    seconds.operator.operator_extra_links = (BuildReport(),)
    publish_marts(day_run, seconds)


build_warehouse()
