"""Figures that scores are judged by, against scikit-learn's and against what they must be by definition."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from perennial.scoring import metrics


@pytest.fixture
def ranked():
    random = np.random.default_rng(3)
    truth = (random.random(500) < 0.3).astype(float)
    score = np.round(np.clip(truth * 0.3 + random.random(500) * 0.7, 0, 1), 2)  # rounded: there are ties
    return truth, score


def test_auc_and_average_precision_with_ties_equal_scikit_learns(ranked):
    truth, score = ranked
    assert metrics.auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert metrics.pr_auc(truth, score) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert metrics.brier(truth, score) == pytest.approx(brier_score_loss(truth, score), abs=1e-12)


def test_auc_of_one_class_is_unknown_and_not_a_number_that_looks_good():
    assert np.isnan(metrics.auc(np.ones(5), np.arange(5.0)))


def test_lift_of_the_perfect_order_is_one_over_the_base_rate():
    truth = np.array([1.0] * 10 + [0.0] * 90)
    assert metrics.lift_top_decile(truth, truth) == pytest.approx(10.0)


def test_normalised_gini_is_one_for_the_truth_and_about_nought_for_chance():
    random = np.random.default_rng(1)
    truth = random.lognormal(3, 1, 5000) * (random.random(5000) < 0.6)
    assert metrics.normalised_gini(truth, truth * 7 + 1) == pytest.approx(1.0)
    assert abs(metrics.normalised_gini(truth, random.random(5000))) < 0.05


def test_bias_is_predicted_total_over_actual_total_less_one():
    figures = metrics.amount_figures(np.array([10.0, 0.0, 30.0]), np.array([20.0, 10.0, 20.0]))
    assert figures["bias"] == pytest.approx(0.25)
    assert figures["mae"] == pytest.approx(10.0)


def test_stability_index_is_nought_for_equal_shares_and_grows_with_the_shift():
    same, near, far = np.array([0.5, 0.5]), np.array([0.55, 0.45]), np.array([0.9, 0.1])
    assert metrics.psi(same, same) == 0
    assert 0 < metrics.psi(same, near) < 0.1
    assert metrics.psi(same, far) > 0.25


def test_calibration_table_holds_every_client_once(ranked):
    rows = metrics.calibration_table(*ranked)
    assert sum(row["clients"] for row in rows) == 500
    assert [row["predicted"] for row in rows] == sorted(row["predicted"] for row in rows)


def test_normalised_gini_is_the_mean_over_all_orders_of_equal_scores():
    truth, score = np.array([5.0, 0.0, 2.0, 1.0, 0.0, 7.0]), np.array([1.0, 1.0, 1.0, 0.0, 0.0, 2.0])
    orders = [
        truth[[5, *middle, *last]] for middle in permutations([0, 1, 2]) for last in permutations([3, 4])
    ]  # the highest score first
    untied = -np.arange(6.0)
    expected = np.mean([metrics.normalised_gini(one, untied) for one in orders])
    assert metrics.normalised_gini(truth, score) == pytest.approx(expected, abs=1e-12)
    assert metrics.normalised_gini(truth[::-1], score[::-1]) == pytest.approx(expected, abs=1e-12)
    assert metrics.normalised_gini(truth, np.ones(6)) == pytest.approx(0, abs=1e-12)
