"""Measure what campaigns earned until today, then decide who gets which offer through which channel, and why.

## What
First the effect of every campaign against its control group: revenue, margin, orders, with intervals and a plain
verdict. Then segments and campaign cards from config/: eligibility, consent, caps over all channels, one best use of
each client's contacts by expected value, and control groups by salted hash. Every candidate gets one outcome: target,
control, or refused by a named rule.

## When
After `scores.client_scores`.

## Reads
Published tables, `config/segments`, `config/campaigns`, `config/policy.yml`, the ledger's consents, assignments and
deliveries.

## Writes
Published `fct_campaign_results`, `campaign_outcomes`, `client_segments` with its history and sizes, the ledger's
assignments and effects of pilots; assets `measurement.campaign_results`, `targeting.campaign_outcomes`.

## Parameters
`as_of`: a business date whose run exists; empty for the run of the triggering event, else the newest.

## If it fails
A mistake in a card is told with file, line and fix: mend it and clear the task (`./perennial check` tells it before
the run).

## Idempotent because
Arms are drawn once and stored; the outcomes replace the part of their date.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from perennial.orchestration import assets
from perennial.orchestration.defaults import WAREHOUSE_POOL, dag_options, run_params


@dag(schedule=[assets.CLIENT_SCORES], params=run_params(), **dag_options("targeting", doc=__doc__))
def plan_campaigns() -> None:
    @task(pool=WAREHOUSE_POOL, outlets=[assets.CAMPAIGN_RESULTS])
    def measure_campaigns(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import tasks

        return tasks.measure_campaigns(triggering_asset_events, params, assets.CAMPAIGN_RESULTS, outlet_events)

    @task(pool=WAREHOUSE_POOL, outlets=[assets.CAMPAIGN_OUTCOMES])
    def plan_day(*, triggering_asset_events: Any = None, params: Any = None, outlet_events: Any = None) -> Any:
        from perennial.orchestration import tasks

        return tasks.plan_campaigns(triggering_asset_events, params, assets.CAMPAIGN_OUTCOMES, outlet_events)

    measure_campaigns() >> plan_day()


plan_campaigns()
