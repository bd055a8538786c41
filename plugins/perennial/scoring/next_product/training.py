"""Training of the next product with its backtest: chosen on an earlier cut, tested on a later one beside baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.scoring.next_product.beside import Champion, champion_figures, reference, told_of_champion, worse_than
from perennial.scoring.next_product.candidates import NEW_COLUMNS, REPEAT_COLUMNS, popular_ones
from perennial.scoring.next_product.history import (
    HISTORY_DAYS,
    Floats,
    History,
    Ints,
    Level,
    history_of,
    since_epoch,
)
from perennial.scoring.next_product.judging import FIGURES, TOP, figures_by_client, mean_figures
from perennial.scoring.next_product.model import Cut, NextProductModel, cut_at, fitted, view_of
from perennial.scoring.next_product.pairs import pairs_at, places_in
from perennial.scoring.next_product.ranker import RANKERS, RankerKind
from perennial.scoring.next_product.scorer import NextProductScorer
from perennial.scoring.threads import one_thread
from perennial.scoring.training import rounded, versions

SCORE = "next_product"
MERIT = "ndcg"
MIN_CLIENTS = 100  # with a purchase before the test cut and one after it
_MIN_DAYS = 28  # of history before a cut
_BETTER_BY = 0.002  # a model must be better than the rule by so much where it is chosen: ties go to the simpler
_LEARNED, _JUDGED = 2000, 20_000  # clients


@dataclass(frozen=True)
class TrainedProducts:
    """What training came to: a scorer with its card, or the sentence why there is none (the card then says it too)."""

    card: dict[str, Any]
    scorer: NextProductScorer | None = None
    refused: str | None = None
    worse: str | None = None  # than the champion, where the comparison is fair: it is not promoted by the rule


@dataclass(frozen=True)
class Lines:
    """All that training reads: lines of (a sample of) clients, and the products that they name, in order."""

    history: History
    keys: pa.Array
    first_day: int


def lines_from(table: pa.Table) -> Lines | None:
    """The rows of `history.lines_of` (ordered by client); None for none."""
    if not table.num_rows:
        return None
    keys = pc.unique(table.column("item").combine_chunks().cast(pa.string())).sort()
    history = history_of(table.combine_chunks(), keys)
    return Lines(history, keys, int(history.day.min()))


def days_needed(horizon_days: int) -> int:
    """How many days of lines training reads: the history of the earliest cut."""
    return HISTORY_DAYS + 3 * horizon_days


def train_products(
    lines: Lines | None,
    *,
    as_of: date,
    horizon_days: int,
    level: Level,
    seed: int,
    final: bool = True,
    champion: Champion | None = None,
) -> TrainedProducts:
    """Train at `as_of`: rankers are chosen at as_of - 2H, tested at as_of - H, and the last ones learned there.

    Uses one thread: equal lines give an equal model, byte for byte. Nothing after `as_of` is looked at. Without
    `final` it ends with the test. The champion is judged at the test cut too.
    """
    card = _head(lines, as_of=as_of, horizon_days=horizon_days, level=level, seed=seed)
    today = since_epoch(as_of)
    reason = _too_little(lines, today - horizon_days, horizon_days)
    if reason or lines is None:
        return _refused(card, reason or "there is no line")
    count, history = len(lines.keys), lines.history
    with one_thread():
        cuts = [
            cut_at(history, today - k * horizon_days, count, horizon_days, _JUDGED if k == 1 else _LEARNED)
            for k in _room(lines, today, horizon_days)
        ]
        test, development = cuts[:2]
        try:
            chosen, merits = _choose(cuts[2], development, seed) if len(cuts) > 2 else (_RULES, {})  # noqa: PLR2004
            judged = judge(test, _model(chosen, horizon_days, seed).fit(development), champion)
        except ValueError as error:
            return _refused(card, str(error))
        reason = verdict(judged)
        card |= _findings(chosen, merits, judged)
        worse = _beside(card, judged, champion, as_of - timedelta(days=horizon_days))
        card["verdict"] = {"status": "refused" if reason else "champion", "reason": reason}
        if not final:
            return TrainedProducts(rounded(card), None, reason)
        model = _model(chosen, horizon_days, seed).fit(test)
        now = view_of(pairs_at(history, today, count), today, count, horizon_days)
        scorer = NextProductScorer.of(model, now, lines.keys, level)
        alive = lines.keys.filter(pa.array(now.items.recent > 0))
        card |= reference(model, history, scorer.view(as_of, alive), min(HISTORY_DAYS, today - lines.first_day + 1))
    return TrainedProducts(rounded(card), scorer, reason, worse)


_RULES: dict[str, RankerKind] = {"repeat": "rule", "new": "rule"}


def _model(chosen: Mapping[str, RankerKind], horizon_days: int, seed: int) -> NextProductModel:
    return NextProductModel(horizon_days, chosen["repeat"], chosen["new"], seed)


def _refused(card: dict[str, Any], reason: str) -> TrainedProducts:
    card["verdict"] = {"status": "refused", "reason": reason}
    return TrainedProducts(rounded(card), None, reason)


def _room(lines: Lines, today: int, horizon_days: int) -> list[int]:
    """How many horizons ago the cuts lie, the latest first: two, and a third where the history has room for it."""
    third = today - 3 * horizon_days - lines.first_day + 1 >= _MIN_DAYS
    return [1, 2, 3] if third else [1, 2]


def _too_little(lines: Lines | None, test: int, horizon_days: int) -> str | None:
    if lines is None or test - horizon_days - lines.first_day + 1 < _MIN_DAYS:
        return f"too little history: {2 * horizon_days + _MIN_DAYS} days before today are needed"
    later = (lines.history.day > test) & (lines.history.day <= test + horizon_days)
    before = np.unique(lines.history.row[lines.history.day <= test])
    clients = len(np.intersect1d(before, lines.history.row[later]))
    if clients < MIN_CLIENTS:
        return f"{clients} clients bought before the test cut and after it: at least {MIN_CLIENTS} are needed"
    if len(lines.keys) < 2:  # noqa: PLR2004
        return "there is one product only: nothing to choose among"
    return None


def _choose(learned: Cut, asked: Cut, seed: int) -> tuple[dict[str, RankerKind], dict[str, dict[str, float]]]:
    """The ranker of each kind by NDCG at the cut `asked`, each learned at the cut before it."""
    merits: dict[str, dict[str, float]] = {"repeat": {}, "new": {}}
    for kind, found in merits.items():
        for ranker in RANKERS:
            chance = fitted(learned, kind, ranker, seed).predict_proba(asked.candidates[kind].X)[:, 1]
            figures = figures_by_client(asked.candidates[kind].row, chance, asked.hits[kind], asked.wanted[kind])
            found[ranker] = mean_figures(figures)[MERIT]
    return {kind: _best(values) for kind, values in merits.items()}, merits


def _best(merits: Mapping[str, float]) -> RankerKind:
    """The simplest one within 0.002 of the best; the rule where nobody had anything to find."""
    most = max((value for value in merits.values() if np.isfinite(value)), default=-np.inf)
    return next((kind for kind in RANKERS if merits[kind] >= most - _BETTER_BY), "rule")


def judge(cut: Cut, model: NextProductModel, champion: Champion | None = None) -> Judgement:
    """The model, its baselines and the champion at a cut, on the same clients: figures by kind, rule and client.

    Of repeats: personal, then global frequency. Of new ones: what most bought lately and the client never did, and
    co-purchase alone.
    """
    pairs, items, count = cut.pairs, cut.view.items, len(cut.view.items.buyers)
    chance = {kind: model.probability(kind, found) for kind, found in cut.candidates.items()}
    row, item = popular_ones(pairs, items, TOP)
    again, new = cut.candidates["repeat"], cut.candidates["new"]
    often = pairs.days + items.recent[pairs.item] / (2 * max(pairs.clients, 1))

    def hits(rows: Ints, found: Ints) -> Floats:
        return (places_in(cut.bought, rows * count + found) >= 0).astype(np.float64)

    def figures(kind: str, rows: Ints, score: Floats, hit: Floats) -> dict[str, Floats]:
        return figures_by_client(rows, score, hit, cut.wanted[kind])

    by_kind = {
        "repeat": {
            "model": figures("repeat", again.row, chance["repeat"], cut.hits["repeat"]),
            "personal_then_global_frequency": figures("repeat", pairs.row, often, hits(pairs.row, pairs.item)),
        },
        "new": {
            "model": figures("new", new.row, chance["new"], cut.hits["new"]),
            "most_popular": figures("new", row, items.recent[item], hits(row, item)),
            "co_purchase": figures("new", new.row, new.X[:, 0], cut.hits["new"]),
        },
    }
    for kind, found in (champion_figures(cut, champion) if champion else {}).items():
        by_kind[kind]["champion"] = found
    levels = {kind: (float(chance[kind].mean()), float(cut.hits[kind].mean())) for kind in by_kind if len(chance[kind])}
    return Judgement(by_kind, {k: {"mean_predicted": p, "observed": o} for k, (p, o) in levels.items()})


@dataclass(frozen=True)
class Judgement:
    """Figures by kind (`repeat`, `new`), rule and client, and how probabilities held."""

    by_kind: dict[str, dict[str, dict[str, Floats]]]
    calibration: dict[str, dict[str, float]]


_BASELINES = {"repeat": "personal_then_global_frequency", "new": "most_popular"}


def verdict(judged: Judgement) -> str | None:
    """A sentence when a baseline finds more than the model, beyond two standard errors of the paired difference."""
    for kind, name in _BASELINES.items():
        mine, theirs = judged.by_kind[kind]["model"][MERIT], judged.by_kind[kind][name][MERIT]
        if worse_than(mine, theirs):
            return (
                f"its {MERIT} at {TOP} for {kind} products is {mine.mean():.4f} at the test cut, "
                f"below {theirs.mean():.4f} of the baseline {name}"
            )
    return None


def _beside(card: dict[str, Any], judged: Judgement, champion: Champion | None, test: date) -> str | None:
    """Put the champion on the card; gives why the challenger is worse, where the comparison is fair, or None."""
    if champion is None:
        return None
    card["champion"] = told_of_champion(champion, test)
    for kind, rules in judged.by_kind.items():
        mine, theirs = rules["model"][MERIT], rules["champion"][MERIT]
        if card["champion"]["is_fair"] and worse_than(mine, theirs):
            means = f"{mine.mean():.4f} at the test cut is below {theirs.mean():.4f} of the champion"
            return f"its {MERIT} at {TOP} for {kind} products of {means}"
    return None


def _findings(
    chosen: Mapping[str, RankerKind], merits: dict[str, dict[str, float]], judged: Judgement
) -> dict[str, Any]:
    """What a card says of the choice and of the test."""
    how = "NDCG at the validation cut, learned a horizon before it" if merits else "no cut before: the rules are taken"
    figures = {k: {rule: mean_figures(v) for rule, v in rules.items()} for k, rules in judged.by_kind.items()}
    return {
        "selection": {"by": how, "merit": MERIT, "candidates": merits},
        "chosen": dict(chosen),
        "figures_at_test": figures,
        "clients_at_test": {kind: len(rules["model"][MERIT]) for kind, rules in judged.by_kind.items()},
        "calibration": judged.calibration,
    }


def _head(lines: Lines | None, *, as_of: date, horizon_days: int, level: Level, seed: int) -> dict[str, Any]:
    cuts = {name: (as_of - timedelta(days=k * horizon_days)).isoformat() for name, k in _CUTS.items()}
    return {
        "score": SCORE,
        "trained_as_of": as_of.isoformat(),
        "horizon_days": horizon_days,
        "level": level,
        "label": "bought within the horizon and not cancelled in it, by client and product",
        "population": f"clients with a purchase in the {HISTORY_DAYS} days before the cut",
        "data_needs": (
            f"order lines of {2 * horizon_days + _MIN_DAYS} days or more with client, product and date; "
            f"{MIN_CLIENTS} clients who bought before the test cut and after it; two products"
        ),
        "cuts": cuts,
        "rows": {"lines": len(lines.history) if lines else 0, "clients": len(lines.history.clients) if lines else 0},
        "features": [{"name": n, "kind": k} for k, names in _COLUMNS.items() for n in names],
        "figures": f"{', '.join(FIGURES)} at {TOP}",
        "seed": seed,
        "versions": versions(),
    }


_CUTS = {"fit": 3, "validation": 2, "test": 1}
_COLUMNS = {"repeat": REPEAT_COLUMNS, "new": NEW_COLUMNS}
