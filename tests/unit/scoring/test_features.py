"""Features as a matrix: the schema's check, and windows made comparable."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from perennial.core.errors import ContractViolation
from perennial.scoring.features import (
    SeenRange,
    WindowRates,
    feature_schema,
    schema_problems,
    to_matrix,
)
from perennial.scoring.frames import MAX_ROWS, frame_of, hashed_sample

NAMES = ("recency_days", "tenure_days", "orders_28d", "orders_91d", "departments_180d", "discount_share_365d")


def _matrix(*rows):
    return np.array(rows, dtype=float)


def test_a_window_that_the_history_cannot_fill_is_read_per_day_that_it_held():
    x = _matrix([5, 50, 4, 13, 3, 0.1, 200], [5, 50, 4, 8, 3, 0.1, 56])
    rates = WindowRates(NAMES).fit(x)
    full, short = rates.transform(x)
    place = rates.names_out_.index("orders_91d")
    assert full[place] == pytest.approx(13 / 91 * 28)
    assert short[place] == pytest.approx(8 / 56 * 28)


def test_ages_are_cut_at_the_shortest_history_and_distinct_counts_beyond_it_left_out():
    x = _matrix([150, 190, 0, 0, 3, 0.1, 200], [30, 55, 1, 2, 3, 0.1, 56])
    rates = WindowRates(NAMES).fit(x)
    assert rates.cap_days_ == 56
    assert "departments_180d" not in rates.names_out_
    assert "discount_share_365d" in rates.names_out_
    assert rates.transform(x)[0, rates.names_out_.index("tenure_days")] == 56


def test_a_trend_needs_twice_its_window_of_history():
    names = ("recency_days", "orders_trend_90d")
    kept = WindowRates(names).fit(_matrix([1, 0.5, 180]))
    left_out = WindowRates(names).fit(_matrix([1, 0.5, 179]))
    assert "orders_trend_90d" in kept.names_out_
    assert "orders_trend_90d" not in left_out.names_out_


def test_a_column_without_any_value_is_left_out():
    x = _matrix([1, np.nan, 100], [2, np.nan, 100])
    assert WindowRates(("recency_days", "gap_days_sd")).fit(x).names_out_ == ["recency_days"]


def test_a_matrix_of_another_width_is_refused():
    with pytest.raises(ValueError, match="expected 6 features"):
        WindowRates(NAMES).fit(np.zeros((3, 6)))


def test_nothing_is_extrapolated_beyond_what_was_seen():
    seen = SeenRange().fit(_matrix([1, 10], [5, 20]))
    assert seen.transform(_matrix([100, -3])).tolist() == [[5, 10]]


def test_missing_renamed_and_retyped_features_are_each_told_and_new_ones_are_not():
    expected = [("recency_days", "number"), ("orders_28d", "number"), ("revenue_28d", "number")]
    found = [("recency_days", "number"), ("orders_4w", "number"), ("revenue_28d", "string"), ("brand_new", "number")]
    problems = schema_problems(expected, found, "client_features")
    assert [problem.where for problem in problems] == ["client_features:orders_28d", "client_features:revenue_28d"]
    assert "missing or renamed" in problems[0].message
    assert "finds string" in problems[1].message


def test_decimals_booleans_and_nulls_become_numbers():
    rows = pa.table(
        {
            "client_id": ["a", "b"],
            "as_of_date": pa.array([date(2017, 1, 10)] * 2, pa.date32()),
            "revenue_28d": pa.array([Decimal("1.2500"), None], pa.decimal128(18, 4)),
            "is_member": [True, False],
        }
    )
    names = [name for name, _ in feature_schema(rows.schema)]
    x = to_matrix(rows, names, date(2017, 1, 1))
    assert x[0].tolist() == [1.25, 1.0, 10.0]
    assert np.isnan(x[1, 0])


def _rows(count, **more):
    keys = {
        "client_id": [f"c{i}" for i in range(count)],
        "as_of_date": pa.array([date(2017, 5, 1)] * count, pa.date32()),
    }
    return pa.table({**keys, "recency_days": np.arange(count, dtype=float), **more})


def test_a_text_among_the_features_stops_training_with_its_name():
    rows = _rows(2, colour=["red", "blue"])
    with pytest.raises(ContractViolation, match="client_features:colour"):
        frame_of(rows, feature_schema(rows.schema), date(2017, 1, 1))


def test_features_without_recency_stop_training():
    rows = _rows(2).rename_columns(["client_id", "as_of_date", "days_silent"])
    with pytest.raises(ContractViolation, match="recency_days"):
        frame_of(rows, feature_schema(rows.schema), date(2017, 1, 1))


def test_L2_the_sample_is_the_same_rows_in_whatever_order_they_come():
    rows = _rows(3000)
    mixed = rows.take(pa.array(np.random.default_rng(1).permutation(3000)))
    one, other = hashed_sample(rows, 1000), hashed_sample(mixed, 1000)
    assert 850 < one.num_rows < 1150
    assert set(one.column("client_id").to_pylist()) == set(other.column("client_id").to_pylist())
    assert hashed_sample(rows, MAX_ROWS) is rows
