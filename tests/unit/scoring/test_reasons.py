"""Reasons: exact for what they say, changing with their cause, in words with numbers."""

from __future__ import annotations

import json
import re
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from factories.client_behaviour import day
from perennial.scoring.contributions import kind_of_group, ordered_groups
from perennial.scoring.features import feature_schema, to_matrix
from perennial.scoring.reasons import MOST, Explainer, groups_of
from perennial.scoring.scorer import Scorer
from perennial.scoring.tasks import CANDIDATES, ChurnTask
from perennial.scoring.trees import TreeContributions
from perennial.scoring.words import Facts


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
def fitted(labelled, trainer):
    """Fits a candidate of churn on the shop, and gives its explainer."""
    frame, today, schema = trainer.frames(trainer.churn, *labelled)
    names = tuple(name for name, _ in schema)
    medians = dict(zip((*names, "history_days"), np.nanmedian(today.X, axis=0).tolist(), strict=True))

    def fit(candidate):
        model = trainer.churn.new_model(names, candidate, 1).fit(frame.X, trainer.churn.truth(frame.label))
        silent = frame.X[:, names.index("recency_days")]
        model.calibrate(model.raw(frame.X) * 0.8 + 0.3 * (silent > 60), trainer.churn.truth(frame.label), silent, 60.0)
        return Explainer(Scorer(model, names, medians), currency="USD")

    return fit


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_contributions_add_up_to_the_log_odds_of_the_model_that_scored(fitted, candidate, today):
    explainer = fitted(candidate)
    model = explainer.scorer.model
    assert model.dormant_ != 0
    moved, effect = explainer.contributions(today)
    link = model.link(today)
    assert moved.sum(axis=1) + explainer._contributions.base() == pytest.approx(link, abs=1e-9)
    pace = explainer._contributions.groups.index("pace")
    assert effect[:, pace] == pytest.approx(model.shown(link) - model.shown(link - moved[:, pace]), abs=1e-12)
    assert np.abs(effect).max() > 0.05


def test_a_tree_contribution_is_the_shapley_value_by_every_order_of_features():
    """Against the definition: the mean over all orders of what a feature adds to a tree averaged over unknown splits."""
    random = np.random.default_rng(3)
    x = random.normal(size=(800, 4))
    x[::9, 1] = np.nan
    y = (x[:, 0] + np.nan_to_num(x[:, 1]) * x[:, 2] > 0).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=6, min_samples_leaf=20).fit(x, y)
    found = TreeContributions(trees, np.arange(4))
    got = found.of(x[:25])
    assert got.sum(axis=1) + found.base_ == pytest.approx(trees.decision_function(x[:25]), abs=1e-9)
    for row in range(25):
        expected = np.zeros(4)
        for order in permutations(range(4)):
            for place, feature in enumerate(order):
                before, after = set(order[:place]), set(order[: place + 1])
                expected[feature] += sum(
                    _followed(stage[0].nodes, 0, x[row], after) - _followed(stage[0].nodes, 0, x[row], before)
                    for stage in trees._predictors
                )
        assert got[row] == pytest.approx(expected / 24, abs=1e-9)


def _followed(nodes, place, row, known):
    node = nodes[place]
    if node["is_leaf"]:
        return node["value"]
    sides = [_followed(nodes, int(node[side]), row, known) for side in ("left", "right")]
    if node["feature_idx"] in known:
        value = row[node["feature_idx"]]
        left = node["missing_go_to_left"] if np.isnan(value) else value <= node["num_threshold"]
        return sides[0] if left else sides[1]
    share = nodes[int(node["left"])]["count"] / node["count"]
    return share * sides[0] + (1 - share) * sides[1]


def test_a_slower_pace_than_in_the_own_year_is_told_with_how_many_times_slower(fitted):
    explainer = fitted("linear")
    year = {"orders_365d": 22, "tenure_days": 270, "days_since_first_order": 270}
    slow = _client(explainer, orders_28d=1, orders_14d=0, orders_7d=0, orders_56d=1, orders_90d=3, orders_91d=3, **year)
    even = _client(explainer, orders_28d=2, orders_14d=1, orders_7d=1, orders_56d=4, orders_90d=7, orders_91d=7, **year)
    facts = Facts(slow, explainer.scorer.feature_names, explainer.scorer.reference, "USD")
    assert facts.pace(0) == "orders 3.2 times less often than in the client's own year before"
    assert Facts(even, explainer.scorer.feature_names, explainer.scorer.reference, "USD").against_own_year(0) is None
    index = [group.key for group in explainer.groups].index("pace")
    assert explainer.contributions(slow)[0][0, index] > explainer.contributions(even)[0][0, index]


