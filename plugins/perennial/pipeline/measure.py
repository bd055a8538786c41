"""The step that learns: what every campaign has made of its clients until today, against its control (L20)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, get_args

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.measurement import ASSIGNED, CAMPAIGN_RESULTS, Experiment, Metric
from perennial.contracts.policy import CONTROL
from perennial.contracts.records import DayRun, StepReport
from perennial.contracts.targeting import Campaign
from perennial.core.settings import Settings
from perennial.ledger import assignments, effects, forecasts
from perennial.ledger import results as final
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, published_version
from perennial.pipeline.rekey import aliases_of, rekeyed
from perennial.targeting.arms import shares
from perennial.targeting.config import load_targeting
from perennial.targeting.scan import published_catalogue
from perennial.warehouse.engine import Published, open_published, publish_table

RESULTS_TABLE = "fct_campaign_results"
HEADLINE: Metric = "revenue"
_ORDERS_TABLE = "fct_orders"
_MARGIN = "margin"
_SOURCE = "measure"


def measure(settings: Settings, run: DayRun) -> StepReport:
    """Measure all campaigns that anyone was drawn in before the day; publish the date's `fct_campaign_results`.

    The margin per client of cards that began with a pilot goes into the ledger, where the gate of the pilot reads it.
    What is final is frozen there, and from then on shown as it was (L21). A day before any campaign publishes nothing.
    Run again it gives the same.
    """
    from perennial.measurement.outcomes import read_outcomes
    from perennial.measurement.results import campaign_results, is_final

    started = time.perf_counter()
    engine = open_ledger(settings)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        tables = published.tables()
        cards = load_targeting(settings, published_catalogue(published, tables)).campaigns
        closed = final.frozen(engine, until=run.as_of)
        running = _experiments(engine, cards, run.as_of) if _ORDERS_TABLE in tables else []
        experiments = [one for one in running if one.campaign_id not in closed]
        assigned = _assigned(engine, published, experiments, run.as_of)
        outcomes = read_outcomes(published, experiments, assigned, run.as_of) if experiments else []
    rows, notes = campaign_results(experiments, outcomes, run.as_of)
    ended = {one.campaign_id for one in experiments if is_final(one, run.as_of)}
    rows = [{**row, "frozen_on": run.as_of if row["campaign_id"] in ended else None} for row in rows]
    if run.is_latest:
        _tell_pilots(engine, cards, rows, run)
        final.freeze(engine, [row for row in rows if row["frozen_on"]], on=run.as_of)
    rows += [{**row, "as_of_date": run.as_of} for known in closed.values() for row in known]
    if rows:
        found = pa.Table.from_pylist(rows, schema=CAMPAIGN_RESULTS)
        version_id = publish_table(settings, run, RESULTS_TABLE, found, step="measure")
        advance(engine, run.run_id, "scored", version_id=version_id)
    seconds = {"measure": round(time.perf_counter() - started, 3)}
    counts = {RESULTS_TABLE: len(rows)} if rows else {}
    return StepReport(run.run_id, run.as_of, "measure", counts, seconds, tuple(notes))


def _experiments(engine: sa.Engine, cards: Sequence[Campaign], as_of: date) -> list[Experiment]:
    """The cards that anyone was drawn in before the day."""
    begun = assignments.begun(engine, [card.id for card in cards], until=as_of)
    planned = {name: int(row["size"]) for name, row in forecasts.newest(engine).items() if row["as_of"] <= as_of}
    return [experiment_of(card, planned.get(card.id)) for card in cards if begun.get(card.id, as_of) < as_of]


def experiment_of(card: Campaign, planned_clients: int | None = None) -> Experiment:
    """How a card is measured: its window, its shares, and by what it is judged (revenue, unless it names a metric)."""
    known = {name: name for name in get_args(Metric)}
    options: dict[str, Any] = {"planned_clients": planned_clients} if planned_clients else {}
    return Experiment(
        campaign_id=card.id,
        window_days=card.success_window_days,
        headline=known.get(card.success_metric, HEADLINE),
        shares={arm: below - above for arm, above, below in shares(card) if above < below},
        margin_share=card.expected_value.margin_share,
        ends_on=card.ends_on,
        controls=(CONTROL,),
        **options,
    )


def _assigned(
    engine: sa.Engine, published: Published, experiments: Sequence[Experiment], as_of: date
) -> Iterator[pa.RecordBatch]:
    """Who was drawn before the day, by today's ids: of a client who was joined from several the oldest draw stays."""
    aliases = aliases_of(published)
    for one in experiments:
        drawn = assignments.drawn_in(engine, one.campaign_id, until=as_of - timedelta(days=1))
        today = rekeyed(drawn, aliases, one_per=("campaign_id", "client_id"))
        yield from today.select(ASSIGNED.names).cast(ASSIGNED).to_batches()


def _tell_pilots(engine: sa.Engine, cards: Sequence[Campaign], rows: Sequence[dict[str, Any]], run: DayRun) -> None:
    """The interval by which a verdict is given, not the one that is shown: the gate looks every day."""
    pilots = {card.id for card in cards if card.pilot is not None and not card.arms}
    for row in rows:
        if row["campaign_id"] in pilots and row["metric"] == _MARGIN and row["decided_low"] is not None:
            low, high = row["decided_low"], row["decided_high"]
            effects.record(engine, row["campaign_id"], run.as_of, low=low, high=high, source=_SOURCE)
