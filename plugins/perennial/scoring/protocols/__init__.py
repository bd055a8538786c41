"""Protocols: how each score is judged on a data set, with nothing from after the cut and baselines on the same rows.

A protocol is a module of this package with one function:

    def run(data: Transactions, horizon_days: int) -> Judged      # kind: transactions
    def run(data: Labelled) -> Judged                             # kind: labelled

It is entered in `PROTOCOLS` by its task and kind. It gives rows of figures (the model's and its baselines', per cut or
fold), curves for plots, and sentences: what was chosen and on what, what was refused and why. It raises nothing for
data that are too few: that is a `Judged` with a sentence in `refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.contracts.backtests import DataSet
from perennial.scoring.features import Matrix

# (kind, task) -> module of this package. A randomised campaign (labelled, with treatment) has the task `response`; the
# other labelled sets are told by label alone.
PROTOCOLS: dict[tuple[str, str], str] = {
    ("transactions", "churn"): "churn",
    ("transactions", "value"): "churn",
    ("transactions", "purchases"): "cdnow",
    ("transactions", "next_purchase"): "next_purchase",
    ("transactions", "next_product"): "next_product",
    ("randomised", "response"): "response",
    ("labelled", "churn"): "labelled",
    ("labelled", "response"): "labelled",
}


class Transactions(Protocol):
    """A `transactions` data set that went through the product's own chain; what protocols may read of it.

    Days are local days of the company. Everything is ordered, so that equal data give equal figures.
    """

    dataset: DataSet
    task: str  # the one that is asked for: a module may hold several
    cuts: tuple[date, ...]  # ascending; the first day of a label is the cut itself, features end on the day before
    first_day: date  # of the data
    last_day: date
    seed: int

    def features(self, dates: Sequence[date], horizon_days: int) -> pa.Table:
        """`client_features` as of each date (what was known at its end), then `client_labels` for the horizon.

        A date is the day *before* a cut. Ordered by client and date; a sample of clients (by a hash of their id) where
        there are too many for the memory, the same at all dates. Built by dbt once per set of dates, then kept.
        """

    def labels(self) -> tuple[str, ...]:
        """Which columns of `features` are labels or no feature at all."""

    def days(self) -> Iterator[pa.RecordBatch]:
        """Purchases by client and day: client_id, ordered_on, orders, revenue, units; by client and day (L26)."""

    def lines(self) -> Iterator[pa.RecordBatch]:
        """Purchase lines: client_id, ordered_on, order_id, product_id, cancelled_on, category, units, revenue.

        By client. A row per order and product, and per day on which a part was cancelled (null: it stands). Without a
        product column there is none.
        """


@dataclass(frozen=True)
class Labelled:
    """A `labelled` data set as it stands: a row is a client.

    `features`: the columns that may be used, as pandas gives them (numbers as float64, words as `category`; NaN is
    unknown). `label`: 0/1 float64, or None where there are outcomes only. `costs`: arrays by `cost_tp` and so on.
    `treatment`: words; `outcomes`: arrays by column. `order`: the rows in the order of time (for split: time).
    """

    dataset: DataSet
    features: Any  # pandas.DataFrame
    label: Matrix | None
    costs: dict[str, Matrix] = field(default_factory=dict)
    treatment: npt.NDArray[Any] | None = None
    outcomes: dict[str, Matrix] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()  # what was left out when reading
    seed: int = 42
    task: str = ""  # the one that is asked for
    categorical: tuple[str, ...] = ()  # the columns of words


@dataclass(frozen=True)
class Row:
    """One line of the table: a rule (a model or a baseline), judged at a cut or on folds.

    `figures` in the order of the columns that are shown, None where one has no meaning. `chosen` says which candidate
    and on what it was chosen; `cpu_seconds` is the whole fitting and choosing, of models only.
    """

    cut: str
    rule: str
    figures: Mapping[str, float | None]
    n: int
    is_model: bool = False
    chosen: str = ""
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Curve:
    """One plot. `lines`: points (x, y) by rule, the model's first. `diagonal`: draw y = x beside them."""

    title: str
    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    cut: str = ""
    diagonal: bool = False
    markers: bool = False  # points joined by lines, for few of them


@dataclass(frozen=True)
class Judged:
    """What a protocol comes to. `merit`: the figure by which rows are compared, and whether more is better.

    `refused`: the sentences of what was not judged, and why. `definitions`: figure -> what it is, in words.
    """

    task: str
    horizon_days: int | None
    merit: str
    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()
    sentences: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    higher_is_better: bool = True
    definitions: Mapping[str, str] = field(default_factory=dict)


def protocol_of(dataset: DataSet, task: str) -> Callable[..., Judged] | None:
    """The `run` of the module that judges the task on such data; None where there is none."""
    import importlib
    import importlib.util

    kind = "randomised" if dataset.is_randomised else dataset.kind
    name = PROTOCOLS.get((kind, task))
    if name is None or importlib.util.find_spec(f"{__name__}.{name}") is None:
        return None
    run: Callable[..., Judged] = importlib.import_module(f"{__name__}.{name}").run
    return run


def lift_curve(truth: Matrix, scores: Mapping[str, Matrix], *, title: str, cut: str) -> Curve:
    """Share of the events among the first x of the clients by score, at most 101 points per rule."""
    lines = {rule: _gains(truth, values) for rule, values in scores.items()}
    return Curve(title, "share of clients, highest score first", "share of events found", lines, cut, diagonal=True)


def _gains(truth: Matrix, score: Matrix) -> tuple[list[float], list[float]]:
    gains = np.concatenate([[0.0], np.cumsum(truth[np.argsort(-score, kind="stable")])])
    places = np.unique(np.linspace(0, len(truth), 101).astype(np.int64))
    return (places / max(len(truth), 1)).tolist(), (gains[places] / max(float(gains[-1]), 1e-12)).tolist()
