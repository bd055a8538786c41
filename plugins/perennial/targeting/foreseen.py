"""The coming days, foreseen: who would get which campaign on which day if everyone stayed as she is today.

Day by day each client takes what is worth most to her among the cards that are due, within caps, cool-downs, gaps and
the cards' limits, as a plan does; between clients the cards' limits go to who expects most. It is a forecast: nobody
changes her mind, her stage or her consent in it, and series run to their last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from perennial.contracts.policy import Cap, PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting import policy as contact_policy
from perennial.targeting.forecasting import Floats, Ints, Outlook
from perennial.targeting.schedule import cool_down_days, not_due

Places = npt.NDArray[np.intp]  # of pairs
Flags = npt.NDArray[np.bool_]
_NEVER = -30_000
_WEEK = 7


@dataclass(frozen=True)
class CardDay:
    """What one card would do on one day: contacts (control included), their cost and expected value."""

    day: date
    contacts: int
    cost: float
    value: float
    channels: dict[str, int]


@dataclass(frozen=True)
class CardForecast:
    """One card over the coming days. `clients`: different ones that are contacted; `deviation`: of the expected margin
    before costs of single contacts, `margin`: its mean; `days`: those on which it is due.
    """  # noqa: D205

    campaign_id: str
    audience: int
    reachable: int
    clients: int
    contacts: int
    cost: float
    value: float
    margin: float
    deviation: float
    days: tuple[CardDay, ...]


@dataclass(frozen=True)
class Overlap:
    """Two cards: clients who may be addressed by both, and those who would get both within seven days."""

    one: str
    other: str
    clients: int
    in_one_week: int


@dataclass(frozen=True)
class Foreseen:
    """The forecast of all cards, by id, and what they share, the greatest overlap first."""

    first_day: date
    last_day: date
    cards: tuple[CardForecast, ...]
    overlaps: tuple[Overlap, ...]


def foresee(outlook: Outlook, policy: PolicyFile, days: int) -> Foreseen:
    """The next `days` days of all cards."""
    coming = _Coming(outlook, policy, days)
    for day in range(days):
        coming.play(day)
    cards = tuple(coming.told(number) for number in range(len(outlook.cards)))
    return Foreseen(outlook.start, outlook.start + timedelta(days=days - 1), cards, coming.overlaps())


class _Coming:
    """The state of all clients while the days are played."""

    def __init__(self, outlook: Outlook, policy: PolicyFile, days: int) -> None:
        self.outlook, self.policy = outlook, policy
        self.cards, self.pairs = outlook.cards, outlook.pairs
        self.last = np.full((outlook.clients, len(self.cards)), _NEVER, np.int32)
        self.times = np.zeros((outlook.clients, len(self.cards)), np.int16)
        self.history = max([1, *(cap.days for cap in policy.caps)])
        self.counted = np.zeros((len(policy.caps), outlook.clients, self.history + days), np.int8)
        self.scopes = self._scopes()
        self._remember()
        self.effect = np.array([card.expected_value.prior_effect for card in self.cards])
        self.taken: list[tuple[Places, int]] = []  # pairs, day
        self.spent_contacts = np.zeros(len(self.cards), np.int64)
        self.spent_money = np.zeros(len(self.cards))
        every = list(self.cards)
        self.distances = [
            [
                (np.array([n for n, other in enumerate(every) if other.id in one.after], np.int32), one.days)
                for one in contact_policy.distances(policy, card, every)
            ]
            for card in every
        ]

    def _scopes(self) -> npt.NDArray[np.bool_]:
        """By cap, card and channel whether a contact counts in the cap."""
        caps, channels = self.policy.caps, self.outlook.channels
        scopes = np.zeros((len(caps), len(self.cards), len(channels)), np.bool_)
        for c, cap in enumerate(caps):
            for n, card in enumerate(self.cards):
                scopes[c, n] = [contact_policy.counts_in(self.policy, cap, card, channel) for channel in channels]
        return scopes

    def _remember(self) -> None:
        """What was sent before the first day, by us and by others."""
        client, card, channel, day = self.outlook.contacts.T
        for c, cap in enumerate(self.policy.caps):
            counts = (day >= -self.history) & self._holds(c, cap, card, channel)
            np.add.at(self.counted[c], (client[counts], day[counts] + self.history), 1)
        ours = card >= 0
        np.maximum.at(self.last, (client[ours], card[ours]), day[ours])
        np.add.at(self.times, (client[ours], card[ours]), 1)
        series = np.array([one.series is not None for one in self.cards], np.bool_)[self.pairs.card]
        self.times[self.pairs.client[series], self.pairs.card[series]] = self.pairs.step[series]

    def _holds(self, number: int, cap: Cap, card: Ints, channel: Ints) -> Flags:
        """What others sent has no nature or purpose that we know, and counts in each."""
        of_others = np.array([cap.channel in (None, name) for name in self.outlook.channels] + [cap.channel is None])
        ours: Flags = self.scopes[number][np.maximum(card, 0), np.maximum(channel, 0)]
        return np.where(card >= 0, ours, of_others[channel])

    def play(self, day: int) -> None:
        """One day: in rounds, each client takes the best that is left to her and the cards' limits allow."""
        open_ = np.flatnonzero(self._may(day))
        order = open_[np.lexsort((open_, -self.pairs.value[open_]))]
        left = np.array([self._limit(card, n) for n, card in enumerate(self.cards)])
        room = self._room(day)
        picked: list[Places] = []
        while len(order):
            order = order[self._fits(order, room) & (left[self.pairs.card[order]] > 0)]
            _, first = np.unique(self.pairs.client[order], return_index=True)
            best = order[np.sort(first)]
            chosen = self._within(best, left)
            if not len(chosen):
                break
            picked.append(chosen)
            np.subtract.at(left, self.pairs.card[chosen], 1)
            for c in range(len(self.policy.caps)):
                used = chosen[self.scopes[c][self.pairs.card[chosen], self.pairs.channel[chosen]]]
                np.subtract.at(room[c], self.pairs.client[used], 1)
            order = self._apart(order[~np.isin(order, chosen)], chosen)
        self._mark(np.concatenate(picked) if picked else np.zeros(0, np.intp), day)

    def _may(self, day: int) -> Flags:
        """The pairs whose card is due for the client on the day, by schedule, cool-down, series and distances."""
        client, card = self.pairs.client, self.pairs.card
        date_of = self.outlook.start + timedelta(days=day)
        due = np.array([not_due(one, date_of) is None for one in self.cards])
        may = due[card]
        for number, one in enumerate(self.cards):
            mine = np.flatnonzero(may & (card == number))
            if len(mine):
                may[mine] = self._card_may(one, number, client[mine], day)
        return may

    def _card_may(self, card: Campaign, number: int, client: Ints, day: int) -> Flags:
        since = day - self.last[client, number]
        may = self._occasion_holds(number, client, day)
        if card.series is not None:
            steps = card.series.steps
            place = np.minimum(self.times[client, number], len(steps))
            waits = np.array([step.after_days for step in steps] + [0])
            may = np.where(place == 0, may, (place < len(steps)) & (since >= waits[place]))
        elif card.list_type == "audience":
            may &= self.times[client, number] == 0
        else:
            may &= since >= max(1, cool_down_days(card))
        for others, days in self.distances[number]:
            may &= day - self.last[client][:, others].max(axis=1, initial=_NEVER) >= days
        return may

    def _occasion_holds(self, number: int, client: Ints, day: int) -> Flags:
        """Whether the card's date or event falls on the day, or did within the days that it is still answered on."""
        occasions = self.outlook.occasions.get(number)
        if occasions is None:
            return np.ones(len(client), np.bool_)
        schedule = self.cards[number].schedule
        window = schedule.event.within_days if schedule.event else schedule.window_days
        named = np.concatenate([occasions[d] for d in range(max(0, day - window), day + 1)])
        return np.isin(client, named)

    def _limit(self, card: Campaign, number: int) -> int:
        """How many contacts the card may still have on the day, in clients of the sample."""
        every = self.outlook.every
        limits = [self.outlook.clients]
        if card.max_contacts_per_day is not None:
            limits.append(-(-card.max_contacts_per_day // every))
        if card.budget.contacts is not None:
            limits.append(max(0, card.budget.contacts // every - int(self.spent_contacts[number])))
        if card.budget.money is not None and self.spent_money[number] * every >= card.budget.money:
            limits.append(0)
        return min(limits)

    def _room(self, day: int) -> npt.NDArray[np.int32]:
        """By cap and client the contacts that are left on the day."""
        room = np.zeros((len(self.policy.caps), self.outlook.clients), np.int32)
        for c, cap in enumerate(self.policy.caps):
            end = self.history + day
            used = self.counted[c][:, end - cap.days + 1 : end].sum(axis=1, dtype=np.int32)
            room[c] = cap.contacts - used
        return room

    def _fits(self, order: Places, room: npt.NDArray[np.int32]) -> Flags:
        fits = np.ones(len(order), np.bool_)
        client, card, channel = self.pairs.client[order], self.pairs.card[order], self.pairs.channel[order]
        for c, cap in enumerate(self.policy.caps):
            if cap.segment is None:  # a cap of a segment alone is left out: a forecast rather counts one too many
                fits &= ~self.scopes[c][card, channel] | (room[c][client] > 0)
        return fits

    def _within(self, best: Places, left: npt.NDArray[np.int64]) -> Places:
        """The best pairs of the round, as many of each card as its limit leaves; they stand by falling value."""
        card = self.pairs.card[best]
        keep = np.zeros(len(best), np.bool_)
        for number in np.unique(card):
            keep[np.flatnonzero(card == number)[: int(left[number])]] = True
        return best[keep]

    def _apart(self, order: Places, chosen: Places) -> Places:
        """Without the pairs that may not be on one day with what their client just got."""
        keep = np.ones(len(order), np.bool_)
        got = dict.fromkeys(self.pairs.card[chosen].tolist())
        for number in range(len(self.cards)):
            near = {int(n) for others, _ in self.distances[number] for n in others} & got.keys()
            near |= {n for n in got if any(number in others for others, _ in self.distances[n])}
            if near:
                holders = self.pairs.client[chosen][np.isin(self.pairs.card[chosen], sorted(near))]
                keep &= ~((self.pairs.card[order] == number) & np.isin(self.pairs.client[order], holders))
        return order[keep]

    def _mark(self, chosen: Places, day: int) -> None:
        client, card, channel = self.pairs.client[chosen], self.pairs.card[chosen], self.pairs.channel[chosen]
        self.last[client, card] = day
        np.add.at(self.times, (client, card), 1)
        for c in range(len(self.policy.caps)):
            counts = self.scopes[c][card, channel]
            np.add.at(self.counted[c], (client[counts], self.history + day), 1)
        np.add.at(self.spent_contacts, card, 1)
        np.add.at(self.spent_money, card, self.pairs.cost[chosen])
        self.taken.append((chosen, day))

    def told(self, number: int) -> CardForecast:
        """What was played of one card."""
        card, every = self.cards[number], self.outlook.every
        mine = [(chosen[self.pairs.card[chosen] == number], day) for chosen, day in self.taken]
        days = tuple(self._card_day(chosen, day) for chosen, day in mine if self._is_due(card, day))
        all_ = np.concatenate([chosen for chosen, _ in mine]) if mine else np.zeros(0, np.intp)
        margins = self.pairs.value[all_] + self.pairs.cost[all_]
        return CardForecast(
            campaign_id=card.id,
            audience=self.outlook.audience[card.id],
            reachable=self.outlook.reachable[card.id],
            clients=len(np.unique(self.pairs.client[all_])) * every,
            contacts=len(all_) * every,
            cost=_money(self.pairs.cost[all_], every),
            value=_money(self.pairs.value[all_], every),
            margin=float(margins.mean()) if len(margins) else 0.0,
            deviation=float(margins.std(ddof=1)) if len(margins) > 1 else 0.0,
            days=days,
        )

    def _is_due(self, card: Campaign, day: int) -> bool:
        return not_due(card, self.outlook.start + timedelta(days=day)) is None

    def _card_day(self, chosen: Places, day: int) -> CardDay:
        every = self.outlook.every
        names, counts = np.unique(self.pairs.channel[chosen], return_counts=True)
        by = {self.outlook.channels[n]: int(k) * every for n, k in zip(names, counts, strict=True)}
        costs, values = self.pairs.cost[chosen], self.pairs.value[chosen]
        on = self.outlook.start + timedelta(days=day)
        return CardDay(on, len(chosen) * every, _money(costs, every), _money(values, every), by)

    def overlaps(self) -> tuple[Overlap, ...]:
        """Which cards share clients."""
        shape = (self.outlook.clients, len(self.cards))
        member = np.zeros(shape, np.float32)
        member[self.pairs.client, self.pairs.card] = 1
        shared = member.T @ member
        close = self._in_one_week(shape)
        found = [
            Overlap(one.id, other.id, int(shared[a, b]) * self.outlook.every, int(close[a, b]) * self.outlook.every)
            for a, one in enumerate(self.cards)
            for b, other in enumerate(self.cards)
            if a < b and shared[a, b]
        ]
        return tuple(sorted(found, key=lambda one: (-one.clients, one.one, one.other)))

    def _in_one_week(self, shape: tuple[int, int]) -> Floats:
        """By two cards the clients who got both within seven days."""
        last = np.full(shape, _NEVER, np.int32)
        width, found = shape[1], [np.zeros(0, np.int64)]
        for chosen, day in self.taken:
            client, card = self.pairs.client[chosen], self.pairs.card[chosen].astype(np.int64)
            last[client, card] = day
            rows, other = np.nonzero(day - last[client] < _WEEK)
            two = card[rows] != other
            low, high = np.minimum(card[rows], other)[two], np.maximum(card[rows], other)[two]
            found.append((client[rows][two].astype(np.int64) * width + low) * width + high)
        close = np.zeros((width, width))
        both = np.unique(np.concatenate(found))
        np.add.at(close, (both // width % width, both % width), 1)
        return close


def _money(values: Floats, every: int) -> float:
    return round(float(np.round(values, 6).sum()) * every, 2)
