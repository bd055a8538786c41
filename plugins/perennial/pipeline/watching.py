"""The daily watch: whether a score's model may still be used for the day (L6), kept in the ledger for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.contracts.scores import RESPONSE_PREFIX
from perennial.core.settings import Settings
from perennial.ledger.cards import StoredCard
from perennial.ledger.checks import ScoreCheck
from perennial.warehouse.engine import Published

FEATURES = "client_features"
SAMPLE = 20_000  # clients: PSI is then exact to .003
_KEYS = ("client_id", "as_of_date")


@dataclass(frozen=True)
class DayFeatures:
    """The published features of a day: a sample for the watch, read once, and where the shop's history begins."""

    published: Published
    as_of: date

    @cached_property
    def sample(self) -> pa.Table:
        """All features of at most 20,000 clients by the hash of their id (L26)."""
        names = [name for name, _ in self.published.tables()[FEATURES] if name not in _KEYS]
        return sample_of(self.published, self.as_of, names, SAMPLE)

    @cached_property
    def history_start(self) -> date:
        """The first day with an order: how much of a window a past date could see depends on it."""
        query = "select min(ordered_on) as first from fct_orders where ordered_on <= ?"
        found = self.published.query(query, [self.as_of]).column("first")[0].as_py()
        return found if isinstance(found, date) else self.as_of


def check_model(settings: Settings, run: DayRun, day: DayFeatures, used: StoredCard, scorer: Any) -> ScoreCheck:
    """What may be said of the model on the run's date: too old stops, drift and unseen values warn or stop."""
    from perennial.scoring.threads import one_thread
    from perennial.scoring.watch import watch

    with one_thread():
        watched = watch(used.card, scorer, day.sample, day.history_start, settings.scoring.drift)
    age, limit = (run.as_of - used.trained_as_of).days, settings.scoring.stop_after_days
    verdict, sentences = watched.verdict, list(watched.sentences)
    if age > limit:
        verdict = "stopped"
        sentences.insert(0, f"the model is {age} days old, after {limit} no score is given")
    figures = {"age_days": age, "drift": watched.verdict, "features": watched.figures}
    return ScoreCheck(run.as_of, used.score, used.model_version, verdict, tuple(sentences), figures)


def sample_of(published: Published, as_of: date, names: list[str], clients: int) -> pa.Table:
    """The features of the day's clients, at most so many of them by the hash of their id (L26)."""
    from perennial.core.sqltext import identifier

    columns = ", ".join(identifier(name) for name in names)
    # The ids first: sorting whole rows costs twice as much.
    chosen = f"select client_id from {FEATURES} where as_of_date = ? order by md5(client_id), client_id limit {clients}"
    return published.query(
        f"select client_id, as_of_date, {columns} from {FEATURES} where as_of_date = ? and client_id in ({chosen}) "
        "order by md5(client_id), client_id",
        [as_of, as_of],
    )


def without(score: str) -> str:
    """What it means that nobody has the score today."""
    if score.startswith(RESPONSE_PREFIX):
        return "its card keeps the assumed effect, rules that name it refuse everyone (score_missing)"
    return "campaigns that stand on it refuse everyone (score_missing)"


def told(check: ScoreCheck) -> list[str]:
    """The sentences of a check for the run's notes."""
    if check.verdict == "stopped":
        fix = f"see `perennial models show {check.model_version}`"
        said = "; ".join(check.sentences)
        return [f"{check.score}: STOPPED, NO SCORES: {said}; {without(check.score)}; {fix}"]
    return [f"{check.score}: warning: {sentence}" for sentence in check.sentences]
