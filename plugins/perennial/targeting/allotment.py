"""From the candidates that no rule refused to the allocation, and back: what each pair of the pool became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting import limits
from perennial.targeting import policy as contact_policy
from perennial.targeting.allocation import Allocation, allocate
from perennial.targeting.judging import Judging
from perennial.targeting.pool import (
    NO_ROOM_LIMIT,
    Flags,
    Ints,
    Kinds,
    Pool,
    has_room,
)
from perennial.targeting.session import Session, make_table

_DECIDED = pa.schema(
    [("client_no", pa.int32()), ("campaign_no", pa.int32()), ("code", pa.int32()), ("winner", pa.int32())]
)
_NOTHING = 1e-9  # of a share: what adding doubles leaves
ALLOCATED, LOST = 0, 1  # codes of t_decided; from 2 on the resources that were used up
_POOL = """
select j.client_no, j.kind, j.value, j.cost
from t_judged as j
where j.rule is null and not exists (select 1 from t_spoken_for as s where s.client_no = j.client_no)
order by j.client_no, j.kind
"""


@dataclass(frozen=True)
class Allotted:
    """What the allocation came to: the rules of used-up resources by code, and its value against the bound."""

    rules: dict[int, str]
    pairs: int
    allocated: int
    value: int
    bound: float

    @property
    def gap(self) -> float:
        """The share of the greatest possible value that may have been missed."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def allot(session: Session, judging: Judging, spent: limits.Spent) -> Allotted:
    """Make `t_decided` (client_no, campaign_no, code, winner), one row per pair of the pool.

    `winner` is the number of the campaign that the client's contact went to (-1: none). Essential purposes get rooms
    and budgets first. Needs `t_judged`, `t_people`, `t_kept`, `t_spoken_for`.
    """
    rows = session.query(_POOL)
    clients, client = np.unique(_numbers(rows, "client_no"), return_inverse=True)
    pool = Pool(
        client=client.astype(np.int32),
        kind=_numbers(rows, "kind"),
        worth=_worth(_numbers(rows, "value"), judging.policy, judging, _numbers(rows, "kind")),
        cost=limits.micro(_numbers(rows, "cost")),
        room=_rooms(session, judging, clients),
        kinds=_kinds(judging),
        resources=limits.resources(session, judging, spent),
    )
    kept = _kept(session, judging, clients)
    found, value, bound = _in_turns(pool, judging)
    code, winner = _told(pool, judging, found, kept)
    campaign = pool.kinds.campaign[pool.kind]
    columns = (clients[pool.client], campaign, code, winner)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _DECIDED, strict=True)]
    session.register("p_decided", pa.Table.from_arrays(arrays, schema=_DECIDED))
    rules = {2 + number: limits.rule_of(name) for number, name in enumerate(pool.resources.names)}
    return Allotted(rules, len(code), len(found), value, bound)


def _numbers(rows: pa.Table, name: str) -> Any:
    return rows.column(name).to_numpy()


def _worth(values: Any, policy: PolicyFile, judging: Judging, kind: Ints) -> Ints:
    """What is expected above the policy's minimum, and a millionth: of two equal allocations the fuller one."""
    above = limits.micro(values - policy.minimum_expected_value) + 1
    essential = np.array([policy.is_essential(judging.cards[number].purpose) for number, _ in judging.kinds], bool)
    return np.where(essential[kind], np.maximum(above, 1), above) if len(kind) else above


def _rooms(session: Session, judging: Judging, clients: Ints) -> Ints:
    """How many contacts of each cap a client may still get today (clients x caps)."""
    terms = contact_policy.room_sql(judging.policy, judging.segments, NO_ROOM_LIMIT)
    if not terms:
        return np.zeros((len(clients), 0), np.int16)
    session.register("p_pool", pa.table({"client_no": pa.array(clients, pa.int32())}))
    select = (
        f"select t.client_no, {', '.join(terms)} from t_people as t inner join p_pool as p on p.client_no = t.client_no"
    )
    rows = session.query(f"{select} order by 1")
    rooms: Ints = np.stack([_numbers(rows, f"r{index}") for index in range(len(terms))], axis=1).astype(np.int16)
    return rooms


