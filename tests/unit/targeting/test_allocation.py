"""The allocation against the solver's optimum, on pools of random clients, caps, clashes, limits and budgets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perennial.targeting.allocation import allocate
from perennial.targeting.exact import solve
from perennial.targeting.pool import MICRO, NO_LIMIT, Kinds, Pool, Resources, is_allowed

CAMPAIGNS, CHANNELS = 5, 2


def pool(seed: int, clients: int = 25, *, crossing: bool = False) -> Pool:
    """A random pool: caps over all and per channel, with `crossing` also per nature, and two campaigns that clash."""
    chance = np.random.default_rng(seed)
    channel, nature = chance.integers(0, CHANNELS, CAMPAIGNS), chance.integers(0, 3, CAMPAIGNS)
    client, kind = np.nonzero(chance.random((clients, CAMPAIGNS)) < 0.7)
    _, client = np.unique(client, return_inverse=True)
    clients = client.max() + 1
    worth = np.rint(chance.gamma(1.5, 4, len(client)) * MICRO).astype(np.int64) + 1
    if seed % 3 == 0:  # many of equal worth
        worth = (worth // (3 * MICRO) + 1) * MICRO
    cost = np.rint((chance.choice([0.01, 0.05, 2.0], CAMPAIGNS)[kind] + chance.random(len(client))) * MICRO)
    scopes = [np.ones(CAMPAIGNS, bool), *(channel == one for one in range(CHANNELS))]
    scopes += [nature == one for one in range(3)] if crossing else []
    clashes = np.zeros((CAMPAIGNS, CAMPAIGNS), bool)
    if crossing:
        one, other = chance.choice(CAMPAIGNS, 2, replace=False)
        clashes[one, other] = clashes[other, one] = True
    uses = [*(np.arange(CAMPAIGNS) == one for one in range(CAMPAIGNS)), channel == 0, np.ones(CAMPAIGNS, bool)]
    limits = [int(chance.integers(0, 9)) if chance.random() < 0.6 else NO_LIMIT for _ in range(CAMPAIGNS)]
    names = (*(f"campaign:c{one}" for one in range(CAMPAIGNS)), "channel:0", "day:money")
    return Pool(
        client=client,
        kind=kind,
        worth=worth,
        cost=cost.astype(np.int64),
        room=chance.integers(1, 3, (clients, len(scopes))).astype(np.int16),
        kinds=Kinds(np.arange(CAMPAIGNS), np.array(scopes).T, np.array(uses).T, clashes),
        resources=Resources(names, np.array([*limits, 10, int(6 * MICRO)]), np.array([False] * 6 + [True])),
    )


@pytest.mark.parametrize("crossing", [False, True])
def test_the_allocation_of_a_small_pool_is_the_solvers_optimum(crossing):
    for seed in range(8):
        given = pool(seed, crossing=crossing)
        found, best = allocate(given), solve(given, nodes=20_000)
        assert is_allowed(given, found.pairs)
        assert found.value == pytest.approx(int(given.worth[best.pairs].sum()), abs=2), seed


@pytest.mark.parametrize("crossing", [False, True])
def test_the_fast_method_keeps_all_limits_is_near_the_optimum_and_below_its_bound(crossing):
    lost = []
    for seed in range(8):
        given = pool(seed, crossing=crossing)
        found, best = allocate(given, exact_pairs=0), solve(given, nodes=20_000)
        optimum = int(given.worth[best.pairs].sum())
        assert is_allowed(given, found.pairs)
        assert found.value - 2 <= optimum <= found.bound + 2, seed
        lost.append(1 - found.value / optimum)
    assert np.mean(lost) < 0.05, "25 clients: what prices miss shows most where there are few"


def test_the_gap_vanishes_as_clients_become_many():
    given = pool(1, 4000)
    many = np.where(given.resources.limit < NO_LIMIT, given.resources.limit * 100, NO_LIMIT)
    wide = replace(given, resources=replace(given.resources, limit=many))
    found = allocate(wide)
    assert is_allowed(wide, found.pairs)
    assert found.gap < 1e-3


def test_L2_the_same_pool_gives_the_same_allocation():
    given = pool(2, 300)
    assert np.array_equal(allocate(given).pairs, allocate(given).pairs)


def test_nothing_that_fits_is_left_out():
    for seed in range(6):
        given = pool(seed, crossing=seed % 2 == 0)
        found = allocate(given).pairs
        for pair in np.setdiff1d(np.arange(len(given.client)), found):
            assert not is_allowed(given, np.append(found, pair))


def test_without_limits_each_client_gets_her_best():
    given = pool(4)
    free = replace(given.resources, limit=np.full(7, NO_LIMIT))
    found = allocate(replace(given, resources=free))
    assert found.gap == 0.0
    assert found.value == found.bound


def test_an_empty_pool_and_limits_of_nothing_allocate_nothing():
    given = pool(5)
    nothing = replace(given.resources, limit=np.zeros(7, np.int64))
    assert not len(allocate(replace(given, resources=nothing)).pairs)
    none = np.empty(0, np.int64)
    empty = replace(given, client=none, kind=none, worth=none, cost=none, room=given.room[:0])
    assert not len(allocate(empty).pairs)
