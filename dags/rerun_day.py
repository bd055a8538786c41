"""Compute a past day once more: what Airflow's backfill drives.

## What
All steps of one business date in one task, from the set of batches that the date was computed from. Nothing of a
past date is pushed.

## When
By a person or by Airflow's backfill (`airflow backfill create --dag-id rerun_day --from-date ... --to-date ...`);
it is paused otherwise.

## Reads
What the chain reads.

## Writes
The tables of that date, in a version of its own; `current` does not move.

## Parameters
`as_of`: a business date; empty for the run's logical date.

## If it fails
As the chain's DAGs; the log names the step.

## Idempotent because
Each step replaces what it wrote for its date.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, task

from perennial.orchestration.defaults import WAREHOUSE_POOL, dag_options, run_params

DAILY = CronTriggerTimetable("0 0 * * *", timezone="UTC")


@dag(schedule=DAILY, params=run_params(), is_paused_upon_creation=True, **dag_options("operation", doc=__doc__))
def rerun_day() -> None:
    @task(pool=WAREHOUSE_POOL)
    def rerun_steps(*, logical_date: Any = None, params: Any = None) -> dict[str, int]:
        from perennial.orchestration import tasks

        given = params.get("as_of")
        return tasks.rerun(date.fromisoformat(given) if given else logical_date.date())

    rerun_steps()


rerun_day()
