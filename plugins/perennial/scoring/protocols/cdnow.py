"""Purchases to come, as the CDNOW sample is judged in the literature: fitted up to the cut, held against what came.

Histories (x, t_x, T) come from `client_features` as of the day before the cut, like those of every score; what was
bought per day, and the first purchase's amount, which Gamma-Gamma leaves out, from the purchases by day. Clients are
all who had bought before the cut. Times are counted in the data set's `time_unit` where that is days, weeks or months.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.scoring.btyd.bgnbd import BetaGeoNBD
from perennial.scoring.btyd.choose import WORDS, passed_over
from perennial.scoring.btyd.features import histories_of_features
from perennial.scoring.btyd.gamma_gamma import GammaGamma
from perennial.scoring.btyd.histories import Keys
from perennial.scoring.btyd.nbd import NBD
from perennial.scoring.btyd.pareto import ParetoNBD
from perennial.scoring.btyd.purchases import PurchaseModel
from perennial.scoring.features import Matrix, feature_schema, to_matrix
from perennial.scoring.metrics import auc, normalised_gini
from perennial.scoring.protocols import Curve, Judged, Row, Transactions, lift_curve

_UNITS = {"week": 7.0, "month": 30.4375}
_DEFINITIONS = {
    "expected": "purchases (days with an order) expected in the horizon, all clients together",
    "actual": "purchases made in it by these clients",
    "correlation": "of expected and actual purchases, client by client",
    "mae": "mean absolute error of the expected purchases of a client",
    "curve_mape": "mean of |expected - made| / made of cumulative repeat purchases, over the horizon's weeks, in %",
    "auc": "area under the ROC curve of any purchase in the horizon, by expected purchases",
    "spend_expected": "expected purchases times expected spend per purchase, all clients together",
    "spend_actual": "what they spent",
    "spend_gini": "Gini of the gain curve of spend ordered by the prediction, over that ordered by the truth",
}
_NOTHING = "no client bought before the cut"


@dataclass(frozen=True)
class Cohort:
    """Clients with a purchase before the cut, row by row; times in units of the model, `unit_days` long.

    `spend`: repeat purchases and their mean amount; `recent`: purchases and amount of as many days before the cut as
    the horizon has; `first`: day of the first purchase; `repeats`: how many repeat purchases each day of the data saw.
    """

    histories: Matrix
    spend: Matrix
    bought: Matrix
    spent: Matrix
    recent: Matrix
    first: Matrix
    repeats: Matrix
    cut: int  # days are counted from the data's first
    horizon: int
    unit_days: float

    @property
    def units(self) -> float:
        """The horizon in units of the models."""
        return self.horizon / self.unit_days


@dataclass(frozen=True)
class Forecast:
    """One rule's: purchases and spend by client, and cumulative repeat purchases at the ends of the weeks."""

    rule: str
    purchases: Matrix
    spend: Matrix
    curve: Matrix
    chosen: str = ""
    cpu_seconds: float | None = None


def run(data: Transactions, horizon_days: int) -> Judged:
    """Models and baselines at each cut; why a model, or a cut, has none."""
    rows: list[Row] = []
    curves: list[Curve] = []
    sentences: list[str] = []
    refused: list[str] = []
    for cut in data.cuts:
        if cut <= data.first_day or cut + timedelta(days=horizon_days - 1) > data.last_day:
            refused.append(
                f"{cut}: its {horizon_days} days lie outside the data of {data.first_day} to {data.last_day}"
            )
            continue
        cohort = cohort_at(data, cut, horizon_days)
        if cohort is None:
            refused.append(f"{cut}: {_NOTHING}")
            continue
        forecasts = [*_models(cohort, str(cut), sentences, refused, seed=data.seed), *baselines(cohort)]
        rows += [_row(str(cut), forecast, cohort) for forecast in forecasts]
        curves += _curves(str(cut), forecasts, cohort)
    return Judged(
        data.task, horizon_days, "correlation", tuple(rows), tuple(curves), tuple(sentences), tuple(refused),
        definitions=_DEFINITIONS,
    )  # fmt: skip


def cohort_at(data: Transactions, cut: date, horizon_days: int) -> Cohort | None:
    """Histories from `client_features`, the rest from one reading of the purchases by day."""
    table = data.features([cut - timedelta(days=1)], horizon_days)
    if not table.num_rows:
        return None
    names = [name for name, _ in feature_schema(table.schema, without=data.labels())]
    unit = _UNITS.get(data.dataset.time_unit or "day", 1.0)
    histories = histories_of_features(to_matrix(table, names, data.first_day), names)
    histories[:, 1:] /= unit
    counted = _Counter(table.column("client_id"), (cut - data.first_day).days, horizon_days)
    for batch in data.days():
        counted.add(batch, data.first_day)
    return counted.cohort(histories, unit)


