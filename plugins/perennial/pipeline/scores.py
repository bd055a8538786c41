"""Training when it is due, and scoring: from the published features of the run's date to `client_scores`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from perennial.contracts.records import DayRun, StepReport
from perennial.contracts.scores import CLIENT_SCORES, RESPONSE_PREFIX
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.ledger.cards import StoredCard
from perennial.ledger.checks import record_check
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, published_version
from perennial.pipeline.budgets import budget_from, budgets
from perennial.pipeline.models import ScoreState, found_schema, keep, state_of, unusable
from perennial.pipeline.next_steps import publish_next, train_next_product
from perennial.pipeline.responses import response_tasks, train_responses
from perennial.pipeline.watching import FEATURES, DayFeatures, check_model, sample_of, told
from perennial.warehouse.engine import Published, open_published, publish_table

if TYPE_CHECKING:  # scikit-learn is imported inside the steps: 1.7 s
    from perennial.scoring.frames import Frame
    from perennial.scoring.next_purchase.training import NextPurchaseTask
    from perennial.scoring.reasons import Explainer
    from perennial.scoring.scorer import Scorer
    from perennial.scoring.tasks import Task as FeatureTask
    from perennial.scoring.training import Trained

    Task = FeatureTask | NextPurchaseTask

SCORES = "client_scores"
CHUNK_ROWS = 100_000
LABELS = (
    "churn_horizon_observed",
    "value_horizon_observed",
    "bought_next_churn_horizon",
    "revenue_next_value_horizon",
    "days_to_next_order",
    "currency",
)
_DIGITS = {"churn_risk": 6, "next_purchase_days": 2}
_MONEY_DIGITS = 4


def tasks_of(settings: Settings) -> tuple[Task, ...]:
    """The scores that are made, with the horizons of the settings."""
    from perennial.scoring.next_purchase.training import NextPurchaseTask
    from perennial.scoring.tasks import ChurnTask, ValueTask

    scoring = settings.scoring
    values = [ValueTask(days, f"value_{days}d") for days in scoring.all_value_days]
    return ChurnTask(scoring.churn_horizon_days), *values, NextPurchaseTask(scoring.churn_horizon_days)


def score_states(settings: Settings, as_of: date) -> list[ScoreState]:
    """The state of each score as of a date, for people."""
    return [state_of(settings, task, as_of) for task in tasks_of(settings)]


def train_if_due(settings: Settings, run: DayRun) -> StepReport:
    """Train each score that has no model, an old or a drifted one; champion, challenger and baselines at the same cut.

    One that is worse than a baseline or than the champion is kept as refused; one that a person must approve waits.
    Writes artefact, card and the ledger's row; rows of the report are the labelled client-dates by score, notes say why
    it was due and what came of it. Idempotent: the same features give the same version.
    """
    started = time.perf_counter()
    engine = open_ledger(settings)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        day = DayFeatures(published, run.as_of)
        reasons = {task.score: _due(settings, run, day, task) for task in tasks_of(settings)}
        due = [task for task in tasks_of(settings) if reasons[task.score]]
        notes = [f"{score}: {reason or 'not due'}" for score, reason in reasons.items()]
        rows: dict[str, int] = {}
        if due:
            held = {task.score: _held(settings, run, day, task) for task in due}
            for task, trained, used in _train(settings, run, published, due, day.history_start):
                notes.append(keep(settings, run, task, trained, used, held=held[task.score]))
                rows[task.score] = len(used)
        notes += train_responses(settings, run, published, day.history_start)
        notes += train_next_product(settings, run, published)
    seconds = {"train": round(time.perf_counter() - started, 3)}
    return StepReport(run.run_id, run.as_of, "train", rows, seconds, tuple(notes))


def score(settings: Settings, run: DayRun) -> StepReport:
    """Score every client of the run's date with the champion of that date, with reasons; publish.

    A score without a champion (its training was refused, or waits for a person), or whose model the daily watch stopped
    (drift, age), has no rows, with a note: what stands on it is then refused by name (`score_missing`), and the rest of
    the day goes on. Raises ContractViolation (L6) when a score was never trained, when the features are not those that
    the model was trained on, or when the artefact is gone or altered.
    """
    started = time.perf_counter()
    engine = open_ledger(settings)
    used: list[_Used] = []
    notes: list[str] = []
    counts: dict[str, int] = {}
    with open_published(settings, published_version(engine, run.run_id)) as published:
        day = DayFeatures(published, run.as_of)
        for task in tasks_of(settings):
            state = state_of(settings, task, run.as_of)
            if state.used is not None:
                used += _passed(settings, run, day, _load(settings, state.used, published), notes)
            elif state.refused is not None or state.waiting is not None:
                notes.append(state.sentence)
            else:
                fix = "run the step that trains (`train_models`) for this day first"
                raise ContractViolation(Problem(f"ledger.model_cards:{task.score}", state.sentence, fix))
        used += _responses(settings, run, day, notes)
        rows_of = _scores(published, run.as_of, used, counts, settings.scoring.budget_share)
        reader = pa.RecordBatchReader.from_batches(CLIENT_SCORES, rows_of)
        version = publish_table(settings, run, SCORES, reader, step="scores")
    version, next_rows, next_notes = publish_next(settings, run, version)
    advance(engine, run.run_id, "scored", version_id=version)
    notes += [*(_told(model, counts, run.as_of) for model in used), *next_notes]
    seconds = {"score": round(time.perf_counter() - started, 3)}
    rows = {model.stored.score: counts.get(model.stored.score, 0) for model in used} | next_rows
    return StepReport(run.run_id, run.as_of, "score", rows, seconds, tuple(notes))


@dataclass(frozen=True)
class _Used:
    """A champion that is loaded."""

    stored: StoredCard
    scorer: Scorer
    explainer: Explainer | None  # None: a response and a day have no reasons


def _responses(settings: Settings, run: DayRun, day: DayFeatures, notes: list[str]) -> list[_Used]:
    """The response models that may be used. One that cannot read the features stops alone: it is nobody's need."""
    found: list[_Used] = []
    published = day.published
    for task in response_tasks(settings):
        state = state_of(settings, task, run.as_of)
        unread = unusable(state.used, published) if state.used else []
        if unread:
            notes.append(f"{state.score}: STOPPED, NO SCORES: {unread[0]}")
        elif state.used is not None:
            found += _passed(settings, run, day, _load(settings, state.used, published), notes)
        elif state.refused is not None or state.waiting is not None:
            notes.append(state.sentence)
    return found


