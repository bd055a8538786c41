"""Allocation: clients' few contacts and the day's budgets go where they are worth most together.

The fast method chooses at prices (`prices`), cuts what is still over a limit, fills what is left and swaps what can be
bettered; its value stands against a bound that nothing exceeds, so that the gap is known on every day. Where there is a
gap and the pool is small, the exact optimum is looked for by branch and bound (HiGHS, Huangfu and Hall 2018).
Equal values are decided by the cards' priority, then campaign id; between clients by client id (L2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perennial.targeting.pool import CAMPAIGN, NO_LIMIT, Flags, Ints, Pool, best_of_each, choose, chunks, has_room
from perennial.targeting.prices import Floats, find_prices, reduced_worth, upper_bound

EXACT_PAIRS = 3_000
_HALF = 0.5  # of a millionth: amounts are whole
_NODES = 2_000  # of branch and bound: a limit of time would make a day depend on the machine (L2)


@dataclass(frozen=True)
class Allocation:
    """The pairs that are allocated (their places in the pool), and what that is worth in millionths.

    `bound` is a value that no allocation exceeds.
    """

    pairs: Ints
    value: int
    bound: float

    @property
    def gap(self) -> float:
        """The share of the greatest possible value that may have been missed: 0 is the optimum."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def allocate(pool: Pool, *, exact_pairs: int = EXACT_PAIRS) -> Allocation:
    """The pool's allocation; with at most `exact_pairs` pairs the optimum is proven where that is not too long."""
    if not len(pool.client):
        return Allocation(np.empty(0, np.intp), 0, 0.0)
    starts, prices = pool.starts, find_prices(pool)
    pairs = _Holds(pool, _within_limits(pool, prices, starts)).improve()
    value, bound = int(pool.worth[pairs].sum()), upper_bound(pool, prices)
    if value < bound - _HALF and len(pool.client) <= exact_pairs:
        from perennial.targeting.exact import solve

        solved = solve(pool, nodes=_NODES)
        if solved is not None:
            bound = min(bound, solved.bound)
            better = int(pool.worth[solved.pairs].sum())
            if better > value:
                pairs, value = solved.pairs, better
    return Allocation(pairs, value, max(bound, float(value)))


def _within_limits(pool: Pool, prices: Floats, starts: Ints) -> Ints:
    """What clients choose at the prices, with what is over a limit cut, and those who were cut choosing again.

    A resource that was cut to its limit is closed to them, so there are at most as many rounds as resources.
    """
    parts = []
    for first, last in chunks(starts):
        part = pool.part(first, last, starts)
        parts.append(choose(part, reduced_worth(part, prices)) + starts[first])
    picks = np.concatenate(parts)
    closed = np.zeros(len(prices), bool)
    while True:
        over = np.flatnonzero(pool.used(picks) > pool.resources.limit)
        if not len(over):
            return picks
        closed[over] = True
        cut = np.unique(np.concatenate([_cut(pool, picks, int(r), prices, starts) for r in over]))
        picks = _chosen_again(
            pool, np.setdiff1d(picks, cut, assume_unique=True), cut, prices=prices, closed=closed, starts=starts
        )


def _cut(pool: Pool, picks: Ints, resource: int, prices: Floats, starts: Ints) -> Ints:
    """The pairs to give up for a resource to be within its limit: those whose clients lose least by it."""
    users = picks[pool.kinds.uses[pool.kind[picks], resource]]
    own, places = pool.only(np.unique(pool.client[users]), starts)
    reduced = reduced_worth(own, prices)
    is_mine = np.isin(places, users)
    score = np.where(np.isin(places, picks) | own.kinds.uses[own.kind, resource], 0.0, reduced)
    instead = np.zeros(len(own.room))
    found = best_of_each(score, own.client)
    instead[own.client[found]] = score[found]
    loss = reduced[is_mine] - instead[own.client[is_mine]]
    needs = pool.needs(users, resource)
    density = loss / np.maximum(needs, 1) if pool.resources.is_money[resource] else loss
    order = np.lexsort((users, -density))
    given_up: Ints = users[order[np.asarray(np.cumsum(needs[order]) > pool.resources.limit[resource])]]
    return given_up


def _chosen_again(pool: Pool, picks: Ints, cut: Ints, *, prices: Floats, closed: Flags, starts: Ints) -> Ints:
    """The picks after the clients of the cut pairs have chosen anew, from what they hold and what is not closed."""
    own, places = pool.only(np.unique(pool.client[cut]), starts)
    held = np.isin(places, picks)
    is_open = ~np.asarray(own.kinds.uses[:, closed].any(axis=1))[own.kind] & ~np.isin(places, cut)
    score = np.where(held | is_open, reduced_worth(own, prices), 0.0)
    return np.sort(np.concatenate([np.setdiff1d(picks, places[held], assume_unique=True), places[choose(own, score)]]))


