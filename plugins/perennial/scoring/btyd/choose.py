"""Which model of purchases a set of histories can carry, and why the others were passed over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perennial.scoring.btyd.bgnbd import BetaGeoNBD
from perennial.scoring.btyd.nbd import NBD
from perennial.scoring.btyd.pareto import ParetoNBD
from perennial.scoring.btyd.purchases import PurchaseModel
from perennial.scoring.features import Matrix

WORDS = {ParetoNBD: "Pareto/NBD", BetaGeoNBD: "BG/NBD", NBD: "NBD"}
_PROVEN = 3.0  # log-likelihood that dropout must add: chi-square of two parameters at 5 %


@dataclass(frozen=True)
class Chosen:
    """A fitted model and the sentences that a card should hold."""

    model: PurchaseModel
    said: tuple[str, ...]


def purchase_model(X: Matrix, *, max_rows: int | None = 1_000_000, seed: int = 0) -> Chosen:
    """The likeliest of Pareto/NBD and BG/NBD where dropout is there to be measured, else NBD.

    Histories that begin before their first record (left truncation: a shop's old clients on the first day of its data)
    hold few who leave early. Dropout then runs to zero, or its parameters to infinity together: a model is taken only
    when its optimum was reached, lies inside the range of parameters, and dropout adds to the likelihood of NBD more
    than chance does. Parameters that stay open one by one do no harm then. Raises ValueError without a history.
    """
    plain = NBD(max_rows=max_rows, seed=seed).fit(X)
    said: list[str] = []
    usable: list[PurchaseModel] = []
    for kind in (ParetoNBD, BetaGeoNBD):
        model = kind(max_rows=max_rows, seed=seed).fit(X)
        reason = passed_over(model, plain)
        if reason is None:
            usable.append(model)
        else:
            said.append(f"{WORDS[kind]} is not used: {reason}")
    if not usable:
        said.append("NBD is used instead: it knows no clients who left, so silence counts by its length only")
        return Chosen(plain, tuple(said))
    return Chosen(max(usable, key=lambda model: model.log_likelihood_), tuple(said))


def passed_over(model: PurchaseModel, plain: NBD) -> str | None:
    """A sentence when the model cannot be used, None when it can."""
    if model.converged_:
        return None
    gain = model.log_likelihood_ - plain.log_likelihood_
    if gain > _PROVEN and model.is_inside_:
        return None
    if not np.isfinite(gain):
        return str(model.doubt_)
    left_truncated = "nobody seems to leave, as where histories begin before their first record (left truncation)"
    return f"{model.doubt_}; dropout adds {max(gain, 0.0):.1f} to the log-likelihood: {left_truncated}"
