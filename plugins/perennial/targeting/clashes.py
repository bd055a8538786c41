"""What stands in each other's way in the coming days: two prices in one week, contests side by side, full channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting import policy as contact_policy
from perennial.targeting.foreseen import CardForecast, Foreseen, Overlap

_WEEK, _YEAR = 7, 365
_CONTESTS_A_YEAR = 2
_MONTHS_OF_CONTEST = (28, 124)  # days


@dataclass(frozen=True)
class Clash:
    """What clashes: `kind` (prices | contests | capacity), the campaigns, its first and last day, and what to do."""

    kind: str
    campaigns: tuple[str, ...]
    first_day: date
    last_day: date
    clients: int
    message: str
    fix: str


def is_price(card: Campaign) -> bool:
    """Whether the card offers a price: it says so, or is a bonus that costs something."""
    kind = card.offer.kind
    return kind == "price" or (kind is None and card.nature == "bonus" and card.offer.cost > 0)


def clashes(foreseen: Foreseen, cards: Sequence[Campaign], policy: PolicyFile) -> list[Clash]:
    """Every clash of the coming days, by first day and campaigns."""
    found = [*_prices(foreseen, cards, policy), *_contests(cards), *_capacity(foreseen, policy)]
    return sorted(found, key=lambda clash: (clash.first_day, clash.kind, clash.campaigns))


def _prices(foreseen: Foreseen, cards: Sequence[Campaign], policy: PolicyFile) -> Iterator[Clash]:
    """Two price offers that some clients would get within one week."""
    shared = {(one.one, one.other): one for one in foreseen.overlaps}
    told = {one.campaign_id: one for one in foreseen.cards}
    for one, other in combinations([card for card in cards if is_price(card)], 2):
        overlap = shared.get((one.id, other.id)) or shared.get((other.id, one.id))
        if overlap is None or not overlap.in_one_week or keeps_apart(policy, one, other, cards):
            continue
        days = _both(told[one.id], told[other.id])
        if days:
            yield _price_clash(one, other, overlap, days)


def _price_clash(one: Campaign, other: Campaign, overlap: Overlap, days: list[date]) -> Clash:
    return Clash(
        kind="prices",
        campaigns=(one.id, other.id),
        first_day=days[0],
        last_day=days[-1],
        clients=overlap.in_one_week,
        message=f"{one.name} and {other.name} are two price offers, and about {overlap.in_one_week:,} clients would "
        f"get both within a week ({overlap.clients:,} are open to both)",
        fix=f"give both `exclusivity: {{group: price, days: {_WEEK}}}`, or other days",
    )


def keeps_apart(policy: PolicyFile, one: Campaign, other: Campaign, cards: Sequence[Campaign]) -> bool:
    """Whether exclusivity or gaps keep a week between the two, whichever comes first."""
    pairs = ((one, other), (other, one))
    return all(
        any(
            a.id in distance.after and distance.days >= _WEEK for distance in contact_policy.distances(policy, b, cards)
        )
        for a, b in pairs
    )


def _both(one: CardForecast, other: CardForecast) -> list[date]:
    """The days on which one of the two has contacts and the other has some within a week."""
    first = [day.day for day in one.days if day.contacts]
    second = [day.day for day in other.days if day.contacts]
    return sorted(
        {day for day in first if any(abs((day - o).days) < _WEEK for o in second)}
        | {day for day in second if any(abs((day - o).days) < _WEEK for o in first)}
    )


def _contests(cards: Sequence[Campaign]) -> Iterator[Clash]:
    """Contests do not overlap, there are at most two a year, and each has a term of one to four months."""
    contests = sorted((c for c in cards if c.offer.kind == "contest"), key=lambda c: (c.starts_on or date.min, c.id))
    for one, other in combinations(contests, 2):
        starts = max(one.starts_on or date.min, other.starts_on or date.min)
        ends = min(one.ends_on or date.max, other.ends_on or date.max)
        if starts <= ends:
            message = f"{one.name} and {other.name} are contests side by side: each takes the other's attention"
            fix = "end one before the other starts (starts_on, ends_on)"
            yield Clash("contests", (one.id, other.id), starts, ends, 0, message, fix)
    dated = [contest for contest in contests if contest.starts_on]
    for place in range(len(dated) - _CONTESTS_A_YEAR):
        many = dated[place : place + _CONTESTS_A_YEAR + 1]
        first, last = many[0].starts_on, many[-1].starts_on
        if first and last and last - first < timedelta(days=_YEAR):
            message = f"{len(many)} contests start within a year ({', '.join(c.name for c in many)}): they wear out"
            fix = f"hold at most {_CONTESTS_A_YEAR} a year"
            yield Clash("contests", tuple(c.id for c in many), first, last, 0, message, fix)


def _capacity(foreseen: Foreseen, policy: PolicyFile) -> Iterator[Clash]:
    """Days on which a channel would have to carry more than it can."""
    for channel, rules in sorted(policy.channels.items()):
        if rules.capacity_per_day is None:
            continue
        wanted: Counter[date] = Counter()
        by: set[str] = set()
        for card in foreseen.cards:
            for day in card.days:
                if day.channels.get(channel):
                    wanted[day.day] += day.channels[channel]
                    by.add(card.campaign_id)
        over = sorted(day for day, contacts in wanted.items() if contacts > rules.capacity_per_day)
        if over:
            most = max(wanted.values())
            message = (
                f"{channel} carries {rules.capacity_per_day:,} contacts a day, and up to {most:,} would be wanted: "
                "the plan gives them to who expects most"
            )
            fix = "spread the campaigns over more days, or raise capacity_per_day"
            yield Clash("capacity", tuple(sorted(by)), over[0], over[-1], most, message, fix)


def card_remarks(card: Campaign, told: CardForecast, first_day: date, last_day: date) -> Iterator[str]:
    """What a person should know of one card before it starts."""
    if card.ends_on and card.ends_on < first_day:
        yield f"its term ended on {card.ends_on}: it picks nobody any more"
    elif card.starts_on and card.starts_on > last_day:
        yield f"it starts on {card.starts_on}, after the days that are foreseen"
    elif not told.days:
        yield "its schedule names none of these days"
    elif not told.audience:
        yield "nobody is in its audience"
    elif not told.reachable:
        yield "nobody of its audience may be addressed: consent, address, suppression or value"
    elif not told.contacts:
        yield "nobody's day or turn comes in these days"
    if not card.control_share:
        yield "it has no control group: what it earns will not be known"
    if card.offer.kind == "contest":
        yield from _contest_remarks(card)


def _contest_remarks(card: Campaign) -> Iterator[str]:
    least, most = _MONTHS_OF_CONTEST
    if card.starts_on is None or card.ends_on is None:
        yield "a contest needs starts_on and ends_on"
    elif not least <= (card.ends_on - card.starts_on).days + 1 <= most:
        yield "a contest lasts one to four months"
