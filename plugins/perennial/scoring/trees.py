"""Exact Shapley values of boosted trees, summed by groups of features (path-dependent TreeSHAP).

The value of a set S of features is what the tree gives when its splits on S are followed and the others are averaged by
how many training rows went either way (Lundberg, Erion and Lee, "Consistent Individualized Feature Attribution for Tree
Ensembles", 2018, algorithm 1); a feature's contribution is its Shapley value in that game (their eq. 4), a group's the
sum over its features. A small tree has few splits, and its contributions depend on nothing but which of them a
row passes: they are tabulated once per tree by that pattern of bits, and a row costs one comparison per split.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.scoring.features import Matrix

MAX_SPLITS = 7  # 8 leaves: 128 patterns a tree

Patterns = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint16]


class TreeContributions:
    """Contributions of a fitted HistGradientBoosting model (one output) on its own scale (log-odds, or log amount).

    `groups`: per column the number of its group. `base_`: what the model gives on average over its training rows;
    `base_` plus a row's contributions is the model's raw prediction. Raises ValueError for trees of more splits than
    MAX_SPLITS or with categorical ones.
    """

    def __init__(self, model: Any, groups: npt.NDArray[np.int64]) -> None:
        self.groups = groups
        self.count_ = int(groups.max()) + 1
        nodes = [stage[0].nodes for stage in model._predictors]
        self.trees_ = [_Tree(tree, groups) for tree in nodes]
        self.base_ = float(np.ravel(model._baseline_prediction)[0]) + sum(tree.expected for tree in self.trees_)
        self.edges_ = {
            column: np.unique([t for tree in self.trees_ for f, t, _ in tree.splits if f == column])
            for column in {f for tree in self.trees_ for f, _, _ in tree.splits}
        }

    def of(self, X: Matrix) -> Matrix:
        """Rows x groups."""
        codes = {f: np.searchsorted(edges, X[:, f], side="left").astype(np.uint16) for f, edges in self.edges_.items()}
        unknown = {f: np.isnan(X[:, f]) for f in self.edges_}
        found = np.zeros((self.count_, len(X)))
        for tree in self.trees_:
            pattern = np.zeros(len(X), dtype=np.uint8)
            for bit, (f, threshold, missing_left) in enumerate(tree.splits):
                left = codes[f] <= np.searchsorted(self.edges_[f], threshold)
                if missing_left:
                    left |= unknown[f]
                else:
                    left &= ~unknown[f]
                pattern |= left.astype(np.uint8) << np.uint8(bit)
            for group, table in tree.tables.items():
                found[group] += table[pattern]
        return np.ascontiguousarray(found.T)


class _Tree:
    """One tree: its splits (column, threshold, whether the unknown go left), its mean, and the tables by group."""

    def __init__(self, nodes: Any, groups: npt.NDArray[np.int64]) -> None:
        inner = [place for place in range(len(nodes)) if not nodes[place]["is_leaf"]]
        if len(inner) > MAX_SPLITS or any(nodes[place]["is_categorical"] for place in inner):
            raise ValueError(f"a tree of {len(inner)} splits: at most {MAX_SPLITS} numerical ones can be tabulated")
        self.splits = [
            (int(n["feature_idx"]), float(n["num_threshold"]), bool(n["missing_go_to_left"])) for n in nodes[inner]
        ]
        self._bit = {place: bit for bit, place in enumerate(inner)}
        self._patterns: Patterns = np.arange(2 ** len(inner))
        columns = tuple(sorted({f for f, _, _ in self.splits}))
        worth = {
            chosen: self._value(nodes, 0, frozenset(chosen))
            for size in range(len(columns) + 1)
            for chosen in combinations(columns, size)
        }
        self.expected = float(worth[()][0])
        self.tables: dict[int, Matrix] = {}
        for column in columns:
            group = int(groups[column])
            share = _shapley(column, columns, worth)
            self.tables[group] = self.tables[group] + share if group in self.tables else share

    def _value(self, nodes: Any, place: int, known: frozenset[int]) -> Matrix:
        """What the tree gives from a node on, per pattern of the splits, when only the columns `known` are followed."""
        node = nodes[place]
        if node["is_leaf"]:
            return np.full(len(self._patterns), float(node["value"]))
        left, right = (self._value(nodes, int(node[side]), known) for side in ("left", "right"))
        if int(node["feature_idx"]) in known:
            return np.where(self._patterns >> self._bit[place] & 1, left, right)
        weight = float(nodes[int(node["left"])]["count"]) / float(node["count"])
        return np.asarray(weight * left + (1 - weight) * right, dtype=np.float64)


def _shapley(column: int, columns: tuple[int, ...], worth: dict[tuple[int, ...], Matrix]) -> Matrix:
    """The column's Shapley value per pattern, from what every set of columns is worth."""
    others = [c for c in columns if c != column]
    total = np.zeros_like(worth[()])
    for size in range(len(others) + 1):
        weight = factorial(size) * factorial(len(others) - size) / factorial(len(columns))
        for chosen in combinations(others, size):
            total += weight * (worth[tuple(sorted((*chosen, column)))] - worth[chosen])
    return total