class _Counter:
    """Sums by client over batches of (client, day), each client's days in order."""

    def __init__(self, clients: pa.ChunkedArray, cut: int, horizon: int) -> None:
        self.clients, self.cut, self.horizon = clients, cut, horizon
        count = len(clients)
        self.first = np.full(count, np.inf)
        self.sums = {name: np.zeros(count) for name in ("repeats", "paid", "bought", "spent", "recent", "received")}
        self.days = np.zeros(cut + horizon)

    def add(self, batch: pa.RecordBatch, first_day: date) -> None:
        """Count a batch; days from the end of the horizon on, and clients who are not judged, are passed over."""
        place = pc.index_in(batch.column("client_id"), value_set=self.clients)
        known = np.asarray(pc.is_valid(place))
        day = np.asarray(batch.column("ordered_on")).astype("datetime64[D]") - np.datetime64(first_day)
        rows = known & (day.astype(np.int64) < self.cut + self.horizon)
        who = np.asarray(pc.fill_null(place, 0))[rows].astype(np.int64)
        when = day.astype(np.int64)[rows]
        self._sum(who, when, np.nan_to_num(np.asarray(batch.column("revenue"), dtype=np.float64)[rows]))

    def _sum(self, who: Keys, when: Keys, revenue: Matrix) -> None:
        np.minimum.at(self.first, who, when)
        again = when > self.first[who]
        before, recent = when < self.cut, (when < self.cut) & (when >= self.cut - self.horizon)
        for counts, amounts, rows in (
            ("repeats", "paid", again & before), ("bought", "spent", ~before), ("recent", "received", recent),
        ):  # fmt: skip
            self.sums[counts] += np.bincount(who[rows], minlength=len(self.first))
            self.sums[amounts] += np.bincount(who[rows], revenue[rows], minlength=len(self.first))
        self.days += np.bincount(when[again], minlength=len(self.days))

    def cohort(self, histories: Matrix, unit: float) -> Cohort:
        """What was counted, with the histories."""
        sums = self.sums
        mean = sums["paid"] / np.maximum(sums["repeats"], 1)
        return Cohort(
            histories, np.column_stack([sums["repeats"], mean]), sums["bought"], sums["spent"],
            np.column_stack([sums["recent"], sums["received"]]), self.first, self.days, self.cut, self.horizon, unit,
        )  # fmt: skip


def _models(cohort: Cohort, cut: str, sentences: list[str], refused: list[str], *, seed: int) -> list[Forecast]:
    """Each model that the histories carry; for the others, a sentence."""
    spend, found = _spend(cohort, cut, refused, seed=seed), []
    plain = NBD(seed=seed).fit(cohort.histories)
    for kind in (BetaGeoNBD, ParetoNBD):
        started = time.process_time()
        model = kind(seed=seed).fit(cohort.histories)
        seconds = time.process_time() - started
        reason = passed_over(model, plain)
        if reason:
            refused.append(f"{cut}: {WORDS[kind]}: {reason}")
            continue
        if kind is BetaGeoNBD:
            sentences.append(f"{cut}: {_alive_ranks(model, cohort)}")
        found.append(forecast(model, spend, cohort, seconds))
    return found or [forecast(plain, spend, cohort, 0.0)]


def _alive_ranks(model: PurchaseModel, cohort: Cohort) -> str:
    score = auc((cohort.bought > 0).astype(np.float64), model.p_alive(cohort.histories))
    return f"BG/NBD's chance of being alive, as a score of any purchase, has AUC {score:.3f}: it is no churn score"


def _spend(cohort: Cohort, cut: str, refused: list[str], *, seed: int) -> Matrix:
    """Expected amount of a purchase by client: Gamma-Gamma, or the mean of all where it cannot be had."""
    repeats, mean = cohort.spend.T
    if (repeats * mean > 0).any():
        model = GammaGamma(seed=seed).fit(cohort.spend)
        if model.is_usable_:
            return model.predict(cohort.spend)
        refused.append(f"{cut}: Gamma-Gamma: {model.doubt_}; the mean of all repeat purchases is used")
    else:
        refused.append(f"{cut}: Gamma-Gamma: no repeat purchase with an amount; the mean of all is used")
    return np.full(len(mean), (repeats @ mean) / max(repeats.sum(), 1.0))


def forecast(model: PurchaseModel, spend: Matrix, cohort: Cohort, seconds: float) -> Forecast:
    """What a fitted model expects of the cohort."""
    purchases = model.expected_purchases(cohort.histories, cohort.units)
    born, clients = np.unique(cohort.first, return_counts=True)
    since = (week_ends(cohort)[:, None] - 1 - born) / cohort.unit_days
    curve = model.expected_cumulative(since) @ clients
    chosen = f"{_shown(model.parameters_)}; log-likelihood {model.log_likelihood_:,.2f}"
    return Forecast(f"{WORDS[type(model)]} x Gamma-Gamma", purchases, purchases * spend, curve, chosen, seconds)


