"""Take what sales files have landed, row by row accounted for.

## What
Takes the sales and product files that have landed: checks every row against the contract in config/sources.yml,
sets bad rows aside with file, line, column and reason, and commits the good ones.

## When
As soon as files in the landing zone have settled (asset `landing.sales`, watched by the triggerer); no polling runs.

## Reads
`landing/` of the home folder, `config/sources.yml`, the ledger.

## Writes
`raw/`, `quarantine/`, `archive/`, `refused/`, the ledger's batches, Data Docs; asset `raw.sales` with rows,
rejected rows and dates.

## Parameters
None.

## If it fails
The log names file, line, column and fix. Mend the file and drop it into the landing zone again, or clear the task:
files that are committed are not taken twice.

## Idempotent because
A batch is visible with one row of the ledger, written last; a file is known by its checksum, a row by its hash.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import dag_options


@dag(schedule=[assets.LANDING_SALES], **dag_options("ingest", doc=__doc__))
def ingest_sales() -> None:
    @task(outlets=[assets.RAW_SALES])
    def ingest_batches(*, outlet_events: Any = None) -> dict[str, int]:
        from perennial.orchestration import tasks

        return tasks.ingest_landed("ingest_sales", assets.RAW_SALES, outlet_events)

    ingest_batches()


ingest_sales()
