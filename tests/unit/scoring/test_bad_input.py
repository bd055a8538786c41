"""Shops and clients that are hard to learn from: a stated refusal or a score, never a crash or a silent constant."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from factories.client_behaviour import CHURN_LABEL, Shop, buy_and_stop, day, table
from perennial.core.errors import ContractViolation
from perennial.scoring.features import to_matrix
from perennial.scoring.scorer import Scorer


def _replace(rows, name, values):
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.float64(), from_pandas=True))


@pytest.mark.parametrize("clients", [1, 30])
@pytest.mark.parametrize("score", ["churn", "value"])
def test_a_shop_of_few_clients_is_a_stated_refusal(trainer, clients, score):
    trained = trainer.of_shop(getattr(trainer, score), buy_and_stop(clients, lifetime_days=9000))
    assert trained.scorer is None
    assert "clients" in trained.refused or "client-dates" in trained.refused
    assert "needed" in trained.refused
    assert trained.card["verdict"]["status"] == "refused"


@pytest.mark.parametrize("score", ["churn", "value"])
def test_twenty_days_of_history_are_a_stated_refusal(trainer, score):
    trained = trainer.of_shop(getattr(trainer, score), buy_and_stop(500, days=21), as_of=day(20))
    assert trained.scorer is None
    assert "too little history" in trained.refused


@pytest.mark.parametrize("bought", [0.0, 1.0])
def test_one_class_only_is_a_stated_refusal(labelled, trainer, bought):
    rows, today = labelled
    trained = trainer.train(trainer.churn, _replace(rows, CHURN_LABEL, [bought] * rows.num_rows), today)
    assert trained.scorer is None
    assert "did not" in trained.refused


def test_nobody_spending_is_a_stated_refusal(shop, trainer):
    free = Shop(shop.client, shop.day, np.zeros(len(shop.day)))
    trained = trainer.of_shop(trainer.value, free)
    assert trained.scorer is None
    assert "revenue" in trained.refused


def test_a_column_without_any_value_costs_nothing(labelled, churn, trainer):
    rows, today = (part.append_column("gap_days_sd", pa.nulls(part.num_rows, pa.float64())) for part in labelled)
    trained = trainer.train(trainer.churn, rows, today)
    assert trained.refused is None
    assert trained.card["figures_at_test"]["model"] == churn.card["figures_at_test"]["model"]


@pytest.mark.parametrize("score", ["churn", "value"])
def test_a_giant_order_leaves_the_scores_of_others_sane(shop, trainer, score):
    task = getattr(trainer, score)
    giant = Shop(np.append(shop.client, 3), np.append(shop.day, 100), np.append(shop.amount, 1e9))
    plain, disturbed = trainer.of_shop(task, shop), trainer.of_shop(task, giant)
    today = table(giant, [trainer.as_of])
    scores = []
    for trained in (plain, disturbed):
        assert trained.scorer is not None
        x = to_matrix(today, trained.scorer.feature_names, day(0))
        scores.append(trained.scorer.score(x).value)
    assert np.isfinite(scores[1]).all()
    others = np.array([client != "c000003" for client in today.column("client_id").to_pylist()])
    assert scores[1][others].mean() == pytest.approx(scores[0][others].mean(), rel=0.1)
    assert np.corrcoef(scores[1][others], scores[0][others])[0, 1] > 0.98
    assert np.unique(scores[1]).size > 100


def test_a_client_without_an_order_gets_no_score_instead_of_a_made_up_one(churn, labelled):
    _, today = labelled
    x = to_matrix(today, churn.scorer.feature_names, day(0))[:3]
    x[1, churn.scorer.feature_names.index("recency_days")] = np.nan
    scored = churn.scorer.score(x)
    assert scored.given.tolist() == [True, False, True]


def test_a_client_with_one_order_and_one_with_a_gap_of_months_are_scored_apart(churn):
    single = Shop(np.array([0, *[1] * 9]), np.array([279, *range(2, 11)]), np.full(10, 20.0))
    scored = churn.scorer.score(to_matrix(table(single, [day(280)]), churn.scorer.feature_names, day(0)))
    fresh, gone = scored.value
    assert 0 <= fresh < gone <= 1
    assert gone > 0.9


def test_an_infinite_feature_stops_with_its_name(labelled, churn):
    _, today = labelled
    spent = today.column("revenue_28d").to_pylist()
    endless = _replace(today, "revenue_28d", [float("inf"), *spent[1:]])
    with pytest.raises(ContractViolation, match="client_features:revenue_28d"):
        to_matrix(endless, churn.scorer.feature_names, day(0))


class _Broken:
    def link(self, x):
        return x[:, 0]

    def shown(self, link):
        return link + 1

    def interval(self, value):
        return value, value


def test_a_probability_outside_nought_to_one_stops_the_day():
    scorer = Scorer(_Broken(), ("recency_days",), {}, is_probability=True)
    with pytest.raises(ContractViolation, match="outside 0 to 1"):
        scorer.score(np.array([[0.5, 10.0]]))