def baselines(cohort: Cohort) -> list[Forecast]:
    """The client's own pace, that of all, and as much as in as many days before."""
    x, age = cohort.histories[:, 0], cohort.histories[:, 2]
    paid = float(cohort.spend[:, 0] @ cohort.spend[:, 1]) / max(float(x.sum()), 1.0)
    pace = float(x.sum()) / max(float(age.sum()), 1e-9)
    own = np.where(age > 0, x / np.maximum(age, 1e-9), pace) * cohort.units
    mine = np.where(cohort.spend[:, 1] > 0, cohort.spend[:, 1], paid)
    every = np.full(len(x), pace * cohort.units)
    found = (
        ("own pace goes on", own, own * mine),
        ("everyone buys like all", every, every * paid),
        (f"as in the last {cohort.horizon} days", cohort.recent[:, 0], cohort.recent[:, 1]),
    )
    return [
        Forecast(rule, counts, amounts, _straight_on(cohort, float(counts.sum()))) for rule, counts, amounts in found
    ]


def week_ends(cohort: Cohort) -> Matrix:
    """Whole weeks before and after the cut, as days from the data's first; a week ends before that day begins."""
    return np.arange(cohort.cut % 7, cohort.cut + cohort.horizon + 1, 7.0)


def made(cohort: Cohort) -> Matrix:
    """Cumulative repeat purchases at the ends of the weeks."""
    counted = np.append([0.0], np.cumsum(cohort.repeats))
    return np.asarray(counted[week_ends(cohort).astype(np.int64)], dtype=np.float64)


def _straight_on(cohort: Cohort, total: float) -> Matrix:
    """What was made up to the cut, then a straight line of `total` over the horizon."""
    ends = week_ends(cohort)
    share = np.clip((ends - cohort.cut) / cohort.horizon, 0.0, 1.0)
    up_to_cut = float(cohort.repeats[: cohort.cut].sum())
    return np.asarray(np.where(ends <= cohort.cut, made(cohort), up_to_cut + share * total), dtype=np.float64)


def _row(cut: str, forecast: Forecast, cohort: Cohort) -> Row:
    figures: Mapping[str, float | None] = {
        "expected": float(forecast.purchases.sum()),
        "actual": float(cohort.bought.sum()),
        "correlation": _correlation(forecast.purchases, cohort.bought),
        "mae": float(np.abs(forecast.purchases - cohort.bought).mean()),
        "curve_mape": _curve_error(forecast.curve, cohort),
        "auc": _known(auc((cohort.bought > 0).astype(np.float64), forecast.purchases)),
        "spend_expected": float(forecast.spend.sum()),
        "spend_actual": float(cohort.spent.sum()),
        "spend_gini": _gini(cohort.spent, forecast.spend),
    }
    is_model = forecast.cpu_seconds is not None
    return Row(cut, forecast.rule, figures, len(cohort.bought), is_model, forecast.chosen, forecast.cpu_seconds)


def _correlation(expected: Matrix, actual: Matrix) -> float | None:
    if len(actual) < 2 or np.ptp(expected) == 0 or np.ptp(actual) == 0:  # noqa: PLR2004
        return None
    return float(np.corrcoef(expected, actual)[0, 1])


def _gini(spent: Matrix, expected: Matrix) -> float | None:
    return _known(normalised_gini(spent, expected)) if np.ptp(expected) > 0 else None  # all alike: no order to judge


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _curve_error(curve: Matrix, cohort: Cohort) -> float | None:
    later, actual = week_ends(cohort) > cohort.cut, made(cohort)
    later &= actual > 0
    return float(100 * np.mean(np.abs(curve - actual)[later] / actual[later])) if later.any() else None


def _curves(cut: str, forecasts: Sequence[Forecast], cohort: Cohort) -> list[Curve]:
    weeks = (week_ends(cohort) / 7).tolist()
    lines = {found.rule: (weeks, found.curve.tolist()) for found in forecasts} | {
        "made": (weeks, made(cohort).tolist())
    }
    bought = (cohort.bought > 0).astype(np.float64)
    return [
        Curve(
            "Cumulative repeat purchases", f"weeks from the first day; the cut is at {cohort.cut / 7:.1f}",
            "repeat purchases", lines, cut,
        ),
        lift_curve(bought, {found.rule: found.purchases for found in forecasts}, title="Lift", cut=cut),
    ]  # fmt: skip


def _shown(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in parameters.items())