def test_returns_are_told_as_a_share_beside_the_typical_client():
    names = ("recency_days", "orders_90d", "returned_share_365d")
    facts = Facts(np.array([[5.0, 1.0, 0.45, 300.0]]), names, {"returned_share_365d": 0.02}, "USD")
    assert facts.returns(0) == "returned 45% of what was bought in 365 days; a typical client 2%"


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
    moved, effect = explainer.contributions(np.vstack([best, thrifty]))
    spend = [group.key for group in explainer.groups].index("spend")
    assert moved[0, spend] > moved[1, spend] + 0.5
    assert effect[0, spend] > 0
    sentence = r"spent [\d,.]+ EUR .*; a typical client [\d,.]+ \(\+[\d,]+ EUR\)"
    assert any(re.fullmatch(sentence, reason) for reason in _reasons(explainer, best))


def test_the_strongest_reason_stands_first(explainer, today):
    moved, _ = explainer.contributions(today)
    row = int(np.argmax(np.abs(moved).max(axis=1)))
    strongest = explainer.groups[int(np.argmax(np.abs(moved[row])))]
    facts = Facts(today, explainer.scorer.feature_names, explainer.scorer.reference, "USD")
    texts = explainer.explain(today, explainer.scorer.score(today))
    assert json.loads(texts[row])[0].startswith(strongest.words(facts, row))


def test_every_column_is_in_a_group_with_words_whatever_features_there_are(labelled):
    names = tuple(name for name, _ in feature_schema(labelled[0].schema))
    names += ("days_since_campaign_contact", "redemptions_365d", "top_department_share_180d", "orders_momentum_28d")
    keys = ordered_groups((*names, "orders_missed", "btyd_any_28d"), names)
    assert {kind_of_group(name, names) for name in names} <= set(keys)
    assert len(set(keys)) == len(keys)
    assert [group.key for group in groups_of(keys, names)] == keys


def test_a_client_without_a_score_has_no_reasons(explainer, today):
    x = today[:2].copy()
    x[0, explainer.scorer.feature_names.index("recency_days")] = np.nan
    texts = explainer.explain(x, explainer.scorer.score(x))
    assert texts[0] is None
    assert isinstance(texts[1], str)


@pytest.fixture(scope="module")
def leaving(labelled, trainer):
    """A shop whose clients leave after returns, and after they stop a department: an explainer that has learned it."""
    rows, today = labelled
    random = np.random.default_rng(5)

    def told(table):
        returned, left = random.integers(0, 3, table.num_rows), random.random(table.num_rows) < 0.3
        share = np.where(left, 0.1 + 0.5 * random.random(table.num_rows), 0.0)
        more = {
            "returns_after_last_2_orders": returned.astype(float),
            "left_departments_365d": left.astype(float),
            "left_department_share_365d": share,
        }
        label = table.column("bought_next_churn_horizon").to_numpy(zero_copy_only=False).copy()
        label[(returned == 2) | (share > 0.3)] *= random.random(int(((returned == 2) | (share > 0.3)).sum())) < 0.2
        table = table.drop_columns(["bought_next_churn_horizon"])
        for name, values in {**more, "bought_next_churn_horizon": label}.items():
            table = table.append_column(name, pa.array(values, from_pandas=True))
        return table

    return Explainer(trainer.train(trainer.churn, told(rows), told(today)).scorer, currency="USD")


def test_returned_orders_are_told_when_the_last_two_orders_come_back_and_not_before(leaving):
    typical = {"left_departments_365d": 0, "left_department_share_365d": 0}
    kept = _client(leaving, returns_after_last_2_orders=0, **typical)
    returned = _client(leaving, returns_after_last_2_orders=2, **typical)
    assert not any("came back" in reason for reason in _reasons(leaving, kept))
    told = "something came back after each of the last two orders (risk +"
    assert any(reason.startswith(told) for reason in _reasons(leaving, returned))
    assert leaving.scorer.model.link(returned) > leaving.scorer.model.link(kept) + 0.5


def test_a_department_that_is_no_more_bought_from_is_told_by_its_name(leaving):
    buying = _client(leaving, returns_after_last_2_orders=0, left_departments_365d=0, left_department_share_365d=0)
    stopped = _client(leaving, returns_after_last_2_orders=0, left_departments_365d=2, left_department_share_365d=0.42)
    scored = leaving.scorer.score(stopped)
    (text,) = leaving.explain(stopped, scored, {"left_department_365d": ["Dairy"]})
    told = "stopped buying in Dairy and 1 more, together 42% of the year's spend (risk +"
    assert any(reason.startswith(told) for reason in json.loads(text))
    assert any(reason.startswith("stopped buying in a department") for reason in _reasons(leaving, stopped))
    assert not any("stopped buying" in reason for reason in _reasons(leaving, buying))
