"""Hand over today's lists: only what is new, nothing twice, no one who withdrew.

## What
Reads consent again, compares the plan with what was delivered, and hands each destination of
`config/destinations.yml` what is new in its lists: files with a manifest, or calls to a mailing tool in chunks that are
marked row by row. One mapped task for each destination, its lists inside. A run with nothing new sends nothing.

## When
After `targeting.campaign_outcomes`.

## Reads
Published `campaign_outcomes`, the private store of addresses, the ledger's consents, suppressions, approvals and
deliveries, `config/destinations.yml`, withdrawals in each tool.

## Writes
`outbox/<as_of>/<campaign>__<channel>/`, the tools' lists, the ledger's lists, chunks and deliveries; asset
`outbox.lists` with the sums.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
The log names the list and the rows with reason and fix. Clear the task: what was handed over is not handed over again.
Lists that wait for a person are asked about by `approve_lists`.

## Idempotent because
Files are accepted when their folder is renamed into place, chunks are written down before they are sent; both are
marked after that; the key campaign, client, channel, date is never sent twice.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import dag_options, run_params
from perennial.orchestration.push import PushLists

_AT_ONCE = 8


@dag(schedule=[assets.CAMPAIGN_OUTCOMES], params=run_params(), **dag_options("delivery", doc=__doc__))
def export_lists() -> None:
    @task
    def name_destinations() -> list[str]:
        from perennial.orchestration import push

        return push.destinations_of_day()

    @task(outlets=[assets.LISTS])
    def close_day(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import push

        return push.close_day(triggering_asset_events, params, assets.LISTS, outlet_events)

    pushed = PushLists.partial(
        task_id="push_lists",
        map_index_template="{{ task.destination }}",
        max_active_tis_per_dag=_AT_ONCE,
    ).expand(destination=name_destinations())
    pushed >> close_day()


export_lists()
