"""The exact optimum of a small pool, as an integer programme for HiGHS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from perennial.targeting.pool import MICRO, NO_LIMIT, Ints, Pool, is_allowed


@dataclass(frozen=True)
class Solved:
    """The pairs of the best allocation found, and a value (millionths) that none exceeds."""

    pairs: Ints
    bound: float


def solve(pool: Pool, *, nodes: int) -> Solved | None:
    """Branch and bound over every pair of the pool, at most so many nodes; None if no allocation was found by then.

    Maximise worth x taken, with a row for each client's cap that could be exceeded, each clash, and each limit.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows = [*_cap_rows(pool), *_clash_rows(pool), *_limit_rows(pool)]
    constraints = [LinearConstraint(_matrix(rows, len(pool.client)), ub=[row[2] for row in rows])] if rows else []
    with _without_output():
        found = milp(
            -pool.worth / MICRO,
            constraints=constraints,
            integrality=np.ones(len(pool.client)),
            bounds=Bounds(0, 1),
            options={"node_limit": nodes, "mip_rel_gap": 0.0},
        )
    if found.x is None:
        return None
    pairs = np.flatnonzero(np.rint(found.x))
    if not is_allowed(pool, pairs):  # HiGHS keeps rows within a tolerance; whole numbers decide
        return None
    bound = -found.mip_dual_bound if found.mip_dual_bound is not None else np.inf
    return Solved(pairs, float(np.ceil(bound * MICRO + 0.5)))


@contextmanager
def _without_output() -> Iterator[None]:
    """HiGHS 1.x writes a line of debugging straight to the process's standard output, where JSON may be expected."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


_Row = tuple[Ints, Any, float]


def _cap_rows(pool: Pool) -> list[_Row]:
    rows: list[_Row] = []
    starts = pool.starts
    for client in range(len(pool.room)):
        pairs = np.arange(starts[client], starts[client + 1])
        for cap in range(pool.room.shape[1]):
            within = pairs[pool.kinds.in_cap[pool.kind[pairs], cap]]
            if len(within) > pool.room[client, cap]:
                rows.append((within, np.ones(len(within)), float(max(0, pool.room[client, cap]))))
    return rows


def _clash_rows(pool: Pool) -> list[_Row]:
    if not pool.kinds.clashes.any():
        return []
    starts, campaign = pool.starts, pool.kinds.campaign[pool.kind]
    return [
        (np.array([one, other]), np.ones(2), 1.0)
        for client in range(len(pool.room))
        for one, other in combinations(range(starts[client], starts[client + 1]), 2)
        if pool.kinds.clashes[campaign[one], campaign[other]]
    ]


def _limit_rows(pool: Pool) -> list[_Row]:
    every = np.arange(len(pool.client))
    rows: list[_Row] = []
    for resource, limit in enumerate(pool.resources.limit):
        needs = pool.needs(every, resource)
        if needs.sum() > limit and limit < NO_LIMIT:
            scale = MICRO if pool.resources.is_money[resource] else 1
            users = np.flatnonzero(needs)
            rows.append((users, needs[users] / scale, float(max(0, limit)) / scale))
    return rows


def _matrix(rows: list[_Row], columns: int) -> Any:
    from scipy.sparse import csr_array

    lengths = [len(row[0]) for row in rows]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([row[0] for row in rows])
    return csr_array((np.concatenate([row[1] for row in rows]), indices, indptr), shape=(len(rows), columns))
