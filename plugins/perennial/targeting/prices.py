"""Prices of what is scarce: the Lagrangian dual of the allocation, and a bound that no allocation can exceed.

With a price on each resource the clients no longer compete: each chooses for herself what is worth more than its price.
The dual function D(prices) = sum over clients of their best choice at the prices + prices x limits is convex and is
never below the optimum (Fisher 1981, "The Lagrangian Relaxation Method", eq. 2); its subgradient is limit - demand.
Prices follow the sign of the excess demand with step sizes of their own (Rprop: Riedmiller and Braun 1993), first on a
sample of the clients, then on all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from perennial.targeting.pool import NO_LIMIT, Ints, Kinds, Pool, choose, chunks

Floats = npt.NDArray[np.float64]
_SAMPLE_CLIENTS = 20_000
_ROUNDS_OF_SAMPLE, _ROUNDS_OF_ALL = 60, 8
_FASTER, _SLOWER = 1.25, 0.5


@dataclass(frozen=True)
class Demand:
    """What all clients would take at some prices: what they draw from each resource, and the dual's value there."""

    used: Ints
    dual: float


def reduced_worth(pool: Pool, prices: Floats) -> Floats:
    """What each pair is worth above the prices of what it draws on."""
    is_money = pool.resources.is_money
    per_contact = pool.kinds.uses[:, ~is_money] @ prices[~is_money]
    reduced: Floats = pool.worth - per_contact[pool.kind]
    if is_money.any() and prices[is_money].any():
        per_money = pool.kinds.uses[:, is_money] @ prices[is_money]
        reduced -= per_money[pool.kind] * pool.cost
    return reduced


def demand(pool: Pool, prices: Floats, starts: Ints) -> Demand:
    """What the clients would take at these prices."""
    used, gain = np.zeros(len(prices), np.int64), 0.0
    for first, last in chunks(starts):
        part = pool.part(first, last, starts)
        reduced = reduced_worth(part, prices)
        taken = choose(part, reduced)
        used += part.used(taken)
        gain += float(reduced[taken].sum())
    limits = np.where(pool.resources.limit >= NO_LIMIT, 0, pool.resources.limit)
    return Demand(used, gain + float(prices @ limits))


def find_prices(pool: Pool) -> Floats:
    """Prices (millionths per contact, or per millionth of money) at which demand about meets the limits.

    Zero for what is not scarce. The same pool gives the same prices: the sample is every n-th client.
    """
    starts = pool.starts
    prices = np.zeros(len(pool.resources.names))
    free = demand(pool, prices, starts)
    if not (free.used > pool.resources.limit).any():
        return prices
    steps = _first_steps(pool)
    every = max(1, len(pool.room) // _SAMPLE_CLIENTS)
    if every > 1:
        clients = np.arange(0, len(pool.room), every)
        sample, _ = pool.only(clients, starts)
        share = len(clients) / len(pool.room)
        limit = np.where(pool.resources.limit >= NO_LIMIT, NO_LIMIT, np.rint(pool.resources.limit * share))
        sample = replace(sample, resources=replace(pool.resources, limit=limit.astype(np.int64)))
        prices, steps = _follow(sample, prices, steps, _ROUNDS_OF_SAMPLE)
        return _follow(pool, prices, np.maximum(steps, prices * 0.01), _ROUNDS_OF_ALL)[0]
    return _follow(pool, prices, steps, _ROUNDS_OF_SAMPLE)[0]


def _first_steps(pool: Pool) -> Floats:
    worth = float(pool.worth.mean())
    per_money = worth / max(1.0, float(pool.cost.mean()))
    steps: Floats = np.where(pool.resources.is_money, per_money, worth) / 4
    return steps


def _follow(pool: Pool, prices: Floats, steps: Floats, rounds: int) -> tuple[Floats, Floats]:
    """The prices with the lowest dual of so many rounds, and the step sizes at the end."""
    starts = pool.starts
    scarce = pool.resources.limit < NO_LIMIT
    best, lowest, before = prices, np.inf, np.zeros(len(prices))
    for _ in range(rounds):
        found = demand(pool, prices, starts)
        if found.dual < lowest:
            best, lowest = prices, found.dual
        excess = np.sign(found.used - pool.resources.limit) * scarce
        excess[(excess < 0) & (prices <= 0)] = 0
        if not excess.any():
            break
        turned = excess * before
        steps = np.where(turned > 0, steps * _FASTER, np.where(turned < 0, steps * _SLOWER, steps))
        prices = np.maximum(0.0, prices + excess * steps)
        before = excess
    return best, steps


def upper_bound(pool: Pool, prices: Floats) -> float:
    """A value that no allocation exceeds: the dual where nested caps alone bind the clients, for those are solved."""
    nested = _nested(pool.kinds)
    free = np.zeros_like(pool.kinds.clashes)
    kinds = replace(pool.kinds, in_cap=pool.kinds.in_cap[:, nested], clashes=free)
    return demand(replace(pool, kinds=kinds, room=pool.room[:, nested]), prices, pool.starts).dual


def _nested(kinds: Kinds) -> list[int]:
    """Caps of which any two are apart or one inside the other, the widest first."""
    found: list[int] = []
    widest_first = sorted(range(kinds.in_cap.shape[1]), key=lambda cap: -int(kinds.in_cap[:, cap].sum()))
    for cap in widest_first:
        scope = kinds.in_cap[:, cap]
        others = (kinds.in_cap[:, other] for other in found)
        if all(not (scope & other).any() or not (scope & ~other).any() for other in others):
            found.append(cap)
    return sorted(found)
