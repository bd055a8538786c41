"""Ask the mailing tools what came back: who withdrew there, and what recipients did.

## What
One mapped task for each tool of `config/destinations.yml`: withdrawals first, then deliveries, opens, clicks, bounces
and complaints. Whoever withdrew in one tool is left out by every other at once: the lists' next push, and the next
chunk of one in progress, read the ledger.

## When
Every quarter of an hour, where `config/destinations.yml` names a tool. What tools post to
`/perennial/feedback/<tool>` is known within seconds, without this.

## Reads
`config/destinations.yml`, Airflow's connections, the tools, the ledger's cursors, the private store of addresses.

## Writes
The ledger: feedback events, consents that ended, suppressions, cursors. The next build brings the events into
`fct_communications` and `fct_touches`.

## Parameters
`destination`: one tool, to ask it now; empty for all of them.

## If it fails
The log names the tool, what was wrong and what to do. What was read stands; the next run goes on behind it. Clear the
task, or wait for the next run.

## Idempotent because
A page, what follows from it and the cursor behind it are one transaction; an event is known by its id.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from perennial.orchestration.defaults import dag_options
from perennial.orchestration.feedback_schedule import feedback_schedule

_DESTINATION = Param(None, type=["null", "string"], description="One tool of destinations.yml; empty: all of them")
_AT_ONCE = 4


@dag(schedule=feedback_schedule(), params={"destination": _DESTINATION}, **dag_options("delivery", doc=__doc__))
def pull_feedback() -> None:
    @task
    def list_tools(*, params: Any = None) -> list[str]:
        from perennial.orchestration import feedback_tasks

        return feedback_tasks.tools_to_ask(params)

    @task(
        map_index_template="{{ task.op_kwargs['destination'] }}",
        max_active_tis_per_dag=_AT_ONCE,
        retries=3,
        retry_delay=timedelta(seconds=30),
        retry_exponential_backoff=True,
    )
    def ask_tool(destination: str) -> dict[str, int]:
        from perennial.orchestration import feedback_tasks

        return feedback_tasks.ask_tool(destination)

    ask_tool.expand(destination=list_tools())


pull_feedback()
