"""Task bodies: each wraps one function of the pipeline and writes what it did into the events of its assets.

Everything heavy is imported inside a body, so that parsing a DAG file stays cheap (G22).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from perennial.orchestration.errors import as_airflow_errors

if TYPE_CHECKING:
    from perennial.contracts.records import BatchReport, DayRun, StepReport
    from perennial.core.settings import Settings

_IDS_IN_EVENT = 50

log = logging.getLogger("perennial")


def ingest_landed(dag_id: str, asset: Asset, outlet_events: Any) -> dict[str, int]:
    """Take what has landed for the sources of one DAG; the event tells rows, rejected rows and dates touched.

    Skips (no event) when nothing is there that a finished run has not used. The batches of an earlier try that was
    killed after its commit count as new, so that their event is not lost.
    """
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.overview import dates_touched
    from perennial.pipeline.day import unused_batches
    from perennial.pipeline.ingest import ingest
    from perennial.sources.config import load_sources

    with as_airflow_errors():
        settings = _settings()
        sources = [name for name, source in load_sources(settings).sources.items() if source.dag == dag_id]
        reports = [report for source in sources for report in ingest(settings, source)]
        _log_batches(reports)
        new = unused_batches(settings, sources)
    _fail_if_all_refused(reports, new)
    if not new:
        raise AirflowSkipException("Nothing new has landed.")
    rows = _sums(new)
    dates = [report.as_of for report in new if report.as_of]
    refused = sum(report.state == "refused" for report in reports)
    batch_ids = [report.batch_id for report in new]
    first, last = dates_touched(open_ledger(settings), batch_ids)
    outlet_events[asset].extra = {
        "as_of": max(dates).isoformat() if dates else None,
        "batches": len(new),
        "refused_batches": refused,
        "batch_ids": batch_ids[:_IDS_IN_EVENT],
        "first_business_date": first.isoformat() if first else None,
        "last_business_date": last.isoformat() if last else None,
        "rows": rows["loaded"],
        "rejected": rows["quarantined"],
        **rows,
    }
    return {**rows, "batches": len(new), "refused_batches": refused}


def tell_people() -> int:
    """Send the alerts that nobody was told of yet; their number. Fails when a channel could not be told."""
    from perennial.orchestration.notify import tell_alerts

    with as_airflow_errors():
        return tell_alerts(_settings())


def sources_to_fetch(events: Any, params: Mapping[str, Any]) -> list[str]:
    """The source that a person names, else those that the triggering events tell of, else all that are asked.

    Skips when there is none.
    """
    from perennial.pipeline.fetch import fetchable

    with as_airflow_errors():
        names = fetchable(_settings())
    told = {name for event in _flat(events) for name in (event.extra.get("payload") or {}).get("sources", [])}
    asked = [name for name in names if name in told or not told]
    found = [params["source"]] if params.get("source") else asked
    if not found:
        raise AirflowSkipException("No source of config/sources.yml is asked.")
    return found


def fetch_source(source: str) -> dict[str, int]:
    """Ask one source for what is new. Fails with the problems of all its entities; retried when one may pass."""
    from perennial.core.errors import PermanentError, RetryableError
    from perennial.orchestration.connections import AirflowConnections
    from perennial.pipeline.fetch import fetch

    with as_airflow_errors():
        reports = fetch(_settings(), source, connections=AirflowConnections())
        for report in reports:
            log.info("%s.%s: %s files, %s rows", report.source, report.entity, len(report.files), f"{report.rows:,}")
            for note in report.notes:
                log.warning("%s.%s: %s", report.source, report.entity, note)
        errors = [report.problem for report in reports if report.problem is not None]
        if errors:
            problems = [problem for error in errors for problem in error.problems]
            may_pass = any(isinstance(error, RetryableError) for error in errors)
            raise RetryableError(problems) if may_pass else PermanentError(problems)
    return {"files": sum(len(report.files) for report in reports), "rows": sum(report.rows for report in reports)}


def open_day(events: Any, params: Mapping[str, Any], try_number: int) -> str:
    """The id of the run of the day that is now complete; skips while none is, or when it is done already.

    Two sources that commit at once wake two runs of the DAG: the second finds the day published and leaves it. A
    person who clears the task (a further try) means it.
    """
    from perennial.pipeline import day

    with as_airflow_errors():
        settings = _settings()
        run = day.open_day(settings, _as_of(params))
        waiting = day.waiting_for(settings) if run is None else ()
    if run is None:
        raise AirflowSkipException("No day is complete yet: " + "; ".join(waiting))
    taken = run.state == "done" or (events and run.state not in {"open", "built"})
    if taken and try_number <= 1 and not params.get("force"):
        raise AirflowSkipException(f"Nothing new: {run.run_id} is {run.state}. Trigger with force to build it anew.")
    log.info("%s is computed from %s batches", run.run_id, len(run.batch_ids))
    return run.run_id


def build_models(run_id: str) -> dict[str, float]:
    """dbt, once, in this process: models and their tests. Gives the seconds of each model.

    What fails is in the log with its SQL and failing rows, masked; the task's button leads to the same as a page.
    """
    from perennial.orchestration.build_links import log_failures
    from perennial.pipeline.build import build

    try:
        return dict(_step(build, run_id).seconds)
    except AirflowFailException as error:
        log_failures(_settings(), run_id, str(error))
        raise


def publish_marts(run_id: str, seconds: Mapping[str, float], assets: Mapping[str, Asset], outlet_events: Any) -> int:
    """Swap the published version, then tell everyone: rows by our own count, seconds from dbt.

    Where the dbt project is another than yesterday, its documentation is made anew.
    """
    from perennial.pipeline.build import publish

    report = _step(publish, run_id)
    for name, asset in assets.items():
        outlet_events[asset].extra = _extra(
            report, rows=report.rows.get(name, 0), seconds=round(seconds.get(name, 0.0), 3)
        )
    _refresh_docs(run_id)
    return sum(report.rows.values())


def _refresh_docs(run_id: str) -> None:
    """The tables are published whether or not their documentation can be made: what stands in its way is told."""
    from perennial.core.errors import PerennialError
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run
    from perennial.pipeline.dbt_docs import refresh_docs

    settings = _settings()
    try:
        if refresh_docs(settings, get_run(open_ledger(settings), run_id)):
            log.info("dbt docs: made anew, the project has changed")
    except PerennialError as error:
        log.warning("dbt docs: not made: %s", error)


def train_if_due(events: Any, params: Mapping[str, Any], asset: Asset, outlet_events: Any) -> list[str]:
    """Train the scores that are due (none yet, old, drifted); the event wakes scoring either way."""
    from perennial.pipeline.scores import train_if_due as train

    report = _step(train, run_of(events, params))
    outlet_events[asset].extra = _extra(report, notes=list(report.notes))
    return list(report.notes)


def score_clients(events: Any, params: Mapping[str, Any], asset: Asset, outlet_events: Any) -> dict[str, int]:
    """Score every client as of the run's date and publish the scores."""
    from perennial.pipeline.scores import score

    return _told(_step(score, run_of(events, params)), asset, outlet_events)


