"""Ask outside systems for what is new, and put it into the landing zone.

## What
Asks each source that is due (S3 and SFTP folders, databases, CRM and shop APIs), one mapped task for each, and puts
what is new into the landing zone as whole files. Ingestion takes them there like any other file.

## When
When a source's `every_minutes` have passed and, for remote files, something new is listed (asset `landing.due`,
watched by the triggerer); no polling runs. Without such a source in `config/sources.yml`: never.

## Reads
`config/sources.yml`, Airflow's connections, the outside systems, the ledger's cursors.

## Writes
`landing/` of the home folder, the ledger's cursors and fetched files. Of remote files that are committed, what
`after` says.

## Parameters
`source`: one source of sources.yml, to ask it now; empty for those of the triggering event, else all.

## If it fails
The log names source, entity, what was wrong and what to do. What landed stands, and the next run goes on behind it.
What passes by itself (a dropped connection, a busy system) is tried again by Airflow.

## Idempotent because
The cursor is written after the file lies in the landing zone: what is fetched twice is a duplicate, which ingestion
knows by its bytes, its rows by their hashes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import dag_options

_SOURCE = Param(None, type=["null", "string"], description="One source; empty: those that are due, else all")
_AT_ONCE = 4


@dag(schedule=[assets.LANDING_DUE], params={"source": _SOURCE}, **dag_options("ingest", doc=__doc__))
def fetch_sources() -> None:
    @task
    def list_due(*, triggering_asset_events: Any = None, params: Any = None) -> list[str]:
        from perennial.orchestration import tasks

        return tasks.sources_to_fetch(triggering_asset_events, params)

    @task(
        map_index_template="{{ task.op_kwargs['source'] }}",
        max_active_tis_per_dag=_AT_ONCE,
        retries=4,
        retry_delay=timedelta(seconds=15),
        retry_exponential_backoff=True,
    )
    def fetch_source(source: str) -> dict[str, int]:
        from perennial.orchestration import tasks

        return tasks.fetch_source(source)

    fetch_source.expand(source=list_due())


fetch_sources()
