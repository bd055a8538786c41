"""How far each group of features moves a score, exactly, on the scale on which its model adds up.

Logistic and log-linear models: coefficient times distance from the mean of the training rows. Trees: Shapley values
(`trees`). A blend of churn models is a mean of log-odds, so its contributions are the means of theirs, times the
calibration's slope; the step for the long silent belongs to silence. Then `base` plus a row's contributions is its
calibrated log-odds, to the last digit. Amounts add up on the log scale within each member; a blend is a mean of
amounts, and its contributions are those of the members weighted by their share of the row's amount.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from perennial.scoring.estimators import ChurnModel
from perennial.scoring.features import Matrix, quarter_window, window_days
from perennial.scoring.trees import TreeContributions
from perennial.scoring.value import Expected, Scaled, Spending, ValueModel

_FIRST = ("silence", "pace", "frequency", "rhythm", "spend", "tenure")
_NAMED = {
    **dict.fromkeys(("recency_days", "recency_over_gap", "orders_missed", "days_until_due"), "silence"),
    **dict.fromkeys(("tenure_days", "days_since_first_order"), "tenure"),
    "empty_month_chance": "pace",
}
_WORDS = {
    **dict.fromkeys(("orders", "order", "gap"), "frequency"),
    **dict.fromkeys(("revenue", "average", "units", "lines"), "spend"),
    "btyd": "rhythm",
    "department": "departments",
    "left": "left",
    "returns": "returns",
}
_EVEN = re.compile("orders_(trend|momentum|change)_")
_TINY = 1e-9

Groups = npt.NDArray[np.int64]


def kind_of_group(name: str, names: Sequence[str]) -> str:
    """Which group a prepared column belongs to; what fits none is grouped by the first word of its name."""
    if name in _NAMED:
        return _NAMED[name]
    if _EVEN.match(name) or is_short(name, names):
        return "pace"
    word = name.removeprefix("top_").split("_", 1)[0]
    return _WORDS.get(word, word)


def is_short(name: str, names: Sequence[str]) -> bool:
    """Whether the window of orders is inside the quarter that pace is compared with."""
    quarter = quarter_window(names, "orders")
    days, whole = window_days(name), window_days(quarter) if quarter else None
    return bool(re.fullmatch(r"orders_\d+d", name) and days and whole and days < min(whole, 90))


def ordered_groups(prepared: Sequence[str], names: Sequence[str]) -> list[str]:
    """The groups that these columns make, in a fixed order."""
    found = {kind_of_group(name, names) for name in prepared}
    return [*(key for key in _FIRST if key in found), *sorted(found - set(_FIRST))]


class Contributions:
    """Contributions of a fitted ChurnModel or ValueModel by group. Attribute: `groups`, the columns of `of`."""

    def __init__(self, model: ChurnModel | ValueModel) -> None:
        self.model = model
        prepared = model.behaviour_.names_out_
        self.groups = ordered_groups(prepared, model.feature_names)
        place = {key: i for i, key in enumerate(self.groups)}
        self.columns: Groups = np.array(
            [place[kind_of_group(n, model.feature_names)] for n in prepared], dtype=np.int64
        )
        self._parts = {name: self._part(member) for name, member in model.members_.items()}

    def of(self, X: Matrix) -> tuple[Matrix, Matrix]:
        """Rows x groups, and the model's `link` of the rows."""
        if isinstance(self.model, ChurnModel):
            return self._of_churn(self.model, X)
        return self._of_value(self.model, X)

    def base(self) -> float:
        """The calibrated log-odds of a churn model without any contribution."""
        model = self.model
        parts = [part.base_ for part in self._parts.values()]
        return float(model.slope_ * np.mean(parts) + model.intercept_ + model.season_)

    def _part(self, member: Any) -> Any:
        if isinstance(member, Scaled):
            return _Linear(member.model, self.columns)
        if isinstance(member, Pipeline) and member.steps[0][0] == "fill":
            return _Linear(member, self.columns)
        if isinstance(member, Expected):
            return _Known(int(self.columns[member.place]), len(self.groups), member.place)
        if isinstance(member, Spending):
            return _Stages(member, self.columns)
        return TreeContributions(member[-1] if isinstance(member, Pipeline) else member, self.columns)

    def _of_churn(self, model: ChurnModel, X: Matrix) -> tuple[Matrix, Matrix]:
        prepared = model.behaviour_.transform(X)
        moved = np.mean([_filled(part.of(prepared), self.groups) for part in self._parts.values()], axis=0)
        raw = np.mean([part.base_ for part in self._parts.values()]) + moved.sum(axis=1)
        moved *= model.slope_
        if "silence" in self.groups:
            moved[:, self.groups.index("silence")] += model.dormant_ * (model.silent_days(X) >= model.reach_)
        return np.asarray(moved, dtype=np.float64), model.calibrated(raw, X)

    def _of_value(self, model: ValueModel, X: Matrix) -> tuple[Matrix, Matrix]:
        prepared, amounts = model.prepared(X), model.amounts(X)
        total = np.maximum(np.sum(list(amounts.values()), axis=0), _TINY)
        moved = np.zeros((len(X), len(self.groups)))
        for name, amount in amounts.items():
            moved += (amount / total)[:, None] * _filled(self._parts[name].of(prepared), self.groups)
        return moved, np.asarray(total / len(amounts) * model.factor_ * model.season_)