def measure_campaigns(events: Any, params: Mapping[str, Any], asset: Asset, outlet_events: Any) -> dict[str, int]:
    """What the campaigns have made of their clients until the day, against control (L20), published."""
    from perennial.pipeline.measure import measure

    return _told(_step(measure, run_of(events, params)), asset, outlet_events)


def plan_campaigns(events: Any, params: Mapping[str, Any], asset: Asset, outlet_events: Any) -> dict[str, int]:
    """Decide who gets what today: one outcome for every candidate (L7), published."""
    from perennial.pipeline.plan import plan

    return _told(_step(plan, run_of(events, params)), asset, outlet_events)


def rerun(as_of: date) -> dict[str, int]:
    """A past day once more, from what it was computed from; nothing of it is pushed."""
    from perennial.pipeline.day import run_day

    with as_airflow_errors():
        result = run_day(_settings(), as_of)
    if result.run is None:
        raise AirflowSkipException("; ".join(result.notes))
    return {report.list_id: report.size for report in result.lists}


def run_of(events: Any, params: Mapping[str, Any]) -> str:
    """The one place where a task learns its day: the parameter, else the event of the newest run, else the newest run.

    Events that wait are handed over together: the newest run is what counts, whichever told of itself last.
    """
    from perennial.core.ids import run_order
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import last_run

    with as_airflow_errors():
        engine = open_ledger(_settings())
        as_of = _as_of(params)
        told = [event.extra["run_id"] for event in _flat(events) if event.extra.get("run_id")] if as_of is None else []
        if told:
            return str(max(told, key=run_order))
        run = last_run(engine, as_of)
    if run is None:
        raise AirflowSkipException(f"There is no run {'of ' + as_of.isoformat() if as_of else 'yet'}.")
    return run.run_id


def _settings() -> Settings:
    from perennial.core.settings import load_settings

    return load_settings()


def _as_of(params: Mapping[str, Any]) -> date | None:
    given = params.get("as_of")
    return date.fromisoformat(given) if given else None


def _flat(events: Any) -> list[Any]:
    """The triggering events of all assets, oldest first; none for a run that a person started."""
    if not events:
        return []
    every: Iterable[Any] = (event for found in events.values() for event in found)
    return sorted(every, key=lambda event: event.timestamp)


def _step(function: Callable[[Settings, DayRun], StepReport], run_id: str) -> StepReport:
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run

    with as_airflow_errors():
        settings = _settings()
        report = function(settings, get_run(open_ledger(settings), run_id))
    for name, rows in report.rows.items():
        log.info("%s: %s rows", name, f"{rows:,}")
    for note in report.notes:
        log.info(note)
    return report


def _extra(report: StepReport, **more: Any) -> dict[str, Any]:
    return {"as_of": report.as_of.isoformat(), "run_id": report.run_id, **more}


def _told(report: StepReport, asset: Asset, outlet_events: Any) -> dict[str, int]:
    outlet_events[asset].extra = _extra(report, rows=report.rows, notes=list(report.notes))
    return report.rows


def _sums(reports: Iterable[BatchReport]) -> dict[str, int]:
    counted = list(reports)
    return {key: sum(getattr(r, key) for r in counted) for key in ("landed", "loaded", "quarantined", "duplicate")}


def _log_batches(reports: Iterable[BatchReport]) -> None:
    for report in reports:
        log.info(
            "%s.%s %s: %s landed = %s loaded + %s quarantined + %s duplicate",
            *(
                report.source,
                report.entity,
                report.state,
                report.landed,
                report.loaded,
                report.quarantined,
                report.duplicate,
            ),
        )
        for text in (*report.warnings, *report.reasons):
            log.warning("%s.%s: %s", report.source, report.entity, text)


def _fail_if_all_refused(reports: list[BatchReport], new: list[BatchReport]) -> None:
    """A run that could use nothing of what landed is red in the UI, with the reasons."""
    from perennial.core.errors import BatchRefused

    if reports and not new and all(report.state == "refused" for report in reports):
        with as_airflow_errors():
            raise BatchRefused("; ".join(text for report in reports for text in report.reasons))
