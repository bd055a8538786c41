"""Pushing the lists of one destination: jobs of a tool are waited for outside of the worker, and a stall is noticed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from perennial.orchestration.errors import as_airflow_errors

_LOOK_SECONDS = 30

log = logging.getLogger("perennial")


class PushLists(BaseOperator):
    """Hands the day's lists of `destination` over; gives their sums.

    While the tool works on jobs of ours the task is deferred and looks again every half a minute. When nothing has
    gone on in the tool for half an hour it fails for now: the next try follows the jobs on.
    """

    template_fields = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Any) -> dict[str, int]:
        """Hand over what is new, or look how jobs are going on."""
        counts, at_work = push_lists(context.get("triggering_asset_events"), context["params"], self.destination)
        if at_work:
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=_LOOK_SECONDS)), method_name="look_again")
        return counts

    def look_again(self, context: Any, event: Any = None) -> dict[str, int]:  # noqa: ARG002 - Airflow's signature
        """The same once more: what was handed in is followed, and sent no second time."""
        return self.execute(context)


def push_lists(events: Any, params: Mapping[str, Any], destination: str) -> tuple[dict[str, int], bool]:
    """The sums of the destination's lists, and whether the tool is still at jobs of ours.

    Raises RetryableError when it has not moved for half an hour.
    """
    from perennial.core.settings import load_settings
    from perennial.delivery.engine.pusher import Patience
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run
    from perennial.orchestration.connections import AirflowConnections
    from perennial.orchestration.tasks import run_of
    from perennial.pipeline.export import Options, export
    from perennial.pipeline.export.progress import require_progress

    run_id = run_of(events, params)
    with as_airflow_errors():
        settings = load_settings()
        run = get_run(open_ledger(settings), run_id)
        how = Options(AirflowConnections(), only=destination, patience=Patience(follow=False))
        lists = export(settings, run, how)
        at_work = any(report.reasons.get("in_progress") for report in lists)
        if at_work:
            require_progress(settings, destination)
    names = ("size", "sent", "rejected", "skipped", "pending")
    return {name: sum(getattr(report, name) for report in lists) for name in names}, at_work


def destinations_of_day() -> list[str]:
    """The destinations of config/destinations.yml. Fails when the file is wrong."""
    from perennial.core.settings import load_settings
    from perennial.delivery.destinations import load_destinations

    with as_airflow_errors():
        return list(load_destinations(load_settings()).destinations)


def close_day(events: Any, params: Mapping[str, Any], asset: Any, outlet_events: Any) -> dict[str, int]:
    """The run is done: all its lists went to where they go. The event tells their sums (L15)."""
    from perennial.core.settings import load_settings
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run
    from perennial.orchestration.tasks import run_of
    from perennial.pipeline.export.progress import close

    run_id = run_of(events, params)
    with as_airflow_errors():
        settings = load_settings()
        run = get_run(open_ledger(settings), run_id)
        told = close(settings, run)
    outlet_events[asset].extra = {"as_of": run.as_of.isoformat(), "run_id": run.run_id, **told}
    return {name: told[name] for name in ("size", "sent", "rejected", "skipped", "pending")}


def questions_or_skip() -> list[dict[str, str]]:
    """Subject and text of each list that waits for a person. Skips when nobody is asked."""
    from perennial.core.settings import load_settings
    from perennial.pipeline.export.questions import in_words

    with as_airflow_errors():
        found = in_words(load_settings())
    if not found:
        raise AirflowSkipException("No list waits for a person.")
    return found


def push_approved(answers: Iterable[Mapping[str, Any]], events: Any, params: Mapping[str, Any]) -> dict[str, int]:
    """Write down what people answered, and hand over what they approved; how many said what.

    A list that nobody answered for is not sent. An answer about a list that was answered meanwhile changes nothing.
    """
    from perennial.core.errors import PermanentError
    from perennial.core.settings import load_settings
    from perennial.orchestration.asking import SEND
    from perennial.pipeline.export.questions import take

    counts = {"approved": 0, "refused": 0, "nothing": 0}
    settings = load_settings()
    for one in answers:
        if not one["by"]:
            counts["nothing"] += 1
            continue
        reason = one["reason"] or "answered in Airflow"
        try:
            counts[take(settings, one["subject"], approved=one["chosen"] == [SEND], by=one["by"], reason=reason)] += 1
        except PermanentError as error:  # by the page, the command line, or an earlier try of this task
            log.info("%s", error)
    for destination in destinations_of_day():
        push_lists(events, params, destination)
    return counts