def _passed(settings: Settings, run: DayRun, day: DayFeatures, model: _Used, notes: list[str]) -> list[_Used]:
    """The model, unless the watch stops it (L6); what the watch says is kept in the ledger and told in `notes`."""
    check = check_model(settings, run, day, model.stored, model.scorer)
    record_check(open_ledger(settings), check)
    notes += told(check)
    return [] if check.verdict == "stopped" else [model]


def _held(settings: Settings, run: DayRun, day: DayFeatures, task: Task) -> str | None:
    """Why a new model must not take over by itself: the champion's input has changed beyond what stops it.

    A model that is trained on a broken source would fit it well, and nothing would look drifted any more.
    """
    used = state_of(settings, task, run.as_of).used
    if used is None or unusable(used, day.published):
        return None
    check = check_model(settings, run, day, used, _load(settings, used, day.published).scorer)
    if check.figures["drift"] != "stopped":
        return None
    return f"what the champion stands on has changed beyond the limit that stops: {'; '.join(check.sentences)}"


def _due(settings: Settings, run: DayRun, day: DayFeatures, task: Task) -> str | None:
    from perennial.scoring.drift import drift
    from perennial.scoring.due import due_reason

    state = state_of(settings, task, run.as_of)
    tried = [card.trained_as_of for card in (state.refused, state.waiting) if card is not None]
    return due_reason(
        state.used.card if state.used else None,
        as_of=run.as_of,
        schema=found_schema(day.published),
        train_every_days=settings.scoring.train_every_days,
        max_psi=settings.scoring.drift.warn,
        last_refused=max(tried, default=None),
        drift_of=lambda bins: drift(bins, day.sample.to_batches()),
    )


