"""Contractual churn, and other labels of one row per client: five stratified folds, or the last part in time.

In every fold the candidate is chosen and calibrated on training rows that it was not fitted on (three folds of them; in
time order the last fifth), then fitted on all training rows and judged on the rows held out.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from perennial.contracts.backtests import Benefit
from perennial.scoring.features import Matrix
from perennial.scoring.metrics import auc, calibration_table, probability_figures
from perennial.scoring.profit import empc, least_risk, savings
from perennial.scoring.protocols import Curve, Judged, Labelled, Row, lift_curve

MODEL, CANDIDATES = "model", ("logistic", "boosting", "blend")
_FOLDS, _MIN_EVENTS = 5, 20
_INNER_FOLDS, _MANY_ROWS = 3, 50_000  # of more rows one fold tells enough
_SUSPICIOUS = 0.99
_RARE = 0.005  # words of fewer rows are one word
_MOST_WORDS = 200  # of a column that boosting can tell apart
_SIMPLER_BY = 0.001
_TINY = 1e-9
Rows = npt.NDArray[np.int64]
_DEFINITIONS = {
    "auc": "area under the ROC curve, ties counted half; mean of the folds",
    "auc_sd": "standard deviation of the AUC over the folds",
    "pr_auc": "average precision",
    "lift_top_decile": "share of events among the tenth with the highest scores, over the share among all",
    "brier": "mean squared error of the probability",
    "mean_predicted": "mean of the probability, to be held against the base rate",
    "base_rate": "share of clients with the event",
    "empc": "expected maximum profit of retention, money per client (Verbraken, Verbeke, Baesens 2013)",
    "empc_share": "share of clients to contact for it",
    "savings_to_nobody": "1 - cost over the cost of contacting nobody; contacts by the Bayes minimum-risk rule",
    "savings_to_everybody": "1 - cost over the cost of contacting everybody",
}


_NO_EMPC = (
    "no EMPC: it is the profit of keeping clients who would leave, of whom a share accepts an offer; an answer to a "
    "contact is no leaving, and who would have answered without it is not in such data. Where costs per client are "
    "given, savings are told"
)


@dataclass
class _Heldout:
    """Predictions of one rule for the rows held out, fold by fold."""

    folds: list[tuple[Rows, Matrix]] = field(default_factory=list)

    def all(self) -> tuple[Rows, Matrix]:
        """Every row held out, with its probability."""
        return np.concatenate([rows for rows, _ in self.folds]), np.concatenate([p for _, p in self.folds])


def run(data: Labelled) -> Judged:
    """The model and its baselines on the same folds; sentences where data are too few or a column gives all away."""
    judged = Judged(data.task or "churn", None, "auc")
    if data.label is None:
        return _refused(judged, "there is no label")
    events = int(min(data.label.sum(), (1 - data.label).sum()))
    if events < _MIN_EVENTS:
        return _refused(judged, f"{events} clients with one of the two outcomes: at least {_MIN_EVENTS} are needed")
    parts, cut = _parts(data)
    if any(len(set(data.label[test])) == 1 or len(set(data.label[train])) == 1 for train, test in parts):
        return _refused(judged, f"{cut}: a part has clients with one outcome only")
    suspects = _suspects(data)
    rows, curves, sentences = _judge(data, parts, cut)
    for name, alone in suspects.items():
        sentences.append(
            f"{name} alone gives an AUC of {alone:.3f}: is it known before the event? If not, leave_out: it"
        )
    if suspects and len(suspects) < data.features.shape[1]:
        without = _without(data, list(suspects))
        rows += [_renamed(row) for row in _judge(without, parts, cut)[0] if row.rule == MODEL]
    if data.dataset.split == "time":
        sentences.append("in time order; a random split of such data flatters")
    if judged.task != "churn":
        sentences.append(_NO_EMPC)
    shown = {name for row in rows for name in row.figures}
    definitions = {name: words for name, words in _DEFINITIONS.items() if name in shown}
    return Judged(judged.task, None, "auc", tuple(rows), tuple(curves), tuple(sentences), definitions=definitions)


def _refused(judged: Judged, reason: str) -> Judged:
    return Judged(judged.task, None, judged.merit, refused=(reason,))


def _renamed(row: Row) -> Row:
    return Row(row.cut, "model without those", row.figures, row.n, is_model=False, chosen=row.chosen)


def _without(data: Labelled, names: Sequence[str]) -> Labelled:
    from dataclasses import replace

    words = tuple(name for name in data.categorical if name not in names)
    return replace(data, features=data.features.drop(columns=list(names)), categorical=words)


def _parts(data: Labelled) -> tuple[list[tuple[Rows, Rows]], str]:
    """(training rows, rows held out) of every fold, and how they were made."""
    label = np.asarray(data.label)
    if data.dataset.split == "time":
        share = data.dataset.train_share
        border = round(len(label) * share)
        everything = np.arange(len(label))
        return [(everything[:border], everything[border:])], f"first {share:.0%} in time, then the rest"
    split = StratifiedKFold(_FOLDS, shuffle=True, random_state=data.seed).split(np.zeros(len(label)), label)
    return [(train, test) for train, test in split], f"{_FOLDS} folds, seed {data.seed}"


def _judge(data: Labelled, parts: Sequence[tuple[Rows, Rows]], cut: str) -> tuple[list[Row], list[Curve], list[str]]:
    label, started = np.asarray(data.label), time.process_time()
    held = {name: _Heldout() for name in (MODEL, *CANDIDATES[:2], "best single column", "base rate")}
    chosen = []
    for train, test in parts:
        predicted, choice = _fold(data, train, test)
        chosen.append(choice)
        for name, values in predicted.items():
            held[name].folds.append((test, values))
    seconds = time.process_time() - started
    counted = ", ".join(f"{name} {chosen.count(name)}" for name in CANDIDATES if name in chosen)
    how = f"{counted} of {len(parts)} folds, by folds of the training rows" if len(parts) > 1 else f"{chosen[0]}"
    rows = []
    for name, found in held.items():
        figures = _figures(data, label, found)
        n = sum(len(test) for test, _ in found.folds)
        told = {"is_model": True, "chosen": how, "cpu_seconds": seconds} if name == MODEL else {}
        rows.append(Row(cut, name, figures, n, **told))  # type: ignore[arg-type]
    return rows, _curves(label, held, cut), []


def _figures(data: Labelled, label: Matrix, found: _Heldout) -> dict[str, float]:
    """Means over the folds; money over all clients held out together."""
    each = [probability_figures(label[rows], values) for rows, values in found.folds]
    figures = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    if all(np.ptp(values) == 0 for _, values in found.folds):
        figures["lift_top_decile"] = 1.0  # all scores are equal: any tenth is as good
    if len(each) > 1:
        figures = {"auc": figures["auc"], "auc_sd": float(np.std([one["auc"] for one in each]))} | figures
    if data.task == "churn":
        benefit = data.dataset.benefit or Benefit()
        profits = [empc(label[rows], values, benefit) for rows, values in found.folds]
        figures["empc"] = float(np.mean([profit.per_client for profit in profits]))
        figures["empc_share"] = float(np.mean([profit.share for profit in profits]))
    if data.costs:
        rows, values = found.all()
        costs = {name: all_of[rows] for name, all_of in data.costs.items()}
        figures |= savings(label[rows], least_risk(values, costs), costs)
    return figures


def _curves(label: Matrix, held: Mapping[str, _Heldout], cut: str) -> list[Curve]:
    rows = held[MODEL].all()[0]
    scores = {name: found.all()[1] for name, found in held.items() if name != "base rate"}
    lines = {}
    for name in (MODEL, *CANDIDATES[:2]):
        table = calibration_table(label[rows], scores[name])
        lines[name] = ([part["predicted"] for part in table], [part["observed"] for part in table])
    labels = ("mean predicted of a tenth of the clients", "share observed")
    return [
        lift_curve(label[rows], scores, title="Lift", cut=cut),
        Curve("Calibration", *labels, lines, cut, diagonal=True, markers=True),
    ]


def _fold(data: Labelled, train: Rows, test: Rows) -> tuple[dict[str, Matrix], str]:
    """Probabilities of every rule for the rows held out, and the candidate that was chosen."""
    label, features = np.asarray(data.label), data.features
    parts = _inner(data, train)
    each = [_raw_of(data, inner, later) for inner, later in parts]
    raw = {name: np.concatenate([one[name] for one in each]) for name in CANDIDATES}
    later = np.concatenate([rows for _, rows in parts])
    merits = {name: auc(label[later], raw[name]) for name in CANDIDATES}
    best = max(merits.values())
    choice = next(name for name in CANDIDATES if merits[name] >= best - _SIMPLER_BY)
    again = _raw_of(data, train, test)
    predicted = {name: expit(again[name]) for name in CANDIDATES[:2]}
    predicted = {MODEL: _calibrated(raw[choice], label[later], again[choice]), **predicted}
    predicted["best single column"] = _single(features, label, train, test)
    predicted["base rate"] = np.full(len(test), float(label[train].mean()))
    return predicted, choice


def _inner(data: Labelled, train: Rows) -> list[tuple[Rows, Rows]]:
    """What the candidates are chosen and calibrated by: the last fifth in time, else folds of the training rows."""
    label = np.asarray(data.label)
    border = len(train) * 4 // 5
    both = len(set(label[train[:border]])) > 1 and len(set(label[train[border:]])) > 1
    if data.dataset.split == "time" and both:
        return [(train[:border], train[border:])]
    count = _INNER_FOLDS if len(train) <= _MANY_ROWS else 1
    split = StratifiedKFold(max(count, _INNER_FOLDS), shuffle=True, random_state=data.seed)
    found = [(train[inner], train[later]) for inner, later in split.split(np.zeros(len(train)), label[train])]
    return found[:count]


def _raw_of(data: Labelled, train: Rows, test: Rows) -> dict[str, Matrix]:
    """Log-odds of every candidate."""
    label, features = np.asarray(data.label), data.features
    raw = {}
    for name, model in (("logistic", _logistic(data)), ("boosting", _boosting(data))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 1,000 steps: what is left changes no figure shown
            model.fit(features.iloc[train], label[train].astype(np.int64))
        probability = np.asarray(model.predict_proba(features.iloc[test])[:, 1], dtype=np.float64)
        raw[name] = np.asarray(logit(np.clip(probability, _TINY, 1 - _TINY)))
    raw["blend"] = (raw["logistic"] + raw["boosting"]) / 2
    return raw


def _numbers(data: Labelled) -> list[str]:
    return [name for name in data.features.columns if name not in data.categorical]


def _logistic(data: Labelled) -> Pipeline:
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = Pipeline([("fill", fill), ("scale", StandardScaler())])
    words = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_RARE, sparse_output=False)
    columns = [("numbers", numbers, _numbers(data)), ("words", words, list(data.categorical))]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", LogisticRegression(C=1.0, max_iter=1000))])


def _boosting(data: Labelled) -> Pipeline:
    words = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=_MOST_WORDS,
    )
    columns = [("words", words, list(data.categorical)), ("numbers", "passthrough", _numbers(data))]
    trees = HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        categorical_features=list(range(len(data.categorical))),
        random_state=data.seed,
    )
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", trees)])


def _calibrated(raw: Matrix, label: Matrix, asked: Matrix) -> Matrix:
    """Platt: slope and intercept on the log-odds, learned where the candidate was chosen; never a falling slope."""
    platt = LogisticRegression(C=1e6, max_iter=1000).fit(raw[:, None], label.astype(np.int64))
    slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    return np.asarray(expit(slope * asked + intercept) if slope > 0 else expit(asked), dtype=np.float64)


def _coded(values: Any, label: Matrix, train: Rows) -> Matrix:
    """A column as numbers: words by their smoothed share of events among the training rows; unknown is the mean."""
    mean = float(label[train].mean())
    if str(values.dtype) == "category":
        codes = values.cat.codes.to_numpy().astype(np.int64) + 1
        size = int(codes.max()) + 1
        events = np.bincount(codes[train], label[train], size)
        return np.asarray(((events + mean) / (np.bincount(codes[train], minlength=size) + 1))[codes])
    numbers = values.to_numpy().astype(np.float64)
    known = numbers[train][~np.isnan(numbers[train])]
    return np.where(np.isnan(numbers), np.median(known) if len(known) else 0.0, numbers)


def _single(features: Any, label: Matrix, train: Rows, test: Rows) -> Matrix:
    """The column that ranks the training rows best, as a logistic regression on it alone."""
    coded = {name: _coded(features[name], label, train) for name in features.columns}
    best = max(coded, key=lambda name: abs(auc(label[train], coded[name][train]) - 0.5))
    model = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(C=1e3, max_iter=1000))])
    model.fit(coded[best][train, None], label[train].astype(np.int64))
    return np.asarray(model.predict_proba(coded[best][test, None])[:, 1], dtype=np.float64)


def _suspects(data: Labelled) -> dict[str, float]:
    """Columns that alone rank almost perfectly, on rows that their words were not learned from."""
    label = np.asarray(data.label)
    halves: Iterator[Any] = StratifiedKFold(2, shuffle=True, random_state=data.seed).split(label[:, None], label)
    learned, asked = next(halves)
    found = {}
    for name in data.features.columns:
        values = _coded(data.features[name], label, learned)
        alone = auc(label[asked], values[asked])
        if max(alone, 1 - alone) > _SUSPICIOUS:
            found[str(name)] = max(alone, 1 - alone)
    return found
