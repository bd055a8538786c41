"""How a list of proposals is judged: hit rate, recall, NDCG and MRR at k, over clients with something to find."""

from __future__ import annotations

import numpy as np

from perennial.scoring.next_product.history import Floats, Ints

TOP = 10
FIGURES = ("hit_rate", "recall", "ndcg", "mrr")


def ranks(row: Ints, score: Floats) -> tuple[Ints, Ints]:
    """(order, rank): rows by client and falling score, equal ones as they came; the rank within the client from 0."""
    order = np.lexsort((-score, row))
    ordered = row[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(row) else np.empty(0, dtype=np.int64)
    sizes = np.diff(np.r_[starts, len(row)])
    return order, np.arange(len(row)) - np.repeat(starts, sizes)


def figures_by_client(row: Ints, score: Floats, hit: Floats, wanted: Floats, k: int = TOP) -> dict[str, Floats]:
    """Each figure per client with `wanted` > 0 (how many products there were to find), in the order of clients.

    `row`: the client of each proposal, `score` what it is ordered by, `hit` 1 where it was bought. Recall is the share
    found of all there were; NDCG by Jarvelin and Kekalainen (2002) with gains of 0 and 1 and discount log2(rank + 1).
    """
    order, rank = ranks(row, score)
    inside = rank < k
    who, rank, found = row[order][inside], rank[inside], hit[order][inside]
    clients = len(wanted)
    hits = np.bincount(who, found, minlength=clients)
    gain = np.bincount(who, found / np.log2(rank + 2), minlength=clients)
    best = np.cumsum(1 / np.log2(np.arange(k) + 2))
    first = np.zeros(clients)
    np.maximum.at(first, who[found > 0], 1 / (rank[found > 0] + 1))
    some = wanted > 0
    most = best[np.clip(wanted[some], 1, k).astype(np.int64) - 1]
    return {
        "hit_rate": (hits[some] > 0).astype(np.float64),
        "recall": hits[some] / wanted[some],
        "ndcg": gain[some] / most,
        "mrr": first[some],
    }


def mean_figures(by_client: dict[str, Floats]) -> dict[str, float]:
    """The means over clients; NaN for no client."""
    return {name: float(v.mean()) if len(v) else float("nan") for name, v in by_client.items()}
