"""The daily watch on a model: features and scores of today beside those of the day it was trained.

Population stability (PSI) by quantile bins, and the share of clients with a value that training never saw: outside
the range, or unknown where it never was. Only what could not be chance for so many clients counts: under no change,
PSI over (1/n + 1/m) is chi-square distributed (Yurdakul 2018, "Statistical properties of population stability index").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from scipy.stats import chi2

from perennial.core.settings import Drift
from perennial.scoring.drift import bin_counts, grows
from perennial.scoring.features import Matrix, column, to_matrix
from perennial.scoring.metrics import psi

_CHANCE = 0.999
_FEW = 5  # clients: fewer than these are no share
Verdict = Literal["passed", "warned", "stopped"]


@dataclass(frozen=True)
class Watched:
    """The verdict, its sentences (what stops first), and figures (`psi`, `unseen`) by feature, the score as `score`."""

    verdict: Verdict
    sentences: tuple[str, ...]
    figures: dict[str, dict[str, float]]


def watch(card: dict[str, Any], scorer: Any, table: pa.Table, history_start: date, limits: Drift) -> Watched:
    """The watch of a card's model on (a sample of) today's clients; `table` holds the card's features.

    What grows with the calendar (ages, totals, windows that the history did not fill when the model was trained) may
    warn and never stops; the same holds for features that hardly move the score: they are only in the figures.
    """
    telling = set(card["drift_features"])
    figures = {name: _figures(bins, column(table, name), card) for name, bins in card["bins"].items()}
    found = [(name, f) for name, f in figures.items() if name in telling and f]
    if card.get("score_bins"):
        values = scorer.score(to_matrix(table, scorer.feature_names, history_start)).value
        figures["score"] = _figures(card["score_bins"], values, card)
        found.append(("score", figures["score"]))
    stops: list[str] = []
    warns: list[str] = []
    for name, figure in found:
        growing = grows(name, card)
        for sentence, stopping in _over(name, figure, limits):
            (stops if stopping and not growing else warns).append(sentence)
    verdict: Verdict = "stopped" if stops else "warned" if warns else "passed"
    return Watched(verdict, (*stops, *warns), {name: f for name, f in figures.items() if f})


def watch_values(card: dict[str, Any], values: dict[str, Matrix], limits: Drift) -> Watched:
    """The watch of a model that reads no features: `values` by name of the card's bins, the score as `score`."""
    bins = {**card["bins"], "score": card["score_bins"]}
    figures = {name: _figures(bins[name], found, card) for name, found in values.items()}
    over = [(name, *one) for name, figure in figures.items() if figure for one in _over(name, figure, limits)]
    stops = [sentence for name, sentence, stopping in over if stopping and not grows(name, card)]
    warns = [sentence for _, sentence, _ in over if sentence not in stops]
    verdict: Verdict = "stopped" if stops else "warned" if warns else "passed"
    return Watched(verdict, (*stops, *warns), {name: f for name, f in figures.items() if f})


def _figures(bins: dict[str, Any], values: Matrix, card: dict[str, Any]) -> dict[str, float]:
    """PSI (0 where chance could have made it) and unseen share; empty for a feature that never varied."""
    shares = np.asarray(bins["shares"], dtype=np.float64)
    if (shares > 0).sum() <= 1:
        return {}
    counts = bin_counts(values, np.asarray(bins["edges"], dtype=np.float64))
    total = max(float(counts.sum()), 1.0)
    by_chance = float(chi2.ppf(_CHANCE, len(shares) - 1)) * (1 / total + 1 / max(card["scored_clients"], 1))
    index = psi(shares, counts / total)
    found = {"psi": round(index if index > by_chance else 0.0, 4)}
    if bins.get("low") is not None:
        with np.errstate(invalid="ignore"):
            outside = (values < bins["low"]) | (values > bins["high"])
        unseen = int(outside.sum()) + (int(counts[-1]) if shares[-1] == 0 else 0)
        found |= {
            "unseen": round(unseen / total if unseen >= _FEW else 0.0, 4),
            "low": bins["low"],
            "high": bins["high"],
        }
    return found


def _over(name: str, figure: dict[str, float], limits: Drift) -> list[tuple[str, bool]]:
    """The sentences of a feature, and whether each is about a limit that stops."""
    told = "the scores have" if name == "score" else f"{name} has"
    found = []
    if figure["psi"] > limits.warn:
        stopping = figure["psi"] > limits.stop
        limit = f"{limits.stop:g} stops" if stopping else f"{limits.warn:g} warns"
        found.append((f"{told} drifted: PSI {figure['psi']:.2f}, {limit}", stopping))
    unseen = figure.get("unseen", 0.0)
    if unseen > limits.unseen_warn and name != "score":
        stopping = unseen > limits.unseen_stop
        limit = f"{limits.unseen_stop:.0%} stops" if stopping else f"{limits.unseen_warn:.0%} warns"
        said = f"{name}: {unseen:.0%} of the clients have values that training never saw"
        found.append((f"{said} ({figure['low']:g} to {figure['high']:g}), {limit}", stopping))
    return found
