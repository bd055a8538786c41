"""Models of purchases as columns for other scores: histories from client_features, left truncation, storage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from perennial.scoring import store
from perennial.scoring.btyd.features import BtydFeatures, histories_of_features
from perennial.scoring.features import WindowRates
from perennial.scoring.metrics import auc

NAMES = ("recency_days", "days_since_first_order", "order_days_total", "revenue_total")
HISTORY = 400.0


def shop(clients=1500, *, history=HISTORY, old=0.3, seed=4):
    """Rows of client_features as of the last day of the history, and who buys in the 90 days after it.

    A share `old` of the clients bought before the first day: they are seen from their first purchase in the history.
    """
    random = np.random.default_rng(seed)
    starts = np.where(random.random(clients) < old, -700.0, 0.0) + random.uniform(0, history, clients)
    pace, ends = random.gamma(0.9, 1 / 30, clients), starts + random.exponential(250, clients)
    rows, later = [], []
    for start, rate, end in zip(starts, pace, ends, strict=True):
        until = min(end, history + 90)
        days = np.unique(
            np.floor(start + random.uniform(0, 1, random.poisson(rate * (until - start)) + 1) * (until - start))
        )
        seen = days[(days >= 0) & (days < history)]
        if len(seen):
            spent = random.gamma(4.0 * len(seen), 20 / 4.0) / random.gamma(5, 1 / 5)
            rows.append((history - 1 - seen.max(), history - 1 - seen.min(), len(seen), spent, history))
            later.append(float((days >= history).any()))
    return np.array(rows, dtype=float), np.array(later)


@pytest.fixture(scope="module")
def rows():
    return shop()


@pytest.fixture(scope="module")
def fitted(rows):
    return BtydFeatures(NAMES).fit(rows[0])


def test_histories_are_order_days_since_the_first_order():
    #                recency, first, days, revenue
    x = np.array([[10, 100, 4, 80], [100, 100, 1, 20], [0, 0, 1, 5], [7, 7, 3, 9], [-3, 5, 2, 1], [20, 10, 5, 1]])
    found = histories_of_features(x.astype(float), NAMES)
    assert found.tolist() == [[3, 90, 100], [0, 0, 100], [0, 0, 0], [0, 0, 7], [1, 5, 5], [0, 0, 20]]


def test_tenure_and_orders_stand_in_where_the_better_columns_are_missing():
    x = np.array([[10.0, 100.0, 4.0]])
    assert histories_of_features(x, ("recency_days", "tenure_days", "orders_total")).tolist() == [[3, 90, 100]]
    with pytest.raises(ValueError, match="no days_since_first_order and no tenure_days"):
        histories_of_features(x, ("recency_days", "age", "orders_total"))


def test_the_columns_rank_who_buys_again_and_keep_their_level(fitted, rows):
    matrix, later = rows
    found = fitted.transform(matrix)
    assert fitted.get_feature_names_out().tolist() == ["btyd_purchases_90d", "btyd_any_90d", "btyd_spend_90d"]
    assert auc(later, found[:, 1]) > auc(later, -matrix[:, 0]) + 0.02  # better than recency alone
    assert found[:, 1].mean() == pytest.approx(later.mean(), abs=0.05)
    assert found[:, 2].sum() / found[:, 0].sum() == pytest.approx(matrix[:, 3].sum() / matrix[:, 2].sum(), rel=0.1)


def test_old_clients_of_whom_only_the_end_is_known_are_left_out_of_fitting_and_scored(fitted, rows):
    matrix, _ = rows
    assert fitted.fitted_clients_ == (matrix[:, 1] < HISTORY - 90).sum()
    assert "are left out of fitting" in fitted.said_[0]
    assert np.isfinite(fitted.transform(matrix)).all()


def test_where_nearly_all_are_old_clients_all_are_fitted_and_that_is_said(rows):
    model = BtydFeatures(NAMES, min_clients=5000).fit(rows[0])
    assert model.fitted_clients_ == len(rows[0])
    assert "too many to fit without them" in model.said_[0]


def test_only_the_rows_with_the_longest_history_are_learnt_from(fitted, rows):
    earlier = rows[0].copy()
    earlier[:, -1] -= 50
    both = BtydFeatures(NAMES).fit(np.vstack([earlier, rows[0]]))
    assert np.array_equal(both.purchases_.theta_, fitted.purchases_.theta_)


def test_a_row_is_scored_the_same_alone_and_among_others(fitted, rows):
    whole = fitted.transform(rows[0][:50])
    alone = np.vstack([fitted.transform(rows[0][[i]]) for i in range(50)])
    assert whole == pytest.approx(alone, rel=1e-12)


def test_unknown_columns_of_a_row_give_unknown_columns_and_touch_no_other_row(fitted, rows):
    some = rows[0][:4].copy()
    some[1, 0], some[2, 3] = np.nan, np.nan
    found = fitted.transform(some)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[2]).all()  # without revenue a client spends like all
    assert np.array_equal(found[[0, 3]], fitted.transform(rows[0][[0, 3]]))
    assert fitted.transform(rows[0][:0]).shape == (0, 3)


@pytest.mark.parametrize("count", [0, 3])
def test_without_a_day_of_observation_the_columns_are_unknown_and_that_is_said(count):
    today = np.tile([0.0, 0.0, 1.0, 20.0, 1.0], (count, 1))
    model = BtydFeatures(NAMES).fit(today)
    assert np.isnan(model.transform(np.tile([0.0, 0.0, 1.0, 20.0, 1.0], (2, 1)))).all()
    assert any("purchases stay unknown" in sentence for sentence in model.said_)


def test_a_shop_of_thirty_clients_gets_finite_columns(rows):
    model = BtydFeatures(NAMES).fit(rows[0][:30])
    assert np.isfinite(model.transform(rows[0])).all()


def test_without_revenue_expected_spend_is_unknown_and_purchases_are_not(rows):
    matrix = np.delete(rows[0], 3, axis=1)
    found = BtydFeatures(NAMES[:3]).fit(matrix).transform(matrix)
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(found[:, :2]).all()


def test_where_all_spend_the_same_each_time_gamma_gamma_gives_way_to_the_clients_own_mean(rows):
    matrix = rows[0].copy()
    matrix[:, 3] = 20 * matrix[:, 2]
    model = BtydFeatures(NAMES).fit(matrix)
    found = model.transform(matrix)
    assert found[:, 2] == pytest.approx(20 * found[:, 0], rel=1e-6)
    assert any("Gamma-Gamma is not used" in sentence for sentence in model.said_)


def test_a_matrix_of_another_width_is_refused(fitted):
    with pytest.raises(ValueError, match="expected 4 features and history_days"):
        fitted.transform(np.zeros((2, 4)))


def test_it_is_cloned_with_its_settings():
    model = BtydFeatures(NAMES, horizon_days=28, burn_in_days=30, min_clients=9, max_rows=7, seed=2)
    assert clone(model).get_params() == model.get_params()


def test_a_pipeline_that_holds_it_is_stored_with_trusted_types_and_equal_bytes(tmp_path, rows):
    matrix, later = rows
    columns = FeatureUnion([("rates", WindowRates(NAMES)), ("btyd", BtydFeatures(NAMES))])
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=3000))])
    contents = [store.artefact_bytes(clone(pipeline).fit(matrix, later)) for _ in range(2)]
    assert contents[0] == contents[1]
    loaded = store.load(store.save(tmp_path, f"x-{store.digest(contents[0])}.skops", contents[0]))
    assert np.array_equal(loaded.predict_proba(matrix), clone(pipeline).fit(matrix, later).predict_proba(matrix))