def _filled(found: Matrix, groups: Sequence[str]) -> Matrix:
    """Groups that a member does not use stand at the end and move nothing."""
    missing = len(groups) - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing))) if missing else found


class _Linear:
    """A pipeline of imputer, transformations, scaler and linear model."""

    def __init__(self, pipeline: Pipeline, columns: Groups) -> None:
        self.pipeline = pipeline[:-1]
        model = pipeline[-1]
        self.weights = np.ravel(model.coef_)
        self.base_ = float(np.ravel(model.intercept_)[0])
        indicator = pipeline[0].indicator_
        marked = columns[indicator.features_] if indicator is not None else columns[:0]
        owner = np.concatenate([columns, marked])
        self.member_of = np.zeros((len(owner), int(columns.max()) + 1))
        self.member_of[np.arange(len(owner)), owner] = self.weights

    def of(self, prepared: Matrix) -> Matrix:
        """Rows x groups; columns are standardised, so that the mean of the training rows moves nothing."""
        return np.asarray(self.pipeline.transform(prepared) @ self.member_of, dtype=np.float64)


class _Known:
    """One column that is itself the amount: all of it belongs to the group, against the rows' median."""

    base_ = 0.0

    def __init__(self, group: int, count: int, place: int) -> None:
        self.group, self.count, self.place = group, count, place

    def of(self, prepared: Matrix) -> Matrix:
        """Rows x groups: nothing to tell apart within the column."""
        found = np.zeros((len(prepared), self.count))
        amount = np.log1p(np.maximum(np.nan_to_num(prepared[:, self.place]), 0.0))
        found[:, self.group] = amount - np.median(amount)
        return found


class _Stages:
    """Chance times amount: on the log scale the chance's log-odds count by one less the chance (its derivative)."""

    base_ = 0.0

    def __init__(self, member: Spending, columns: Groups) -> None:
        self.chances = member.chance_
        self.amount = TreeContributions(member.amount_, columns)
        self.chance = TreeContributions(member.chance_, columns) if member.chance_ is not None else None

    def of(self, prepared: Matrix) -> Matrix:
        """Rows x groups."""
        found = self.amount.of(prepared)
        if self.chance is None or self.chances is None:
            return found
        none = self.chances.predict_proba(prepared)[:, 0]
        return np.asarray(found + none[:, None] * self.chance.of(prepared), dtype=np.float64)
