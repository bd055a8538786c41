"""Train the scores that are due.

## What
Decides for each score whether training is due (none yet, old, drifted); if so builds the same feature model at
several past dates, trains, tests on a later date beside simple rules and the champion, and stores the model with its
card. A model worse than a simple rule or than the champion is refused; one that a person must approve waits.

## When
After each publish (`marts.client_features`).

## Reads
Published `client_features`, the build database, the ledger's model cards.

## Writes
`models/`, the ledger's model cards; asset `scores.models`, also when nothing was due.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
The log names the score and what it lacks. Scores of the former model stay in use; clear the task when it is mended.

## Idempotent because
A model is a function of the run's features and the seed; its file is named by its content.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import WAREHOUSE_POOL, dag_options, run_params


@dag(schedule=[assets.CLIENT_FEATURES], params=run_params(), **dag_options("scoring", doc=__doc__))
def train_models() -> None:
    @task(pool=WAREHOUSE_POOL, outlets=[assets.MODELS])
    def train_models(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import tasks

        return tasks.train_if_due(triggering_asset_events, params, assets.MODELS, outlet_events)

    train_models()


train_models()
