"""From the published `client_features` to what the estimators see.

The definition of a feature is dbt's alone (L3). Here stand only its reading as a matrix, the check of its schema, and
the preprocessing that belongs to a model (`WindowRates`), which training and scoring share because it is fitted and
stored with the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, TransformerMixin

from perennial.core.errors import ContractViolation, Problem

Matrix = npt.NDArray[np.float64]
FeatureSchema = list[tuple[str, str]]  # (name, kind), in the table's order; kind: number | boolean | <Arrow type>

KEYS = ("client_id", "as_of_date")
SPOKEN = ("left_department_365d",)  # names for the words of reasons: no model reads them
HISTORY = "history_days"  # the matrix's last column: days of the shop's history at the row's date
RATE_DAYS = 28  # additive windows are read as "per 28 days"

_WINDOW = re.compile(r"_(\d+)d$")
_ADDITIVE = re.compile(
    r"^(orders|order_days|revenue|units|lines|items|spend|redemptions|campaign_contacts|returned_amount|discount_amount)_"
)
_RELATIVE = re.compile(r"(share|average|median|mean|trend|change|momentum|ratio|_per_|gap)")
_AGAINST_BEFORE = re.compile(r"(trend|change|momentum)")  # a window against the one before it: twice the days
_AGES = ("recency_days", "tenure_days", "days_since_first_order")


def kind_of(arrow_type: pa.DataType) -> str:
    """`number`, `boolean`, or the Arrow type's own name for what no model here can read."""
    if pa.types.is_boolean(arrow_type):
        return "boolean"
    if pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        return "number"
    return str(arrow_type)


def feature_schema(schema: pa.Schema, *, without: Sequence[str] = ()) -> FeatureSchema:
    """Name and kind of every column but the keys, what is there for words alone, and those named."""
    apart = {*KEYS, *SPOKEN, *without}
    return [(field.name, kind_of(field.type)) for field in schema if field.name not in apart]


def schema_problems(expected: FeatureSchema, found: FeatureSchema, where: str) -> list[Problem]:
    """What keeps a model trained on `expected` from scoring `found`: missing (or renamed) columns and other types.

    Columns that the model does not know are no problem: it does not read them.
    """
    kinds = dict(found)
    fix = "mend the feature model, or train again (`train_if_due` does when the schema has changed)"
    problems = []
    for name, kind in expected:
        if name not in kinds:
            problems.append(
                Problem(f"{where}:{name}", "the model needs this feature and it is missing or renamed", fix)
            )
        elif kinds[name] != kind:
            problems.append(Problem(f"{where}:{name}", f"the model was trained on {kind} and finds {kinds[name]}", fix))
    return problems


def column(table: pa.Table | pa.RecordBatch, name: str) -> Matrix:
    """One column as float64, NaN for null."""
    data = table.column(name)
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    if not pa.types.is_float64(data.type):
        data = pc.cast(data, pa.float64(), safe=False)
    return np.asarray(data.to_numpy(zero_copy_only=False), dtype=np.float64)


def dates(table: pa.Table | pa.RecordBatch) -> npt.NDArray[np.datetime64]:
    """`as_of_date` as datetime64[D]."""
    data = table.column("as_of_date")
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    return np.asarray(data.to_numpy(zero_copy_only=False)).astype("datetime64[D]")


def to_matrix(table: pa.Table | pa.RecordBatch, names: Sequence[str], history_start: date) -> Matrix:
    """Rows x (features in the order of `names`, then `history_days`), float64, NaN for unknown.

    Raises ContractViolation for an infinite number.
    """
    history = (dates(table) - np.datetime64(history_start)).astype(np.float64) + 1.0
    X = np.column_stack([*(column(table, name) for name in names), history])
    endless = [name for place, name in enumerate(names) if np.isinf(X[:, place]).any()]
    if endless:
        fix = "mend the feature model: a division by zero is null"
        raise ContractViolation(
            [Problem(f"client_features:{name}", "holds an infinite number", fix) for name in endless]
        )
    return X


