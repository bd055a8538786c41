"""One case of a peer of scoring/btyd, in the peer's own environment (tests/peers/*.txt): see bench_btyd.py.

    PEER/bin/python tests/bench/peers_btyd.py lifetimes|pymc purchases|spend|expectations|value HISTORIES.parquet

Prints one line of JSON: CPU seconds of the case alone (imports and reading apart; pymc's second fit of a process is
`warm`), the parameters, and what came out. Imports nothing of ours.
"""

from __future__ import annotations

import json
import resource
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

HORIZON, MONTHS = 90, 12


def main() -> None:
    """Read, run, print."""
    warnings.simplefilter("ignore")
    peer, case, path = sys.argv[1:4]
    data = pd.read_parquet(path)
    if "customer_id" not in data:
        data["customer_id"] = range(len(data))
    print(json.dumps(CASES[peer, case](data)))  # noqa: T201


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process and its ended children during the call, and what it gave."""
    before = _cpu()
    found = call()
    return _cpu() - before, found


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def lifetimes_purchases(data: pd.DataFrame) -> dict[str, Any]:
    """BetaGeoFitter, as it comes."""
    from lifetimes import BetaGeoFitter

    seconds, model = timed(lambda: BetaGeoFitter().fit(data["frequency"], data["recency"], data["T"]))
    return {"cpu": seconds, "parameters": dict(model.params_)}


def lifetimes_spend(data: pd.DataFrame) -> dict[str, Any]:
    """GammaGammaFitter on repeat buyers; it raises where it does not converge."""
    from lifetimes import GammaGammaFitter
    from lifetimes.utils import ConvergenceError

    rows = data[(data["frequency"] > 0) & (data["monetary"] > 0)]
    failed: list[str] = []

    def fit() -> Any:
        try:
            return GammaGammaFitter().fit(rows["frequency"], rows["monetary"])
        except ConvergenceError:
            failed.append("did not converge")
            return None

    seconds, model = timed(fit)
    return {"cpu": seconds, "failed": failed, "parameters": dict(model.params_) if model is not None else {}}


def lifetimes_expectations(data: pd.DataFrame) -> dict[str, Any]:
    """Expected purchases of the next 90 days for every client."""
    model = _lifetimes_fitted()
    seconds, found = timed(
        lambda: model.conditional_expected_number_of_purchases_up_to_time(
            HORIZON, data["frequency"], data["recency"], data["T"]
        )
    )
    return {"cpu": seconds, "total": float(found.sum())}


def lifetimes_value(data: pd.DataFrame) -> dict[str, Any]:
    """Lifetime value of a year, in its monthly steps, 1 % a month."""
    from lifetimes import GammaGammaFitter

    model, spend = _lifetimes_fitted(), GammaGammaFitter()
    spend.params_ = pd.Series({"p": 5.8669, "q": 3.9992, "v": 25.793})
    seconds, found = timed(
        lambda: spend.customer_lifetime_value(
            model,
            data["frequency"],
            data["recency"],
            data["T"],
            data["monetary"],
            time=MONTHS,
            discount_rate=0.01,
            freq="D",
        )
    )
    return {"cpu": seconds, "total": float(found.sum())}


def _lifetimes_fitted() -> Any:
    """BG/NBD with the parameters of the generated data, so that only expectations are measured."""
    from lifetimes import BetaGeoFitter

    model = BetaGeoFitter()
    model.params_ = pd.Series({"r": 0.6112, "alpha": 47.173, "a": 0.70125, "b": 5.0253})
    model.predict = model.conditional_expected_number_of_purchases_up_to_time
    return model


def pymc_purchases(data: pd.DataFrame) -> dict[str, Any]:
    """BetaGeoModel, maximum a posteriori with its own priors, twice in one process."""
    from pymc_marketing import clv

    return _pymc_twice(lambda: clv.BetaGeoModel(data=data[["customer_id", "frequency", "recency", "T"]]))


def pymc_spend(data: pd.DataFrame) -> dict[str, Any]:
    """GammaGammaModel, maximum a posteriori with its own priors, twice in one process."""
    from pymc_marketing import clv

    rows = data[(data["frequency"] > 0) & (data["monetary"] > 0)].rename(columns={"monetary": "monetary_value"})
    return _pymc_twice(lambda: clv.GammaGammaModel(data=rows[["customer_id", "monetary_value", "frequency"]]))


def _pymc_twice(new: Callable[[], Any]) -> dict[str, Any]:
    def fit() -> Any:
        model = new()
        model.fit(method="map", progressbar=False)
        return model

    cold, _ = timed(fit)
    warm, model = timed(fit)
    found = {name: float(values) for name, values in model.fit_summary().items()}
    return {"cpu": warm, "cold": cold, "parameters": found}


CASES: dict[tuple[str, str], Callable[[pd.DataFrame], dict[str, Any]]] = {
    ("lifetimes", "purchases"): lifetimes_purchases,
    ("lifetimes", "spend"): lifetimes_spend,
    ("lifetimes", "expectations"): lifetimes_expectations,
    ("lifetimes", "value"): lifetimes_value,
    ("pymc", "purchases"): pymc_purchases,
    ("pymc", "spend"): pymc_spend,
}

if __name__ == "__main__":
    main()
