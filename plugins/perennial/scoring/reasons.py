"""Why a client has her score: the up to three groups of features that count most, in words of the business.

What a number means: the score, less the score without what the group contributes (`contributions`: exact Shapley values
of the trees and exact terms of the linear models, by the very model that scored). It says what moves the score away
from the average client of the training, not what causes behaviour.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perennial.scoring.contributions import Contributions, kind_of_group
from perennial.scoring.features import Matrix, month_window
from perennial.scoring.scorer import Scored, Scorer
from perennial.scoring.words import Facts, Spoken

MOST = 3
_LEAST_LOG_ODDS = 0.05
_LEAST_SHARE = 0.01  # of the amount
_FAR = 20.0


@dataclass(frozen=True)
class Group:
    """Features that count together; `words` says what they are for the client in row i."""

    key: str
    words: Callable[[Facts, int], str]


def groups_of(keys: list[str], names: tuple[str, ...]) -> list[Group]:
    """The words of each group of contributions."""
    known = {
        "silence": Facts.silence,
        "frequency": Facts.frequency,
        "rhythm": Facts.rhythm,
        "spend": Facts.spend,
        "tenure": Facts.tenure,
        "returned": Facts.returns,
        "returns": Facts.sent_back,
        "left": Facts.left,
    }
    if month_window(names, "orders"):
        known["pace"] = Facts.pace
    return [Group(key, known.get(key) or _about(_first_of(key, names))) for key in keys]


def _first_of(key: str, names: tuple[str, ...]) -> str:
    return next(name for name in names if kind_of_group(name, names) == key)


def _about(name: str) -> Callable[[Facts, int], str]:
    return lambda facts, i: facts.about(name, i)


def _of_rows(spoken: Spoken, rows: npt.NDArray[np.int64]) -> Spoken:
    return {name: [names[row] for row in rows.tolist()] for name, names in spoken.items()}


class Explainer:
    """Gives reasons for a scorer. Amounts are shown in `currency`."""

    def __init__(self, scorer: Scorer, *, currency: str) -> None:
        self.scorer = scorer
        self.currency = currency
        self._contributions = Contributions(scorer.model)
        self.groups = groups_of(self._contributions.groups, scorer.feature_names)

    def explain(self, X: Matrix, scored: Scored, spoken: Spoken | None = None) -> list[str | None]:
        """Per row a JSON list of up to three sentences, strongest first; None where there is no score.

        `spoken`: by column, a name per row for the words (`features.SPOKEN`).
        """
        return self.told(X, scored, spoken)[0]

    def told(
        self, X: Matrix, scored: Scored, spoken: Spoken | None = None
    ) -> tuple[list[str | None], list[str | None]]:
        """What `explain` gives, and per row the key of the group that raises the score most; None where none does."""
        texts: list[str | None] = [None] * len(X)
        mains: list[str | None] = [None] * len(X)
        buyers = np.flatnonzero(scored.given)
        if len(buyers):
            sentences, keys = self._of_buyers(X[buyers], _of_rows(spoken or {}, buyers))
            for row, said, key in zip(buyers, sentences, keys, strict=True):
                texts[row], mains[row] = json.dumps(said, ensure_ascii=False), key
        return texts, mains

    def contributions(self, X: Matrix) -> tuple[Matrix, Matrix]:
        """Rows x groups: how far each moves the model's own scale (log-odds, or log of money), and the score itself."""
        moved, link = self._contributions.of(X)
        model = self.scorer.model
        if self.scorer.is_probability:
            return moved, model.shown(link)[:, None] - model.shown(link[:, None] - moved)
        return moved, link[:, None] * -np.expm1(-np.clip(moved, -_FAR, _FAR))

    def _of_buyers(self, X: Matrix, spoken: Spoken) -> tuple[list[list[str]], list[str | None]]:
        moved, effect = self.contributions(X)
        facts = Facts(X, self.scorer.feature_names, self.scorer.reference or {}, self.currency, spoken)
        least = _LEAST_LOG_ODDS if self.scorer.is_probability else _LEAST_SHARE
        order = np.argsort(-np.abs(moved), axis=1, kind="stable")[:, :MOST]
        counts = np.take_along_axis(np.abs(moved), order, axis=1) >= least
        effects = np.take_along_axis(effect, order, axis=1)
        most = moved.argmax(axis=1)
        raises = moved.max(axis=1) >= least
        keys = [self.groups[g].key if up else None for g, up in zip(most.tolist(), raises.tolist(), strict=True)]
        sentences = [
            [
                f"{self.groups[g].words(facts, i)} ({self._effect(e)})"
                for g, e, counted in zip(order[i], effects[i].tolist(), counts[i], strict=True)
                if counted
            ]
            for i in range(len(X))
        ]
        return sentences, keys

    def _effect(self, effect: float) -> str:
        if not self.scorer.is_probability:
            return f"{effect:+,.0f} {self.currency}"
        points = effect * 100
        if abs(points) < 0.05:  # noqa: PLR2004 - would be shown as 0.0
            return "risk under 0.1 points " + ("higher" if points > 0 else "lower")
        return f"risk {points:+.1f} points" if abs(points) < 1 else f"risk {points:+.0f} points"