class _Holds:
    """An allocation that is being bettered: what is taken, and what is left of rooms and limits."""

    def __init__(self, pool: Pool, picks: Ints) -> None:
        self._pool = pool
        self._taken = np.zeros(len(pool.client), bool)
        self._taken[picks] = True
        self._used = pool.used(picks)
        self._room = pool.room.astype(np.int32)
        self._in_cap = pool.kinds.in_cap.astype(np.int32)
        np.subtract.at(self._room, pool.client[picks], self._in_cap[pool.kind[picks]])
        self._scarce = [int(r) for r in np.flatnonzero(pool.resources.limit < NO_LIMIT)]

    def improve(self) -> Ints:
        """Add what fits and swap what can be bettered, the greatest gains first, until nothing can be."""
        while True:
            comes, goes = self._gains()
            if not len(comes):
                return np.flatnonzero(self._taken)
            self._apply(comes, goes)

    def _gains(self) -> tuple[Ints, Ints]:
        """For each client the best addition, or swap of her only contact; what it replaces, -1 for nothing."""
        pool, only = self._pool, self._only_pick()
        pairs = self._open_pairs()
        mine = only[pool.client[pairs]]
        addable = self._is_addable(pairs)
        gain = pool.worth[pairs] - np.where(addable | (mine < 0), 0, pool.worth[mine])
        keep = (addable | (mine >= 0)) & (gain > 0)
        pairs, gain, goes = pairs[keep], gain[keep], np.where(addable, -1, mine)[keep]
        gain = np.where(self._fits(pairs, goes), gain, 0)
        best = best_of_each(gain.astype(np.float64), pool.client[pairs])
        order = best[np.lexsort((pairs[best], -gain[best]))]
        return pairs[order], goes[order]

    def _open_pairs(self) -> Ints:
        """Pairs that are not taken, of campaigns with something left: only the campaign itself could give it back."""
        pool = self._pool
        full = self._used >= pool.resources.limit
        own = np.array([name.startswith(CAMPAIGN) for name in pool.resources.names], bool)
        is_open = ~np.asarray(pool.kinds.uses[:, full & own].any(axis=1))
        return np.flatnonzero(~self._taken & is_open[pool.kind])

    def _fits(self, pairs: Ints, goes: Ints) -> Flags:
        slack = self._pool.resources.limit - self._used
        fits = np.ones(len(pairs), bool)
        for resource in self._scarce:
            fits &= self._net(pairs, goes, resource) <= slack[resource]
        return fits

    def _net(self, comes: Ints, goes: Ints, resource: int) -> Ints:
        """What each change draws from a resource, less what it gives back."""
        freed = np.where(goes >= 0, self._pool.needs(goes, resource), 0)
        net: Ints = self._pool.needs(comes, resource) - freed
        return net

    def _apply(self, comes: Ints, goes: Ints) -> None:
        """Carry out the first of the changes, as many as fit one after the other."""
        pool = self._pool
        slack = pool.resources.limit - self._used
        fits = np.ones(len(comes), bool)
        for resource in self._scarce:
            fits &= np.cumsum(self._net(comes, goes, resource)) <= slack[resource]
        count = len(fits) if fits.all() else int(np.argmin(fits))
        comes, goes = comes[:count], goes[:count]
        goes = goes[goes >= 0]
        self._taken[comes], self._taken[goes] = True, False
        np.subtract.at(self._room, pool.client[comes], self._in_cap[pool.kind[comes]])
        np.add.at(self._room, pool.client[goes], self._in_cap[pool.kind[goes]])
        self._used += pool.used(comes) - pool.used(goes)

    def _only_pick(self) -> Ints:
        """Each client's one pair; -1 for clients with none or several."""
        pairs = np.flatnonzero(self._taken)
        owners = self._pool.client[pairs]
        only = np.full(len(self._pool.room), -1)
        only[owners] = pairs
        only[np.bincount(owners, minlength=len(only)) > 1] = -1
        return only

    def _is_addable(self, pairs: Ints) -> Flags:
        """Whether each pair's client has room for it beside what she has, and nothing that it clashes with."""
        pool = self._pool
        fits = has_room(pool, pairs, self._room)
        if pool.kinds.clashes.any():
            has = np.zeros((len(pool.room), len(pool.kinds.clashes)), bool)
            held = np.flatnonzero(self._taken)
            has[pool.client[held], pool.kinds.campaign[pool.kind[held]]] = True
            clash = pool.kinds.clashes[pool.kinds.campaign[pool.kind[pairs]]]
            fits &= ~(has[pool.client[pairs]] & clash).any(axis=1)
        return fits