def _train(
    settings: Settings, run: DayRun, published: Published, due: list[Task], history_start: date
) -> Iterator[tuple[Task, Trained, Frame]]:
    """Each due score trained on its own past dates; all dates are built by dbt at once."""
    from perennial.pipeline.build import training_features
    from perennial.scoring.cuts import training_dates
    from perennial.scoring.features import feature_schema
    from perennial.scoring.frames import MAX_ROWS, frame_of
    from perennial.scoring.next_purchase.training import NextPurchaseTask, train_next_purchase
    from perennial.scoring.training import train

    scoring = settings.scoring
    calendars = {
        task.score: training_dates(
            run.as_of,
            history_start,
            horizon_days=task.horizon_days,
            cuts=scoring.training_cuts,
            step_days=scoring.cut_step_days,
        )
        for task in due
    }
    further = {f"value_{days}d" for days in scoring.further_value_days}
    wanted = {day for score, days in calendars.items() if score not in further for day in days}
    dates = sorted(wanted) or [run.as_of]
    rows = training_features(settings, run, dates, max_clients=MAX_ROWS // len(dates))
    schema = feature_schema(rows.schema, without=LABELS)
    names = [name for name, _ in schema]
    today = frame_of(sample_of(published, run.as_of, names, MAX_ROWS), schema, history_start)
    for task in due:
        asked = calendars[task.score]
        table = _of_horizon(settings, run, task, rows, asked)
        labelled = frame_of(table, schema, history_start, label=task.label).of(asked)
        if isinstance(task, NextPurchaseTask):
            made = train_next_purchase(task, labelled, today, schema, as_of=run.as_of, seed=scoring.seed)
        else:
            made = train(task, labelled, today, schema, as_of=run.as_of, seed=scoring.seed)
        yield task, made, labelled


def _of_horizon(settings: Settings, run: DayRun, task: Task, rows: pa.Table, dates: tuple[date, ...]) -> pa.Table:
    """The rows with labels of the task's horizon: those of a further value horizon are built apart, if they can be."""
    from perennial.pipeline.build import training_features
    from perennial.scoring.cuts import calendar
    from perennial.scoring.frames import MAX_ROWS
    from perennial.scoring.tasks import ValueTask

    if not isinstance(task, ValueTask) or task.horizon_days == settings.scoring.value_horizon_days:
        return rows
    if calendar(dates, task.horizon_days) is None:  # nothing can be learned of it yet, and training says so
        return rows.slice(0, 0)
    scoring = settings.scoring.model_copy(update={"value_horizon_days": task.horizon_days})
    changed = settings.model_copy(update={"file": settings.file.model_copy(update={"scoring": scoring})})
    return training_features(changed, run, dates, max_clients=MAX_ROWS // len(dates))


def _load(settings: Settings, stored: StoredCard, published: Published) -> _Used:
    from perennial.scoring import store
    from perennial.scoring.reasons import Explainer

    problems = unusable(stored, published)
    if problems:
        raise ContractViolation(problems)
    scorer = store.load(settings.home / stored.artefact)
    has_no_reasons = stored.score.startswith(RESPONSE_PREFIX) or stored.score == "next_purchase_days"
    explainer = None if has_no_reasons else Explainer(scorer, currency=settings.company.currency)
    return _Used(stored, scorer, explainer)


def _scores(
    published: Published, as_of: date, used: list[_Used], counts: dict[str, int], share: float | None
) -> Iterator[pa.RecordBatch]:
    """Rows of `client_scores`, chunk by chunk (L26); `counts` is filled with rows by score as they pass."""
    if not used:
        return
    history_start = DayFeatures(published, as_of).history_start
    from perennial.scoring.features import SPOKEN

    held = {name for name, _ in published.tables()[FEATURES]}
    names = sorted({name for model in used for name in model.scorer.feature_names} | (held & set(SPOKEN)))
    planned = budget_from([model.stored.score for model in used]) if share else None
    for batch in _features(published, as_of, names):
        for model in used:
            made = _score_chunk(model, batch, history_start)
            counts[model.stored.score] = counts.get(model.stored.score, 0) + made.num_rows
            yield made
            if share and model.stored.score == planned:
                yield budgets(made, share)


def _score_chunk(model: _Used, batch: pa.RecordBatch, history_start: date) -> pa.RecordBatch:
    import numpy as np

    from perennial.scoring.features import SPOKEN, to_matrix
    from perennial.scoring.threads import one_thread

    matrix = to_matrix(batch, model.scorer.feature_names, history_start)
    spoken = {name: batch.column(name).to_pylist() for name in SPOKEN if name in batch.schema.names}
    with one_thread():  # the same sums on every machine; and waiting threads cost more than they help
        scored = model.scorer.score(matrix)
        nothing = [None] * len(matrix)
        reasons, mains = model.explainer.told(matrix, scored, spoken) if model.explainer else (nothing, nothing)
    digits = _MONEY_DIGITS if model.stored.score.startswith("value_") else _DIGITS.get(model.stored.score, 6)
    rows = len(matrix)
    columns = [
        batch.column("client_id").cast(pa.string()),
        batch.column("as_of_date").cast(pa.date32()),
        pa.array([model.stored.score] * rows),
        *(pa.array(np.round(v, digits), from_pandas=True) for v in (scored.value, scored.low, scored.high)),
        pa.array([model.stored.model_version] * rows),
        pa.array(reasons, pa.string()),
        pa.array(mains, pa.string()),
    ]
    table = pa.RecordBatch.from_arrays(columns, schema=CLIENT_SCORES)
    return table.filter(pa.array(scored.given))


def _features(published: Published, as_of: date, names: list[str]) -> Iterator[pa.RecordBatch]:
    sql = f"select client_id, as_of_date, {_quoted(names)} from {FEATURES} where as_of_date = ? order by client_id"
    return published.batches(sql, [as_of], rows=CHUNK_ROWS)


def _quoted(names: list[str]) -> str:
    from perennial.core.sqltext import identifier

    return ", ".join(identifier(name) for name in names)


def _told(model: _Used, counts: dict[str, int], as_of: date) -> str:
    age = (as_of - model.stored.trained_as_of).days
    version = model.stored.model_version
    return f"{model.stored.score}: {counts.get(model.stored.score, 0):,} clients by {version}, trained {age} days ago"
