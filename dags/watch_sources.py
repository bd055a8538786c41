"""Tell people what is wrong with a source, once, and when it is over.

## What
Sends the alerts that nobody was told of yet (refused batches, a growing quarantine, a silent source, failing fetches,
new columns) to the channels of config/perennial.yml, each with a link to the page about it.

## When
As soon as there is something to tell (asset `operation.alerts`, watched by the triggerer); no polling runs. Without
`alerts:` in config/perennial.yml it never runs.

## Reads
The ledger, `config/sources.yml`, `config/perennial.yml`.

## Writes
The ledger's alerts: what was told.

## Parameters
None.

## If it fails
A channel could not be told: the log names its connection. Mend it and clear the task; what others took is not sent
again.

## Idempotent because
An alert is marked as told after it was sent, and only what is not marked is sent.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import dag_options


@dag(schedule=[assets.ALERTS], **dag_options("operation", doc=__doc__))
def watch_sources() -> None:
    @task
    def tell_people() -> int:
        from perennial.orchestration import tasks

        return tasks.tell_people()

    tell_people()


watch_sources()
