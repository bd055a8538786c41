"""Response scores of our own campaigns: labels from what was assigned at random, and what was ordered after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.records import DayRun
from perennial.contracts.scores import RESPONSE_PREFIX
from perennial.contracts.targeting import Campaign
from perennial.core.settings import Settings
from perennial.core.yamlfile import read_yaml, validate
from perennial.ledger import assignments
from perennial.ledger.engine import open_ledger
from perennial.pipeline.models import ScoreState, keep_response, state_of, unusable
from perennial.pipeline.rekey import aliases_of, rekeyed
from perennial.pipeline.watching import FEATURES, sample_of
from perennial.warehouse.engine import Published

if TYPE_CHECKING:
    from perennial.scoring.features import FeatureSchema
    from perennial.scoring.frames import Frame
    from perennial.scoring.uplift.training import ResponseTask

CONTROL = "control"
MAX_DATES = 12  # days of assignment that are learned from: each is one more date of features to build
_FEW = 20  # clients of a day of assignment: below, it is not worth a date


def response_tasks(settings: Settings) -> list[ResponseTask]:
    """One task per campaign card that holds clients back and that anyone was assigned in."""
    from perennial.scoring.uplift.training import ResponseTask

    known = set(assignments.experiments(open_ledger(settings)))
    found = []
    for path in sorted((settings.config_dir / "campaigns").glob("*.yml")):
        card = validate(read_yaml(path), Campaign)
        if card.id in known and card.control_share > 0:
            found.append(ResponseTask(RESPONSE_PREFIX + card.id, card.success_window_days, card.control_share))
    return found


def train_responses(settings: Settings, run: DayRun, published: Published, history_start: date) -> Iterator[str]:
    """Train what is due: no model or an old one, and enough clients with complete windows; sentences for people."""
    from perennial.scoring.uplift.training import MIN_CLIENTS

    engine = open_ledger(settings)
    for task in response_tasks(settings):
        if not _is_due(settings, run, published, state_of(settings, task, run.as_of)):
            yield f"{task.score}: not due"
            continue
        assigned = _assigned(engine, published, task, run.as_of)
        held_back = Counter(assigned.column("arm").to_pylist())[CONTROL]
        contacted = assigned.num_rows - held_back  # in whichever version of the campaign
        if min(contacted, held_back) < MIN_CLIENTS:
            said = f"{contacted} contacted and {held_back} control clients with complete windows"
            yield f"{task.score}: not trained, {said} of {task.horizon_days} days: {MIN_CLIENTS} of each are needed"
            continue
        yield _train(settings, run, published, task, assigned, history_start)


def _is_due(settings: Settings, run: DayRun, published: Published, state: ScoreState) -> bool:
    tried = max((c.trained_as_of for c in (state.used, state.refused, state.waiting) if c is not None), default=None)
    if tried is None or (run.as_of - tried).days >= settings.scoring.train_every_days:
        return True
    return state.used is not None and bool(unusable(state.used, published))


def _assigned(engine: sa.Engine, published: Published, task: ResponseTask, as_of: date) -> pa.Table:
    """Clients with complete windows, by today's ids, of the days on which most were assigned: DRAWN rows."""
    until = as_of - timedelta(days=task.horizon_days)
    drawn = assignments.drawn_in(engine, task.score.removeprefix(RESPONSE_PREFIX), until=until)
    drawn = rekeyed(drawn, aliases_of(published), one_per=("campaign_id", "client_id"))
    days = Counter(drawn.column("assigned_on").to_pylist())
    chosen = [day for day, count in sorted(days.items(), key=lambda one: (-one[1], one[0])) if count >= _FEW]
    kept = pa.array(chosen[: _dates_at_once(published)], pa.date32())
    return drawn.filter(pa.compute.is_in(drawn.column("assigned_on"), kept))


def _dates_at_once(published: Published) -> int:
    """How many dates of features of everyone fit into memory (L26); where not even one does, it is of a sample."""
    from perennial.scoring.frames import MAX_ROWS

    clients = published.query(f"select count(*) as n from {FEATURES}").column("n")[0].as_py()
    return max(1, min(MAX_DATES, MAX_ROWS // max(int(clients), 1)))


def _train(  # noqa: PLR0917
    settings: Settings,
    run: DayRun,
    published: Published,
    task: ResponseTask,
    assigned: pa.Table,
    history_start: date,
) -> str:
    import numpy as np

    from perennial.pipeline.build import training_features
    from perennial.pipeline.scores import LABELS
    from perennial.scoring.features import column, feature_schema
    from perennial.scoring.frames import MAX_ROWS, frame_of
    from perennial.scoring.uplift.training import train_response

    days = sorted(set(assigned.column("assigned_on").to_pylist()))
    features = training_features(settings, run, days, max_clients=MAX_ROWS // len(days))
    schema = feature_schema(features.schema, without=LABELS)
    joined = _joined(features, _with_outcome(published, assigned, task))
    rows = frame_of(joined, schema, history_start, label="bought")
    arms = joined.sort_by([("as_of_date", "ascending"), ("client_id", "ascending")])
    treatment = np.asarray(column(arms, "treated"))
    today = _today(published, run.as_of, schema, history_start)
    trained = train_response(task, rows, treatment, today, schema, as_of=run.as_of, seed=settings.scoring.seed)
    return keep_response(settings, run, trained)


def _with_outcome(published: Published, assigned: pa.Table, task: ResponseTask) -> pa.Table:
    """client_id, as_of_date, treated 0/1, bought 0/1: whether an order that counts came in the window after the day."""
    published.register("p_assigned", assigned.select(["client_id", "assigned_on", "arm"]))
    return published.query(
        f"""
select
    a.client_id,
    a.assigned_on as as_of_date,
    max(case when a.arm = '{CONTROL}' then 0.0 else 1.0 end) as treated,
    max(case when o.client_id is not null then 1.0 else 0.0 end) as bought
from p_assigned as a
left join fct_orders as o
    on o.client_id = a.client_id
    and o.counts_as_order
    and o.ordered_on > a.assigned_on
    and o.ordered_on <= a.assigned_on + {int(task.horizon_days)}
group by a.client_id, a.assigned_on
order by a.assigned_on, a.client_id
"""
    )


def _joined(features: pa.Table, outcome: pa.Table) -> pa.Table:
    """The features of each assigned client on the day of assignment, beside arm and outcome."""
    keys = ["client_id", "as_of_date"]
    schema = pa.schema([features.schema.field("client_id"), features.schema.field("as_of_date")])
    cast = outcome.set_column(0, schema.field(0), outcome.column(0).cast(schema.field(0).type))
    cast = cast.set_column(1, schema.field(1), cast.column(1).cast(schema.field(1).type))
    return cast.join(features, keys=keys, join_type="inner")


def _today(published: Published, as_of: date, schema: FeatureSchema, history_start: date) -> Frame:
    from perennial.scoring.frames import MAX_ROWS, frame_of

    return frame_of(sample_of(published, as_of, [name for name, _ in schema], MAX_ROWS), schema, history_start)
