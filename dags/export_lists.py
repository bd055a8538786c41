"""Hand over today's lists: only what is new, nothing twice, no one who withdrew.

## What
Reads consent again, compares the plan with what was delivered, and writes a CSV and a Parquet file for each
campaign and channel with new rows, with a manifest. A run with nothing new writes nothing.

## When
After `targeting.campaign_outcomes`.

## Reads
Published `campaign_outcomes`, the private store of addresses, the ledger's consents and deliveries,
`config/destinations.yml`.

## Writes
`outbox/<as_of>/<campaign>__<channel>/`, the ledger's lists and deliveries; asset `outbox.lists` with the sums.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
The log names the list and the rows with reason and fix. Clear the task: what was handed over is not written again.

## Idempotent because
A list is accepted when its folder is renamed into place, and marked after that; the key campaign, client, channel,
date is never sent twice.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import dag_options, run_params


@dag(schedule=[assets.CAMPAIGN_OUTCOMES], params=run_params(), **dag_options("delivery", doc=__doc__))
def export_lists() -> None:
    @task(outlets=[assets.LISTS])
    def write_lists(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import tasks

        return tasks.export_lists(triggering_asset_events, params, assets.LISTS, outlet_events)

    write_lists()


export_lists()
