"""Money that a ranking or a probability is worth: expected maximum profit of retention, least risk by costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from perennial.contracts.backtests import Benefit
from perennial.scoring.features import Matrix


@dataclass(frozen=True)
class ExpectedProfit:
    """`per_client`: expected maximum profit, in money per client of the list; `share`: of clients to contact for it."""

    per_client: float
    share: float


def empc(truth: Matrix, score: Matrix, benefit: Benefit) -> ExpectedProfit:
    """Expected maximum profit of a retention campaign (EMPC), exact over the ROC's convex hull.

    Verbraken, Verbeke and Baesens, "A Novel Profit Maximizing Metric for Measuring Classification Performance of
    Customer Churn Prediction Models", IEEE TKDE 25(5), 2013: the profit per client at a threshold is
    CLV (g (1 - d) - f) p0 F0 - CLV (d + f) p1 F1 (with d = offer / CLV, f = contact / CLV), where p0, p1 are the
    shares of churners and others, F0, F1 those of them who are contacted, and g, the share of contacted churners who
    accept, is Beta(alpha, beta). EMPC is its maximum over the threshold, averaged over g. Between two slopes of
    the hull the best threshold is one vertex (their algorithm for the empirical ROC), so that the integral is a sum of
    incomplete beta functions.
    `truth` is 1 for churners; higher scores are contacted first. NaN when there is one class only.
    """
    churners, others = _hull(truth, score)
    if not len(churners):
        return ExpectedProfit(float("nan"), float("nan"))
    share = float(np.mean(truth > 0))
    d, f = benefit.offer_cost / benefit.client_value, benefit.contact_cost / benefit.client_value
    steps = np.diff(others) * (1 - share) * (d + f) / np.maximum(np.diff(churners) * share * (1 - d), 1e-300)
    turns = np.clip(steps + f / (1 - d), 0.0, 1.0)  # where the next vertex becomes the better one
    edges = np.concatenate([[0.0], np.maximum.accumulate(turns), [1.0]])
    a, b = benefit.accept_alpha, benefit.accept_beta
    chance = np.diff(beta.cdf(edges, a, b))
    accepted = np.diff(beta.cdf(edges, a + 1, b)) * a / (a + b)
    gain = (1 - d) * share * churners * accepted
    cost = (f * share * churners + (d + f) * (1 - share) * others) * chance
    contacted = float(np.sum((share * churners + (1 - share) * others) * chance))
    return ExpectedProfit(float(benefit.client_value * np.sum(gain - cost)), contacted)


def _hull(truth: Matrix, score: Matrix) -> tuple[Matrix, Matrix]:
    """Vertices of the ROC's convex hull: shares of churners and of others at or above a threshold, ascending."""
    events = truth > 0
    if events.all() or not events.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, [True])  # equal scores are contacted together
    y = np.concatenate([[0.0], np.cumsum(events[order])[last] / events.sum()])
    x = np.concatenate([[0.0], np.cumsum(~events[order])[last] / (~events).sum()])
    kept: list[int] = []
    for point in range(len(x)):
        while len(kept) > 1 and _is_below(x, y, kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return y[kept], x[kept]


def _is_below(x: Matrix, y: Matrix, first: int, middle: int, last: int) -> bool:
    """Whether the middle point is not above the line from the first to the last."""
    return bool((y[middle] - y[first]) * (x[last] - x[first]) <= (y[last] - y[first]) * (x[middle] - x[first]))


def least_risk(probability: Matrix, costs: Mapping[str, Matrix]) -> Matrix:
    """1 for clients whose expected cost is less with a contact: the Bayes minimum-risk rule.

    Bahnsen, Stojanovic, Aouada and Ottersten, "Cost Sensitive Credit Card Fraud Detection using Bayes Minimum Risk"
    (ICMLA 2013): contact when p cost_tp + (1 - p) cost_fp < p cost_fn + (1 - p) cost_tn. A cost not given is 0.
    """
    p, zero = probability, np.zeros(len(probability))
    tp, fp, fn, tn = (costs.get(name, zero) for name in ("cost_tp", "cost_fp", "cost_fn", "cost_tn"))
    return np.asarray(p * tp + (1 - p) * fp < p * fn + (1 - p) * tn, dtype=np.float64)


def cost_of(truth: Matrix, contacted: Matrix, costs: Mapping[str, Matrix]) -> float:
    """The cost of all clients together, when these are contacted."""
    zero = np.zeros(len(truth))
    tp, fp, fn, tn = (costs.get(name, zero) for name in ("cost_tp", "cost_fp", "cost_fn", "cost_tn"))
    with_contact, without = truth * tp + (1 - truth) * fp, truth * fn + (1 - truth) * tn
    return float(np.sum(contacted * with_contact + (1 - contacted) * without))


def savings(truth: Matrix, contacted: Matrix, costs: Mapping[str, Matrix]) -> dict[str, float]:
    """1 - cost / cost of contacting nobody, and of everybody; NaN where that costs nothing or is a gain."""
    found = {}
    for name, all_of in (("nobody", np.zeros(len(truth))), ("everybody", np.ones(len(truth)))):
        other = cost_of(truth, all_of, costs)
        found[f"savings_to_{name}"] = 1 - cost_of(truth, contacted, costs) / other if other > 0 else float("nan")
    return found