def _kinds(judging: Judging) -> Kinds:
    policy, kinds = judging.policy, judging.kinds
    in_cap = [
        [contact_policy.counts_in(policy, cap, judging.cards[number], channel) for cap in policy.caps]
        for number, channel in kinds
    ]
    names = limits.names(judging)
    return Kinds(
        campaign=np.array([number for number, _ in kinds], np.int64),
        in_cap=np.array(in_cap, bool).reshape(len(kinds), len(policy.caps)),
        uses=_uses(judging, names),
        clashes=_clashes(judging),
    )


def _uses(judging: Judging, names: Sequence[str]) -> Flags:
    """Whether each kind draws on each resource: those of the day and of channels asked of all, a card's of its own."""
    kinds = judging.kinds
    by_card: dict[str, list[int]] = {}
    found = np.zeros((len(kinds), len(names)), bool)
    for kind, (number, _) in enumerate(kinds):
        by_card.setdefault(judging.cards[number].id, []).append(kind)
    for place, name in enumerate(names):
        own = by_card.get(limits.card_of(name) or "")
        for kind in range(len(kinds)) if own is None else own:
            number, channel = kinds[kind]
            found[kind, place] = limits.draws(name, judging.cards[number].id, channel)
    return found


def _clashes(judging: Judging) -> Flags:
    """Which cards may not reach a client on one day: two of one group, or of a gap; what is essential may always."""
    policy, cards = judging.policy, judging.cards
    groups = sorted({card.exclusivity.group for card in cards if card.exclusivity})
    group = np.array([groups.index(card.exclusivity.group) if card.exclusivity else -1 for card in cards], np.int32)
    found: Flags = (group[:, None] == group[None, :]) & (group >= 0)[:, None]
    for gap in policy.gaps:
        before, after = (
            np.array([name in (card.id, card.nature) for card in cards], bool) for name in (gap.before, gap.after)
        )
        pairs = before[:, None] & after[None, :]
        found |= pairs | pairs.T
    free = np.array([policy.is_essential(card.purpose) for card in cards], bool)
    found[free, :] = found[:, free] = False
    np.fill_diagonal(found, val=False)
    return found


def _kept(session: Session, judging: Judging, clients: Ints) -> tuple[Ints, Ints]:
    """(place of the client in the pool, number of the campaign) of what was sent or held back earlier today."""
    rows = session.query(
        "select t.client_no, k.campaign_id from t_kept as k inner join t_people as t on t.client_id = k.client_id "
        "order by 1, 2"
    ).to_pylist()
    numbers = {card.id: number for number, card in enumerate(judging.cards)}
    places = {int(number): place for place, number in enumerate(clients)}
    found = [
        (places[r["client_no"]], numbers[r["campaign_id"]])
        for r in rows
        if r["client_no"] in places and r["campaign_id"] in numbers
    ]
    return np.array([f[0] for f in found], np.int64), np.array([f[1] for f in found], np.int64)


def _in_turns(pool: Pool, judging: Judging) -> tuple[Ints, int, float]:
    """The essential purposes' allocation first, then the others' with what it leaves: places, value and bound."""
    essential = np.array([judging.policy.is_essential(judging.cards[n].purpose) for n, _ in judging.kinds], bool)
    if not essential.any() or not len(pool.client):
        found = allocate(pool)
        return found.pairs, found.value, found.bound
    is_first = essential[pool.kind]
    first, first_places = _only(pool, np.flatnonzero(is_first))
    served = allocate(first)
    places = first_places[served.pairs]
    room = pool.room.astype(np.int64)
    np.subtract.at(room, pool.client[places], pool.kinds.in_cap[pool.kind[places]].astype(np.int64))
    limit = pool.resources.limit - pool.used(places)
    left = replace(pool, room=room.astype(np.int16), resources=replace(pool.resources, limit=limit))
    rest = np.flatnonzero(~is_first & has_room(pool, np.arange(len(pool.client)), room))
    second, second_places = _only(left, rest)
    others: Allocation = allocate(second)
    both = np.sort(np.concatenate([places, second_places[others.pairs]]))
    return both, served.value + others.value, served.bound + others.bound


