"""Take what CRM files have landed, row by row accounted for.

## What
Takes the CRM's exports that have landed (households, demographics, consents, campaigns of the past, redemptions):
checks every row, sets bad ones aside, commits the good ones, and appends consents to the ledger.

## When
As soon as files in the landing zone have settled (asset `landing.crm`, watched by the triggerer); no polling runs.

## Reads
`landing/` of the home folder, `config/sources.yml`, the ledger.

## Writes
`raw/`, `quarantine/`, `archive/`, `refused/`, the ledger's batches, Data Docs; asset `raw.crm` with rows, rejected
rows and dates.

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


@dag(schedule=[assets.LANDING_CRM], **dag_options("ingest", doc=__doc__))
def ingest_crm() -> None:
    @task(outlets=[assets.RAW_CRM])
    def ingest_batches(*, outlet_events: Any = None) -> dict[str, int]:
        from perennial.orchestration import tasks

        return tasks.ingest_landed("ingest_crm", assets.RAW_CRM, outlet_events)

    ingest_batches()


ingest_crm()
