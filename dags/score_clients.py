"""Score every client, with reasons.

## What
Applies the champion model of each score to every client as of the run's date. Before that the daily watch compares
the day with the day of training: drift, unseen values and age warn, or stop the score (L6).

## When
After `scores.models`.

## Reads
Published `client_features`, `models/`, the ledger's model cards.

## Writes
Published `client_scores`; asset `scores.client_scores` with rows.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
A missing or changed feature is named (features are never filled in). Build the warehouse again, or train anew, then
clear the task. A score that the watch stopped is a note and an alert, not a failure: docs/runbook.md, "Scores stopped".

## Idempotent because
It replaces the part of its date.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import WAREHOUSE_POOL, dag_options, run_params


@dag(schedule=[assets.MODELS], params=run_params(), **dag_options("scoring", doc=__doc__))
def score_clients() -> None:
    @task(pool=WAREHOUSE_POOL, outlets=[assets.CLIENT_SCORES])
    def score_clients(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import tasks

        return tasks.score_clients(triggering_asset_events, params, assets.CLIENT_SCORES, outlet_events)

    score_clients()


score_clients()
