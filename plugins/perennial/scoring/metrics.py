"""Figures that scores are judged by. All take arrays of equal length and give floats; nothing is rounded here."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from perennial.scoring.features import Matrix

_TINY = 1e-6


def auc(truth: Matrix, score: Matrix) -> float:
    """Area under the ROC curve by mid-ranks (Mann-Whitney), ties counted half. NaN when there is one class only."""
    positives = truth > 0
    count = int(positives.sum())
    if count in (0, len(truth)):
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positives].sum() - count * (count + 1) / 2) / (count * (len(truth) - count)))


def pr_auc(truth: Matrix, score: Matrix) -> float:
    """Average precision: the sum over thresholds of precision times the step in recall; ties share a threshold."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, [True])
    precision = (hits / np.arange(1, len(truth) + 1))[last_of_tie]
    recall = hits[last_of_tie] / max(hits[-1], 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def lift_top_decile(truth: Matrix, score: Matrix) -> float:
    """Share of positives among the tenth with the highest scores, over the share among all."""
    top = np.argsort(-score, kind="stable")[: max(1, len(score) // 10)]
    return float(truth[top].mean() / max(truth.mean(), _TINY))


def brier(truth: Matrix, probability: Matrix) -> float:
    """Mean squared error of a probability."""
    return float(np.mean((probability - truth) ** 2))


def calibration_table(truth: Matrix, probability: Matrix, *, bins: int = 10) -> list[dict[str, float]]:
    """Per tenth of clients by probability: clients, mean predicted and share observed."""
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(truth)))
    return [
        {"clients": len(part), "predicted": float(probability[part].mean()), "observed": float(truth[part].mean())}
        for part in parts
    ]


def normalised_gini(truth: Matrix, score: Matrix) -> float:
    """Gini of the gain curve ordered by the score, over that ordered by the truth: 1 is perfect, 0 is chance.

    Rows of an equal score enter together, at their mean truth: the figure is the mean over all orders of them.
    """
    perfect = _gini(truth, truth)
    return _gini(truth, score) / perfect if perfect > _TINY else float("nan")


def _gini(truth: Matrix, score: Matrix) -> float:
    """The mean rank from the end, weighted by the truth, less that of chance; ties share their mean rank."""
    total = truth.sum()
    if total <= 0:
        return 0.0
    count = len(truth)
    return float((truth * (rankdata(score) - (count + 1) / 2)).sum() / total / count)


def probability_figures(truth: Matrix, probability: Matrix) -> dict[str, float]:
    """What a score of an event is judged by, in one row."""
    return {
        "auc": auc(truth, probability),
        "pr_auc": pr_auc(truth, probability),
        "lift_top_decile": lift_top_decile(truth, probability),
        "brier": brier(truth, probability),
        "mean_predicted": float(probability.mean()),
        "base_rate": float(truth.mean()),
    }


def amount_figures(truth: Matrix, amount: Matrix) -> dict[str, float]:
    """What a forecast of money is judged by; `bias` is predicted over actual total, minus 1."""
    total = float(truth.sum())
    return {
        "normalised_gini": normalised_gini(truth, amount),
        "bias": float(amount.sum() / total - 1) if total > 0 else float("nan"),
        "mae": float(np.abs(amount - truth).mean()),
        "mean_predicted": float(amount.mean()),
        "mean_actual": float(truth.mean()),
    }


def psi(reference: Matrix, found: Matrix) -> float:
    """Population stability index of two lists of shares over the same bins: sum of (f - r) ln(f / r).

    Below 0.1 is calm, above 0.25 is a change, by the custom of credit scoring. Empty bins count as 0.01 %.
    """
    r, f = np.maximum(reference, 1e-4), np.maximum(found, 1e-4)
    return float(np.sum((f - r) * np.log(f / r)))