class WindowRates(TransformerMixin, BaseEstimator):
    """Makes features of different dates comparable where the shop's history is shorter than a window.

    Counts and sums of N days become "per 28 days" of the days that the window really held (N, or the history if it is
    shorter; the whole history for totals). Ages in days are cut at the shortest history of the training rows, so that a
    model is never asked beyond what it saw. Other windows longer than that history (distinct counts) and columns
    without any value are left out. Three ratios are added that neither trees nor logs of single columns give: silence
    over usual gap, orders missed in the silence, chance of an empty month at the recent pace (Poisson).

    Input: the columns `feature_names`, then `history_days`. Attributes: `cap_days_`, `roles_` (one per column),
    `names_out_`, `n_features_in_`.
    """

    def __init__(self, feature_names: tuple[str, ...] = ()) -> None:
        self.feature_names = feature_names

    def fit(self, X: Matrix, y: object = None) -> WindowRates:  # noqa: ARG002 - scikit-learn's signature
        """Learn the shortest history and each column's role. Raises ValueError for a matrix of another width."""
        self._check_width(X)
        self.n_features_in_ = X.shape[1]
        self.cap_days_ = float(max(1.0, np.min(X[:, -1])))
        known = ~np.all(np.isnan(X[:, :-1]), axis=0)
        self.roles_ = [
            self._role(name) if has_values else "dropped"
            for name, has_values in zip(self.feature_names, known, strict=True)
        ]
        kept = [n for n, role in zip(self.feature_names, self.roles_, strict=True) if role != "dropped"]
        self.names_out_ = kept + [name for name, _ in self._derived(X)]
        return self

    def transform(self, X: Matrix) -> Matrix:
        """The prepared matrix, columns `names_out_`."""
        self._check_width(X)
        history = np.maximum(X[:, -1], 1.0)
        columns = []
        for index, (name, role) in enumerate(zip(self.feature_names, self.roles_, strict=True)):
            if role == "rate":
                columns.append(_per_month(X[:, index], name, history))
            elif role == "age":
                columns.append(np.minimum(X[:, index], self.cap_days_))
            elif role == "as_is":
                columns.append(X[:, index])
        return np.column_stack([*columns, *(values for _, values in self._derived(X))])

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:  # noqa: ARG002
        """Names of the prepared columns."""
        return np.asarray(self.names_out_, dtype=object)

    def _check_width(self, X: Matrix) -> None:
        if X.ndim != 2 or X.shape[1] != len(self.feature_names) + 1:  # noqa: PLR2004
            raise ValueError(f"expected {len(self.feature_names)} features and {HISTORY}, got a matrix of {X.shape}")

    def _role(self, name: str) -> str:
        if name in _AGES:
            return "age"
        if is_additive(name):
            return "rate"
        needed = window_days(name) or 0
        if _AGAINST_BEFORE.search(name):
            needed *= 2
        elif _RELATIVE.search(name):
            needed = 0
        return "dropped" if needed > self.cap_days_ else "as_is"

    def _derived(self, X: Matrix) -> list[tuple[str, Matrix]]:
        names = {
            name: i for i, (name, r) in enumerate(zip(self.feature_names, self.roles_, strict=True)) if r != "dropped"
        }
        history = np.maximum(X[:, -1], 1.0)
        found: list[tuple[str, Matrix]] = []
        if "recency_days" not in names:
            return found
        recency = np.minimum(X[:, names["recency_days"]], self.cap_days_)
        if "gap_days_median" in names and "recency_over_gap" not in names:
            gap = np.maximum(X[:, names["gap_days_median"]], 1.0)
            found.append(("recency_over_gap", recency / gap))
        recent = quarter_window(list(names), "orders")
        if recent:
            pace = _per_month(X[:, names[recent]], recent, history)
            found.append(("empty_month_chance", np.exp(-pace)))
        whole = next((n for n in ("orders_total", "orders_365d") if n in names), None)
        if whole:
            found.append(("orders_missed", recency * _per_month(X[:, names[whole]], whole, history) / RATE_DAYS))
        return found


class SeenRange(TransformerMixin, BaseEstimator):
    """Keeps each column within the lowest and highest value seen in `fit`: a straight line is not drawn beyond it.

    Attributes: `low_`, `high_`, `n_features_in_`.
    """

    def fit(self, X: Matrix, y: object = None) -> SeenRange:  # noqa: ARG002
        """Learn the range of each column."""
        self.n_features_in_ = X.shape[1]
        self.low_, self.high_ = X.min(axis=0), X.max(axis=0)
        return self

    def transform(self, X: Matrix) -> Matrix:
        """The columns, each within its range."""
        return np.asarray(np.clip(X, self.low_, self.high_), dtype=np.float64)


def is_additive(name: str) -> bool:
    """Whether the feature is a count or a sum over a window (or over everything): `orders_91d`, `revenue_total`."""
    windowed = _WINDOW.search(name) or name.endswith("_total")
    return bool(windowed and _ADDITIVE.match(name) and not _RELATIVE.search(name))


def window_days(name: str) -> int | None:
    """The days of the window in the feature's name, if it has one."""
    match = _WINDOW.search(name)
    return int(match[1]) if match else None


def quarter_window(names: Sequence[str], measure: str) -> str | None:
    """The feature of `measure` over about a quarter, or the nearest there is."""
    windows = {n: window_days(n) for n in names if re.fullmatch(rf"{measure}_\d+d", n)}
    return min(windows, key=lambda n: (abs((windows[n] or 0) - 91), n), default=None)


def month_window(names: Sequence[str], measure: str) -> str | None:
    """The feature of `measure` over about four weeks, if there is one of 7 to 56 days."""
    windows = {n: window_days(n) or 0 for n in names if re.fullmatch(rf"{measure}_\d+d", n)}
    near = {n: days for n, days in windows.items() if 7 <= days <= 56}  # noqa: PLR2004
    return min(near, key=lambda n: (abs(near[n] - RATE_DAYS), n), default=None)


def days_held(name: str, history: Matrix) -> Matrix:
    """How many days the feature's window really held, row by row."""
    days = window_days(name)
    return np.minimum(float(days), history) if days else history


def _per_month(values: Matrix, name: str, history: Matrix) -> Matrix:
    return np.asarray(values / np.maximum(days_held(name, history), 1.0) * RATE_DAYS, dtype=np.float64)


def signed_log(X: Matrix) -> Matrix:
    """sign(x) log(1 + |x|): tames heavy tails, keeps the sign and zero."""
    return np.asarray(np.sign(X) * np.log1p(np.abs(X)), dtype=np.float64)
