"""The daily watch: what drifted warns or stops (L6), what chance or the calendar makes does neither; champion beside challenger."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from factories.client_behaviour import START
from perennial.core.settings import Drift
from perennial.scoring.champion import beside_champion
from perennial.scoring.drift import reference_bins
from perennial.scoring.watch import watch

TODAY = date(2017, 10, 1)
LIMITS = Drift()
NAMES = ("recency_days", "orders_28d", "orders_total", "is_odd")


def features(clients, *, seed=1, **moved):
    """Clients of an ordinary day; `moved` adds to a column, or replaces it with an array."""
    random = np.random.default_rng(seed)
    columns = {
        "recency_days": random.exponential(30, clients).round(),
        "orders_28d": random.poisson(2, clients).astype(float),
        "orders_total": random.poisson(20, clients).astype(float),
        "is_odd": np.ones(clients),
    }
    for name, change in moved.items():
        columns[name] = columns[name] + change if np.isscalar(change) else change
    return columns


def table(columns):
    clients = len(columns["recency_days"])
    ids = [f"c{n:06d}" for n in range(clients)]
    numbers = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    return pa.table({"client_id": ids, "as_of_date": pa.array([TODAY] * clients, pa.date32()), **numbers})


def card(columns):
    return {
        "drift_features": list(NAMES),
        "bins": {name: reference_bins(values) for name, values in columns.items()},
        "scored_clients": len(columns["recency_days"]),
        "history_days": 200.0,
    }


def watched(before, now):
    return watch(card(before), None, table(now), START, LIMITS)


def test_another_draw_of_the_same_clients_passes_and_no_figure_is_above_chance():
    found = watched(features(5_000), features(5_000, seed=2))
    assert (found.verdict, found.sentences) == ("passed", ())
    assert {values["psi"] for values in found.figures.values()} == {0.0}


@pytest.mark.parametrize("seed", range(2, 7))
def test_a_shop_of_thirty_clients_is_not_stopped_by_chance(seed):
    assert watched(features(30), features(30, seed=seed)).verdict == "passed"


def test_a_feed_that_stopped_for_a_quarter_is_seen_and_stops_l6():
    found = watched(features(5_000), features(5_000, recency_days=90.0))
    assert found.verdict == "stopped"
    assert found.sentences[0].startswith("recency_days has drifted: PSI")
    assert found.sentences[0].endswith("2 stops")


def test_a_change_between_the_limits_warns():
    found = watched(features(5_000), features(5_000, recency_days=4.0))
    assert found.verdict == "warned"
    assert any(sentence.endswith("0.25 warns") for sentence in found.sentences)


def test_a_column_that_became_unknown_counts_as_never_seen():
    found = watched(features(5_000), features(5_000, orders_28d=np.full(5_000, np.nan)))
    assert found.verdict == "stopped"
    assert any("orders_28d: 100% of the clients have values that training never saw" in s for s in found.sentences)


def test_values_outside_the_range_of_training_warn_with_the_range():
    now = features(5_000)
    now["orders_28d"][:500] = 40.0
    found = watched(features(5_000), now)
    assert found.verdict == "warned"
    assert any("10% of the clients have values that training never saw (0 to" in s for s in found.sentences)


def test_what_grows_with_the_calendar_warns_and_never_stops():
    found = watched(features(5_000), features(5_000, orders_total=200.0))
    assert found.verdict == "warned"
    assert any(sentence.startswith("orders_total has drifted") for sentence in found.sentences)


def test_a_feature_that_never_varied_or_hardly_moves_the_score_is_not_judged():
    before = features(5_000)
    assert "is_odd" not in watched(before, features(5_000, is_odd=5.0)).figures
    quiet = {**card(before), "drift_features": ["orders_28d"]}
    found = watch(quiet, None, table(features(5_000, recency_days=90.0)), START, LIMITS)
    assert found.verdict == "passed"
    assert found.figures["recency_days"]["psi"] > LIMITS.stop


def test_limits_that_stop_before_they_warn_are_refused():
    with pytest.raises(ValueError, match="below the one that warns"):
        Drift(warn=0.5, stop=0.25)
    with pytest.raises(ValueError, match="below the one that warns"):
        Drift(unseen_warn=0.5, unseen_stop=0.25)


def test_the_score_itself_is_watched(churn, labelled):
    _, today = labelled
    assert watch(churn.card, churn.scorer, today, START, LIMITS).figures["score"]["psi"] == 0.0
    silent = today
    for name in ("recency_days", "orders_7d", "orders_14d", "orders_28d"):
        values = today.column(name).to_numpy() + 60 if name == "recency_days" else np.zeros(today.num_rows)
        silent = silent.set_column(today.column_names.index(name), name, [values])
    found = watch(churn.card, churn.scorer, silent, START, LIMITS)
    assert found.figures["score"]["psi"] > LIMITS.warn
    assert any(sentence.startswith("the scores have drifted") for sentence in found.sentences)


@pytest.fixture
def compared(churn, labelled, trainer):
    """What comes of judging the trained model beside a champion of another day."""
    rows, today = labelled
    frame, _, _ = trainer.frames(trainer.churn, rows, today)

    def compare(trained=churn, *, learned_until, champion=churn.scorer):
        older = {**churn.card, "trained_as_of": learned_until.isoformat()}
        return beside_champion(trainer.churn, trained, frame, older, champion, as_of=trainer.as_of, seed=1)

    return compare


def test_a_challenger_that_ranks_worse_than_a_champion_of_the_time_before_stays_out(compared, churn):
    test = date.fromisoformat(churn.card["cuts"]["test"])
    good = compared(learned_until=test)
    assert good.is_fair
    assert good.figures["auc"] > 0.6
    noise = np.random.default_rng(1).random(len(churn.tested.truth))
    bad = replace(churn, tested=replace(churn.tested, predicted=noise))
    worse = compared(bad, learned_until=test)
    assert "is below" in worse.worse
    assert "of the baseline champion" in worse.worse


def test_a_champion_that_has_seen_the_answers_is_shown_and_does_not_stand_in_the_way(compared, churn):
    noise = np.random.default_rng(1).random(len(churn.tested.truth))
    bad = replace(churn, tested=replace(churn.tested, predicted=noise))
    found = compared(bad, learned_until=date.fromisoformat(churn.card["cuts"]["test"]) + timedelta(days=1))
    assert (found.is_fair, found.worse) == (False, None)
    assert "flattered: it has learned from labels until" in found.note


def test_a_champion_of_other_features_is_not_judged(compared, churn):
    champion = replace_names(churn.scorer)
    assert compared(learned_until=TODAY, champion=champion) is None


def replace_names(scorer):
    """The scorer as if it had been trained with one more feature."""
    return type(scorer)(scorer.model, (*scorer.feature_names, "orders_4d"), scorer.reference)
