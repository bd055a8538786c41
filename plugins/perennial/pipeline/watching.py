"""The daily watch: whether a score's model may still be used for the day (L6), kept in the ledger for everyone."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.ledger.cards import StoredCard
from perennial.ledger.checks import ScoreCheck
from perennial.warehouse.engine import Published

if TYPE_CHECKING:
    from perennial.scoring.watch import Watched

FEATURES = "client_features"
SAMPLE = 50_000  # clients: PSI is then exact to .001


def check_model(  # noqa: PLR0917
    settings: Settings, run: DayRun, published: Published, used: StoredCard, scorer: Any, history_start: date
) -> ScoreCheck:
    """What may be said of the model on the run's date: too old stops, drift and unseen values warn or stop."""
    watched = _watched(settings, run, published, used, scorer, history_start)
    age, limit = (run.as_of - used.trained_as_of).days, settings.scoring.stop_after_days
    verdict, sentences = watched.verdict, list(watched.sentences)
    if age > limit:
        verdict = "stopped"
        sentences.insert(0, f"the model is {age} days old, after {limit} no score is given")
    figures = {"age_days": age, "drift": watched.verdict, "features": watched.figures}
    return ScoreCheck(run.as_of, used.score, used.model_version, verdict, tuple(sentences), figures)


def _watched(  # noqa: PLR0917
    settings: Settings, run: DayRun, published: Published, used: StoredCard, scorer: Any, history_start: date
) -> Watched:
    from perennial.scoring.threads import one_thread
    from perennial.scoring.watch import watch

    names = sorted({*used.card["bins"], *scorer.feature_names})
    with one_thread():
        sample = sample_of(published, run.as_of, names, SAMPLE)
        return watch(used.card, scorer, sample, history_start, settings.scoring.drift)


def sample_of(published: Published, as_of: date, names: list[str], clients: int) -> pa.Table:
    """The features of the day's clients, at most so many of them by the hash of their id (L26)."""
    from perennial.core.sqltext import identifier

    columns = ", ".join(identifier(name) for name in names)
    return published.query(
        f"select client_id, as_of_date, {columns} from {FEATURES} where as_of_date = ? "
        f"order by md5(client_id), client_id limit {clients}",
        [as_of],
    )


def told(check: ScoreCheck) -> list[str]:
    """The sentences of a check for the run's notes."""
    if check.verdict == "stopped":
        fix = f"see `perennial models show {check.model_version}`"
        nobody = "campaigns that stand on it refuse everyone (score_missing)"
        return [f"{check.score}: STOPPED, NO SCORES: {'; '.join(check.sentences)}; {nobody}; {fix}"]
    return [f"{check.score}: warning: {sentence}" for sentence in check.sentences]
