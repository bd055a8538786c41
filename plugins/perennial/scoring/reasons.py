"""Why a client has her score: the up to three groups of features that count most, in words of the business.

What a number means: the score with the client's features, less the score with one group of them replaced, all else
unchanged, both by the very model that scored (for the logistic model that is the sum of coefficient times difference;
for trees it needs no approximation either). Silence is compared with her own usual gap, pace with her own quarter, all
else with the median client of the training day. What is put instead is possible: who bought five days ago has an order
in seven days, and another level keeps the client's own course. It says what moves the score, not what causes behaviour.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perennial.scoring.features import (
    HISTORY,
    Matrix,
    days_held,
    is_additive,
    month_window,
    quarter_window,
    window_days,
)
from perennial.scoring.scorer import Scored, Scorer
from perennial.scoring.words import Facts

MOST = 3
_LEAST_LOG_ODDS = 0.05
_LEAST_SHARE = 0.01  # of the amount
_EVEN = re.compile("orders_(trend|momentum|change)_")  # changes: nought is an even pace


@dataclass(frozen=True)
class Group:
    """Features that are replaced together; `words` says what they are for the client in row i."""

    key: str
    places: tuple[int, ...]
    words: Callable[[Facts, int], str]


def groups_of(names: tuple[str, ...]) -> list[Group]:
    """The groups that these features make, in a fixed order; every feature is in one, windows of orders in several."""
    kinds: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        kinds.setdefault(_kind(name), []).append(place)
    if "silence" in kinds:  # a purchase some days ago is in the windows of orders too
        kinds["silence"] += [i for i, n in enumerate(names) if re.fullmatch(r"orders_\d+d", n)]
    if month_window(names, "orders") and quarter_window(names, "orders"):
        kinds["pace"] = [i for i, n in enumerate(names) if is_short(n, names)] + kinds.get("pace", [])
    known = {"silence": Facts.silence, "frequency": Facts.frequency, "spend": Facts.spend, "tenure": Facts.tenure}
    if month_window(names, "orders"):
        known["pace"] = Facts.pace
    order = [*(k for k in ("silence", "pace", "frequency", "spend", "tenure") if k in kinds), *sorted(kinds)]
    return [Group(k, tuple(kinds[k]), known.get(k) or _about(names[kinds[k][0]])) for k in dict.fromkeys(order)]


def _kind(name: str) -> str:
    """Which group a feature belongs to; what fits none is grouped by the first word of its name."""
    if name in ("recency_days", "recency_over_gap", "days_until_due"):
        return "silence"
    if name in ("tenure_days", "days_since_first_order"):
        return "tenure"
    if _EVEN.match(name):
        return "pace"
    word = name.removeprefix("top_").split("_", 1)[0]
    if word in ("orders", "order", "gap"):
        return "frequency"
    if word in ("revenue", "average", "units", "lines"):
        return "spend"
    return "departments" if word == "department" else word


def is_short(name: str, names: tuple[str, ...]) -> bool:
    """Whether the window of orders is inside the quarter that pace is compared with."""
    quarter = quarter_window(names, "orders")
    days, whole = window_days(name), window_days(quarter) if quarter else None
    return bool(re.fullmatch(r"orders_\d+d", name) and days and whole and days < min(whole, 90))


def _about(name: str) -> Callable[[Facts, int], str]:
    return lambda facts, i: facts.about(name, i)


class Explainer:
    """Gives reasons for a scorer. Amounts are shown in `currency`."""

    def __init__(self, scorer: Scorer, *, currency: str) -> None:
        self.scorer = scorer
        self.currency = currency
        self.groups = groups_of(scorer.feature_names)

    def explain(self, X: Matrix, scored: Scored) -> list[str | None]:
        """Per row a JSON list of up to three sentences, strongest first; None where there is no score."""
        texts: list[str | None] = [None] * len(X)
        buyers = np.flatnonzero(scored.given)
        if len(buyers):
            for row, sentences in zip(buyers, self._of_buyers(X[buyers]), strict=True):
                texts[row] = json.dumps(sentences, ensure_ascii=False)
        return texts

    def contributions(self, X: Matrix) -> tuple[Matrix, Matrix]:
        """Rows x groups: how far each group moves the model's scale (log-odds, or money), and the score itself."""
        model = self.scorer.model
        base = model.link(X)
        shown = model.shown(base)
        moved, effect = np.zeros((len(X), len(self.groups))), np.zeros((len(X), len(self.groups)))
        for g, group in enumerate(self.groups):
            changed = X.copy()
            changed[:, list(group.places)] = self._instead(group, X)
            link = model.link(changed)
            moved[:, g], effect[:, g] = base - link, shown - model.shown(link)
        return moved, effect

    def _instead(self, group: Group, X: Matrix) -> Matrix:
        """Rows x places: what the group's features are replaced by."""
        names = self.scorer.feature_names
        columns = []
        for place in group.places:
            name = names[place]
            typical = self._typical(name, X[:, -1])
            if group.key == "silence":
                columns.append(self._after_usual_gap(name, X, typical))
            elif is_short(name, names):
                columns.append(self._short(group.key, name, X))
            elif group.key == "pace":
                columns.append(np.where(np.isnan(X[:, place]), np.nan, 0.0))
            else:
                columns.append(typical)
        return np.column_stack(columns)

    def _after_usual_gap(self, name: str, X: Matrix, typical: Matrix) -> Matrix:
        """Silence as long as the client's own usual gap, else the median client's; what is unknown stays unknown."""
        names = self.scorer.feature_names
        here = X[:, names.index(name)]
        own = X[:, names.index("gap_days_median")] if "gap_days_median" in names else np.full(len(X), np.nan)
        if re.fullmatch(r"orders_\d+d", name):
            silence = np.where(own >= 1, own, self._typical("recency_days", X[:, -1]))
            return np.where(silence < (window_days(name) or 0), np.maximum(here, 1.0), np.minimum(here, 0.0))
        usual = {"recency_days": own, "recency_over_gap": np.ones(len(X))}.get(name, typical)
        return np.where(np.isnan(here), np.nan, np.where(own >= 1, usual, typical))

    def _short(self, key: str, name: str, X: Matrix) -> Matrix:
        """A window inside the quarter: at her own quarter's pace, or at a typical level with her own course."""
        names, history = self.scorer.feature_names, X[:, -1]
        whole = quarter_window(names, "orders") or name
        quarter = X[:, names.index(whole)]
        if key == "pace":
            return np.asarray(quarter * days_held(name, history) / np.maximum(days_held(whole, history), 1.0))
        bought = quarter > 0
        scale = self._typical(whole, history) / np.where(bought, quarter, 1.0)
        return np.where(bought, X[:, names.index(name)] * scale, self._typical(name, history))

    def _typical(self, name: str, history: Matrix) -> Matrix:
        """The median client's value, grown with the history where the window is not full yet."""
        reference = self.scorer.reference or {}
        value = np.full(len(history), reference[name])
        if not is_additive(name):
            return value
        then = np.full(1, reference[HISTORY])
        return np.asarray(value * days_held(name, history) / np.maximum(days_held(name, then), 1.0))

    def _of_buyers(self, X: Matrix) -> list[list[str]]:
        moved, effect = self.contributions(X)
        facts = Facts(X, self.scorer.feature_names, self.scorer.reference or {}, self.currency)
        floor = np.full(len(X), _LEAST_LOG_ODDS)
        if not self.scorer.is_probability:
            floor = np.maximum(self.scorer.model.link(X) * _LEAST_SHARE, 0.5)
        order = np.argsort(-np.abs(moved), axis=1, kind="stable")[:, :MOST]
        return [
            [
                f"{self.groups[g].words(facts, i)} ({self._effect(float(effect[i, g]))})"
                for g in order[i]
                if abs(moved[i, g]) >= floor[i]
            ]
            for i in range(len(X))
        ]

    def _effect(self, effect: float) -> str:
        if not self.scorer.is_probability:
            return f"{effect:+,.0f} {self.currency}"
        points = effect * 100
        if abs(points) < 0.05:  # noqa: PLR2004 - would be shown as 0.0
            return "risk under 0.1 points " + ("higher" if points > 0 else "lower")
        return f"risk {points:+.1f} points" if abs(points) < 1 else f"risk {points:+.0f} points"
