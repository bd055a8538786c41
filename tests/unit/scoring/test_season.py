"""The level of the season: what followed in the same window of the year before, and nothing else of those rows."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from perennial.contracts.scores import CLIENT_SCORES
from perennial.core.settings import Scoring
from perennial.pipeline.budgets import budget_from, budgets
from perennial.scoring.cuts import YEAR, season_targets, training_dates
from perennial.scoring.estimators import ChurnModel
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import frame_of
from perennial.scoring.links import expit
from perennial.scoring.season import SameChance, SameSpend
from perennial.scoring.tasks import ChurnTask, ValueTask
from perennial.scoring.training import train

START, AS_OF, HORIZON = date(2020, 1, 1), date(2021, 12, 1), 60
NAMES = ("recency_days", "orders_30d", "revenue_30d", "orders_365d")
QUIET = 1.2  # log-odds by which fewer buy from May to October


def _rows(cut, task, *, seed=0, clients=700, of_year=0.0):
    """Clients at a cut: who bought lately buys again, fewer in the quiet half of the year; spending likewise."""
    random = np.random.default_rng([seed, cut.toordinal()])
    history = (cut - START).days + 1
    recency = np.minimum(random.gamma(1.2, 60, clients), history - 1).round()
    orders = random.poisson(3 * np.exp(-recency / 60)) + (recency < 30)
    middle = cut + timedelta(days=HORIZON // 2)
    season = (QUIET if 5 <= middle.month <= 10 else 0.0) + of_year * (middle.year - 2020)
    lapsed = random.random(clients) < expit(-1.0 + recency / 60 - 0.3 * orders + season)
    spent = np.where(lapsed, 0.0, random.gamma(3, 20, clients) * (1 + orders))
    columns = {
        "client_id": [f"c{i:04d}" for i in range(clients)],
        "as_of_date": pa.array([cut] * clients, pa.date32()),
        "recency_days": recency,
        "orders_30d": np.where(recency < 30, orders, 0).astype(float),
        "revenue_30d": np.where(recency < 30, orders * 60.0, 0.0),
        "orders_365d": orders + random.poisson(2, clients).astype(float),
        task.label: spent if isinstance(task, ValueTask) else (~lapsed).astype(float),
    }
    return pa.table(columns)


def _train(task, *, season=True, change=None, as_of=AS_OF):
    dates = training_dates(as_of, START, horizon_days=HORIZON, cuts=6, step_days=14)
    if not season:
        dates = tuple(day for day in dates if day not in season_targets(as_of, HORIZON))
    table = pa.concat_tables([_rows(cut, task) for cut in dates])
    if change is not None:
        table = change(table)
    schema = feature_schema(table.schema, without=(task.label,))
    return train(task, frame_of(table, schema, START, label=task.label), None, schema, as_of=as_of, seed=1)


def test_the_level_follows_the_season_where_the_last_known_window_was_another():
    """The test window lies in the busy months, the windows before it in the quiet ones."""
    task = ChurnTask(HORIZON)
    known, blind = (_train(task, season=season).card["figures_at_test"]["model"] for season in (True, False))
    assert abs(known["mean_predicted"] - known["base_rate"]) < 0.03
    assert abs(blind["mean_predicted"] - blind["base_rate"]) > 0.06
    assert known["auc"] == pytest.approx(blind["auc"], abs=0.01)


@pytest.mark.slow
def test_the_total_of_value_follows_the_season_too():
    known, blind = (
        _train(ValueTask(HORIZON), season=season).card["figures_at_test"]["model"] for season in (True, False)
    )
    assert abs(known["bias"]) < 0.15
    assert abs(blind["bias"]) > abs(known["bias"]) + 0.05


def test_rows_of_the_year_before_move_the_level_and_nothing_else():
    """L3: they are no training rows. Turning their labels round changes what is added to all, not how clients rank."""
    task = ChurnTask(HORIZON)
    before = np.array(season_targets(AS_OF, HORIZON), dtype="datetime64[D]")

    def turned(table):
        days = table.column("as_of_date").to_numpy().astype("datetime64[D]")
        label = table.column(task.label).to_numpy()
        values = np.where(np.isin(days, before), 1 - label, label)
        return table.set_column(table.column_names.index(task.label), task.label, pa.array(values))

    plain, other = _train(task), _train(task, change=turned)
    assert other.tested.raw.tolist() == plain.tested.raw.tolist()
    assert other.tested.level.expected != pytest.approx(plain.tested.level.expected, abs=0.05)


def test_without_a_window_of_the_year_before_the_card_says_so():
    card = _train(ChurnTask(HORIZON), season=False).card
    assert "no window of the year before" in card["calibration"]["at_test"]["level"]


def test_comparable_are_clients_whom_the_history_of_a_year_ago_could_show():
    rows = _rows(START + timedelta(days=79), ChurnTask(HORIZON))
    matrix = frame_of(rows, feature_schema(rows.schema, without=("bought_next_churn_horizon",)), START).X
    same = SameChance(NAMES).fit(matrix, (matrix[:, 0] > 40).astype(float))
    assert same.reach_ == 80
    assert [NAMES[place] for place in same.places_] == ["recency_days", "orders_30d", "revenue_30d"]
    later = np.array([[79.0, 0, 0, 1, 500], [80.0, 0, 0, 1, 500]])
    assert same.comparable(later).tolist() == [True, False]


def test_a_trend_is_the_log_of_what_the_year_before_did_not_tell():
    rows = _rows(START + timedelta(days=200), ValueTask(HORIZON))
    matrix = frame_of(rows, feature_schema(rows.schema, without=("revenue_next_value_horizon",)), START).X
    spent = np.maximum(rows.column("revenue_next_value_horizon").to_numpy(), 0)
    same = SameSpend(NAMES).fit(matrix, spent)
    assert same.error(matrix, spent * np.e) == pytest.approx(1 + same.error(matrix, spent), abs=1e-9)
    assert same.expected(matrix, 0.5) == pytest.approx(same.expected(matrix, 0.0) * np.exp(0.5))


def test_season_targets_are_whole_weeks_before_today_the_test_and_the_last_known_cut():
    days = season_targets(AS_OF, HORIZON)
    assert days == tuple(AS_OF - timedelta(days=k * HORIZON) - YEAR for k in range(3))
    assert all((AS_OF - timedelta(days=k * HORIZON)).weekday() == day.weekday() for k, day in enumerate(days))


def test_without_a_year_of_history_half_of_the_last_miss_in_level_is_made_up_for():
    truth = (np.arange(1000) % 5 > 0).astype(float)
    raw, silent = np.zeros(1000), np.zeros(1000)
    full = ChurnModel(NAMES).calibrate(raw, truth, silent, reach=100.0)
    half = ChurnModel(NAMES).calibrate(raw, truth, silent, reach=np.inf)
    assert full.intercept_ == pytest.approx(np.log(4), abs=0.01)
    assert half.intercept_ == pytest.approx(np.log(4) / 2, abs=0.01)


def test_clients_whom_the_year_before_could_not_show_get_a_step_of_their_own():
    random = np.random.default_rng(5)
    raw, silent = random.normal(size=4000), random.uniform(0, 200, 4000)
    truth = (random.random(4000) < expit(0.8 * raw - 0.5 + 1.5 * (silent >= 100))).astype(float)
    model = ChurnModel(NAMES).calibrate(raw, truth, silent, reach=100.0)
    assert (model.slope_, model.intercept_, model.dormant_) == pytest.approx((0.8, -0.5, 1.5), abs=0.2)


@pytest.mark.parametrize("horizon", [182, 365])
def test_a_horizon_that_the_history_cannot_judge_is_a_stated_refusal(horizon):
    task = ValueTask(horizon, f"value_{horizon}d")
    table = _rows(AS_OF - timedelta(days=horizon), task).slice(0, 0)
    schema = feature_schema(table.schema, without=(task.label,))
    made = train(task, frame_of(table, schema, START, label=task.label), None, schema, as_of=AS_OF, seed=1)
    assert made.scorer is None
    assert made.refused.startswith(f"too little history: two past dates {horizon} days apart are needed")


def test_a_budget_is_its_share_of_the_value_of_about_seven_months():
    assert Scoring().all_value_days == (90, 182, 365)
    assert budget_from(["churn_risk", "value_90d", "value_365d", "value_182d"]) == "value_182d"
    assert budget_from(["churn_risk"]) is None
    row = {"client_id": "a", "as_of_date": AS_OF, "score": "value_182d", "value": 100.0, "low": 10.0, "high": None}
    batch = pa.RecordBatch.from_pylist([{**row, "model_version": "v", "reasons": "[]"}], schema=CLIENT_SCORES)
    (made,) = budgets(batch, 0.05).to_pylist()
    assert made == {
        **row,
        "score": "client_budget",
        "value": 5.0,
        "low": 0.5,
        "model_version": "v",
        "reasons": None,
        "reason": None,
    }
