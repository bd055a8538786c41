"""Reasons: exact for what they say, changing with their cause, in words with numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from factories.client_behaviour import day
from perennial.scoring.features import feature_schema, to_matrix
from perennial.scoring.reasons import MOST, Explainer, groups_of
from perennial.scoring.scorer import Scorer
from perennial.scoring.tasks import CANDIDATES, ChurnTask


@pytest.fixture(scope="module")
def today(churn, labelled):
    return to_matrix(labelled[1], churn.scorer.feature_names, day(0))


@pytest.fixture(scope="module")
def explainer(churn):
    return Explainer(churn.scorer, currency="USD")


def _client(explainer, **features):
    """One client, typical but for what is named."""
    scorer = explainer.scorer
    row = [features.get(name, scorer.reference[name]) for name in scorer.feature_names]
    return np.array([[*row, 281.0]])


def _reasons(explainer, x):
    return json.loads(explainer.explain(x, explainer.scorer.score(x))[0])


def test_a_new_cause_gives_a_new_first_reason(explainer):
    usual = _client(explainer, recency_days=5, gap_days_median=6)
    silent = _client(explainer, recency_days=41, gap_days_median=6)
    assert not any("no purchase for 41 days" in reason for reason in _reasons(explainer, usual))
    found = _reasons(explainer, silent)
    assert any(reason.startswith("no purchase for 41 days; usually every 6 (risk +") for reason in found)


@pytest.fixture(scope="module")
def linear(labelled, trainer):
    """An explainer of a logistic model: it answers every change, trees only those across a split."""
    frame, today, schema = trainer.frames(trainer.churn, *labelled)
    names = tuple(name for name, _ in schema)
    model = trainer.churn.new_model(names, "linear", 1).fit(frame.X, trainer.churn.truth(frame.label))
    medians = dict(zip((*names, "history_days"), np.nanmedian(today.X, axis=0).tolist(), strict=True))
    return Explainer(Scorer(model, names, medians), currency="USD")


def test_a_slower_pace_is_told_with_how_many_times_slower(linear):
    explainer = linear
    slow = _client(explainer, orders_28d=1, orders_14d=1, orders_7d=1, orders_56d=12, orders_90d=20, orders_91d=20)
    index = [group.key for group in explainer.groups].index("pace")
    words = explainer.groups[index].words
    from perennial.scoring.words import Facts

    facts = Facts(slow, explainer.scorer.feature_names, explainer.scorer.reference, "USD")
    assert words(facts, 0) == "orders in the last 28 days 8.4 times less often than in the 63 days before"
    moved, _ = explainer.contributions(slow)
    even = _client(
        explainer, orders_28d=6.15, orders_14d=3, orders_7d=1.5, orders_56d=12.3, orders_90d=20, orders_91d=20
    )
    assert moved[0, index] > explainer.contributions(even)[0][0, index]


def test_what_a_reason_says_is_the_score_less_the_score_without_it(explainer, today):
    moved, effect = explainer.contributions(today[:50])
    keys = [group.key for group in explainer.groups]
    names, model = explainer.scorer.feature_names, explainer.scorer.model
    changed = today[:50].copy()
    for place in explainer.groups[keys.index("spend")].places:
        changed[:, place] = explainer.scorer.reference[names[place]]
    expected = model.shown(model.link(today[:50])) - model.shown(model.link(changed))
    assert np.abs(expected).max() > 0.01
    assert effect[:, keys.index("spend")] == pytest.approx(expected, abs=1e-12)
    assert moved[:, keys.index("spend")] == pytest.approx(model.link(today[:50]) - model.link(changed), abs=1e-9)


def test_what_is_put_instead_of_silence_is_possible(linear):
    """Who bought one usual gap ago has an order in every longer window, and none in the shorter ones."""
    silent = _client(linear, recency_days=60, gap_days_median=10, orders_7d=0, orders_14d=0, orders_28d=0, orders_56d=0)
    recent = _client(linear, recency_days=2, gap_days_median=10, orders_7d=1, orders_14d=3, orders_28d=4, orders_56d=8)
    group = linear.groups[0]
    names = [linear.scorer.feature_names[place] for place in group.places]
    assert group.key == "silence"
    for client, within, without in ((silent, 1, 0), (recent, 3, 0)):
        put = dict(zip(names, linear._instead(group, client)[0], strict=True))
        assert put["recency_days"] == 10
        assert put["orders_7d"] == without
        assert put["orders_14d"] == within


def test_for_the_logistic_model_a_contribution_is_the_sum_of_coefficient_times_difference(labelled, trainer):
    frame, _, schema = trainer.frames(trainer.churn, *labelled)
    names = tuple(name for name, _ in schema)
    model = trainer.churn.new_model(names, "linear", 1).fit(frame.X, trainer.churn.truth(frame.label))
    x = frame.X[:40]
    changed = x.copy()
    spend = [i for i, name in enumerate(names) if name.startswith("revenue")]
    changed[:, spend] = 0.0
    pipeline = model.members_["linear"]
    prepared = pipeline[:-1].transform(x) - pipeline[:-1].transform(changed)
    assert model.link(x) - model.link(changed) == pytest.approx(prepared @ pipeline[-1].coef_[0], abs=1e-9)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_every_candidate_is_explained_in_at_most_three_sentences_with_numbers(candidate, labelled, trainer):
    frame, today, schema = trainer.frames(trainer.churn, *labelled)
    names = tuple(name for name, _ in schema)
    model = ChurnTask(28).new_model(names, candidate, 1).fit(frame.X, trainer.churn.truth(frame.label))
    medians = dict(zip((*names, "history_days"), np.nanmedian(today.X, axis=0).tolist(), strict=True))
    explainer = Explainer(Scorer(model, names, medians), currency="USD")
    texts = explainer.explain(today.X, explainer.scorer.score(today.X))
    for text in texts:
        sentences = json.loads(text)
        assert len(sentences) <= MOST
        assert all(re.search(r"\d", sentence) and "nan" not in sentence for sentence in sentences)
    assert np.mean([len(json.loads(text)) for text in texts]) > 1.5


def test_reasons_for_value_are_in_money_and_follow_the_spending(value, labelled):
    explainer = Explainer(value.scorer, currency="EUR")
    names = value.scorer.feature_names
    rows = to_matrix(labelled[1], names, day(0))
    best = rows[[int(np.argmax(rows[:, names.index("revenue_91d")]))]]
    thrifty = best.copy()
    thrifty[:, [i for i, name in enumerate(names) if name.startswith(("revenue", "average"))]] /= 50
    sentence = r"spent [\d,.]+ EUR in \d+ days; a typical client [\d,.]+ \({}[\d,]+ EUR\)"
    assert re.fullmatch(sentence.format(r"\+"), _reasons(explainer, best)[0])
    assert any(re.fullmatch(sentence.format("-"), reason) for reason in _reasons(explainer, thrifty))


def test_the_strongest_reason_stands_first(explainer, today):
    moved, _ = explainer.contributions(today)
    row = int(np.argmax(np.abs(moved).max(axis=1)))
    strongest = explainer.groups[int(np.argmax(np.abs(moved[row])))]
    from perennial.scoring.words import Facts

    facts = Facts(today, explainer.scorer.feature_names, explainer.scorer.reference, "USD")
    texts = explainer.explain(today, explainer.scorer.score(today))
    assert json.loads(texts[row])[0].startswith(strongest.words(facts, row))


def test_every_feature_is_in_a_group_whatever_features_there_are(labelled):
    names = tuple(name for name, _ in feature_schema(labelled[0].schema))
    names += ("days_since_campaign_contact", "redemptions_365d", "top_department_share_180d", "orders_momentum_28d")
    groups = groups_of(names)
    assert {place for group in groups for place in group.places} == set(range(len(names)))
    assert len({group.key for group in groups}) == len(groups)


def test_a_client_without_a_score_has_no_reasons(explainer, today):
    x = today[:2].copy()
    x[0, explainer.scorer.feature_names.index("recency_days")] = np.nan
    texts = explainer.explain(x, explainer.scorer.score(x))
    assert texts[0] is None
    assert isinstance(texts[1], str)
