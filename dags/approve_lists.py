"""Ask a person about lists that wait: the first to a new tool, lists whose card wants it, lists beyond their limits.

## What
One question for each list that waits, on Airflow's page of required actions: size, changes, who is not on it and why,
cost, forecast, the last list and ten masked rows. An approved list is handed over at once; without an answer it is not
sent. The same can be answered with `perennial approve` or on the page of the day's lists.

## When
After `outbox.lists`; skipped when nobody is asked.

## Reads
The ledger's questions, published tables, the private store of addresses (shown masked).

## Writes
The ledger's answers with name, moment and what was in view; what `export_lists` writes.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
The log names the list. Clear the task: an answer is written once, and what was handed over is not handed over again.

## Idempotent because
The newest answer of a list and date holds, and the export sends only what the ledger does not have.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.asking import ask_person
from perennial.orchestration.defaults import dag_options, run_params

_HOURS = timedelta(hours=24)


@dag(schedule=[assets.LISTS], params=run_params(), **dag_options("delivery", doc=__doc__))
def approve_lists() -> None:
    @task
    def list_questions() -> list[dict[str, str]]:
        from perennial.orchestration import push

        return push.questions_or_skip()

    @task
    def push_approved(said: Any, *, triggering_asset_events: Any = None, params: Any = None) -> Any:
        from perennial.orchestration import push

        return push.push_approved(said, triggering_asset_events, params)

    push_approved(ask_person(list_questions(), wait=_HOURS))


approve_lists()