def _only(pool: Pool, places: Ints) -> tuple[Pool, Ints]:
    clients, client = np.unique(pool.client[places], return_inverse=True)
    part = replace(
        pool,
        client=client,
        kind=pool.kind[places],
        worth=pool.worth[places],
        cost=pool.cost[places],
        room=pool.room[clients],
    )
    return part, places


def _told(pool: Pool, judging: Judging, found: Ints, kept: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """For each pair its code, and the campaign that its client's contact went to, the best in its channel first."""
    channels = sorted({channel for _, channel in judging.kinds})
    channel_of = np.array([channels.index(channel) for _, channel in judging.kinds], np.int64)
    rank = np.lexsort((pool.kind[found], -pool.worth[found], pool.client[found]))
    best = found[rank]
    winner = np.full(len(pool.client), -1)
    anywhere = _first_by(pool.client[best], best, pool.client)
    key = pool.client[best].astype(np.int64) * len(channels) + channel_of[pool.kind[best]]
    order = np.argsort(key, kind="stable")
    mine = pool.client.astype(np.int64) * len(channels) + channel_of[pool.kind]
    in_channel = _first_by(key[order], best[order], mine)
    pair = np.where(in_channel >= 0, in_channel, anywhere)
    has = pair >= 0
    winner[has] = pool.kinds.campaign[pool.kind[pair[has]]]
    earlier = _first_by(kept[0], kept[1], pool.client)
    winner = np.where(has, winner, earlier)
    code = np.full(len(pool.client), LOST)
    full = _full(pool, found)
    better = (pool.worth > pool.worth[pair]) | ((pool.worth == pool.worth[pair]) & (pool.kind < pool.kind[pair]))
    used_up = (full >= 0) & (_is_free(pool, found) | (has & better))
    code[used_up] = 2 + full[used_up]
    code[found] = ALLOCATED
    return code, winner


def _first_by(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The first value of each wanted key (keys ascending); -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Ints = np.where(keys[at] == wanted, values[at], -1)
    return found


def _full(pool: Pool, found: Ints) -> Ints:
    """The first resource that has not enough left for a pair; -1: all have."""
    slack = pool.resources.limit - pool.used(found)
    full = np.full(len(pool.client), -1)
    every = np.arange(len(pool.client))
    for resource in reversed(range(len(slack))):
        full[pool.needs(every, resource) > slack[resource]] = resource
    return full


def _is_free(pool: Pool, found: Ints) -> Flags:
    """Whether a pair's client has room for it beside what she got."""
    room = pool.room.astype(np.int64)
    np.subtract.at(room, pool.client[found], pool.kinds.in_cap[pool.kind[found]].astype(np.int64))
    return has_room(pool, np.arange(len(pool.client)), room)


def make_decided(session: Session, allotted: Allotted) -> None:
    """Make `t_decided` (client_no, campaign_no, rule): `allocated`, `lost_to_<campaign>`, or the resource's rule.

    Needs `p_names`.
    """
    whens = " ".join(f"when {code} then '{rule}'" for code, rule in sorted(allotted.rules.items()))
    make_table(
        session,
        "t_decided",
        f"select d.client_no, d.campaign_no, case d.code when 0 then 'allocated' {whens} "
        "else 'lost_to_' || coalesce(n.campaign_id, 'others') end as rule "
        "from p_decided as d left join p_names as n on n.campaign_no = d.winner",
    )


def describe(allotted: Allotted, cards: Sequence[Campaign]) -> str | None:
    """The allocation in a sentence; None when there was nothing to allocate."""
    if not allotted.pairs or not cards:
        return None
    share = (
        f"at most {allotted.gap:.2%} below the greatest value possible"
        if allotted.gap > _NOTHING
        else "the greatest value possible"
    )
    return f"allocation: {allotted.allocated:,} of {allotted.pairs:,} pairs, {share}"
