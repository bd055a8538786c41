"""Days of campaigns, one after the other: what must hold over all of them, and the table that people read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from perennial.contracts.policy import HOLD_OUT, PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.core.settings import Settings
from perennial.targeting.policy import cap_name, counts_in, distances
from perennial.targeting.schedule import cool_down_days
from perennial.targeting.series import ENDS

Row = Mapping[str, Any]
Who = tuple[str, str]  # campaign, client
_HELD = ("allocated", "already_sent_today")


@dataclass(frozen=True)
class Contact:
    """One contact of a client: sent to her, or not sent because she is in control."""

    day: date
    campaign_id: str
    channel: str
    step: str | None


@dataclass(frozen=True)
class Days:
    """Outcomes of consecutive days, what was accepted for sending, what others sent, and who had withdrawn by then."""

    rows: Sequence[Row]
    cards: tuple[Campaign, ...]
    policy: PolicyFile
    accepted: frozenset[tuple[str, str, str, date]]
    others: Sequence[tuple[str, str, date]] = ()  # client, channel, day
    withdrawn: Mapping[date, frozenset[tuple[str, str]]] = field(default_factory=dict)  # client, channel

    @classmethod
    def of(cls, settings: Settings) -> Days:
        """Of all days that a home has run."""
        from perennial.commands.days import newest_run
        from perennial.ledger import consents, contact_history
        from perennial.ledger.engine import open_ledger
        from perennial.ledger.runs import published_version
        from perennial.pipeline.rekey import aliases_of
        from perennial.targeting.config import load_targeting
        from perennial.targeting.scan import published_catalogue
        from perennial.warehouse.engine import open_published

        engine, run = open_ledger(settings), newest_run(settings, None, "planned")
        with open_published(settings, published_version(engine, run.run_id)) as published:
            targeting = load_targeting(settings, published_catalogue(published, published.tables()))
            rows = published.query("from campaign_outcomes order by as_of_date, campaign_id, client_id").to_pylist()
            others = published.query(
                "select client_id, channel, contacted_on from fct_campaign_contacts where reported_by <> 'perennial'"
            ).to_pylist()
            aliases = aliases_of(published)
        dates = sorted({row["as_of_date"] for row in rows})
        accepted = contact_history.accepted_before(engine, dates[-1] + timedelta(days=1), dates[0]).to_pylist()
        withdrawn = {
            day: frozenset(
                (row["client_id"], row["channel"])
                for row in consents.client_consents(engine, day, aliases).to_pylist()
                if row["status"] == "withdrawn"
            )
            for day in dates
        }
        sent = ((r["campaign_id"], r["client_id"], r["channel"], r["contacted_on"]) for r in accepted)
        foreign = [(r["client_id"], r["channel"], r["contacted_on"]) for r in others]
        return cls(rows, targeting.campaigns, targeting.policy, frozenset(sent), foreign, withdrawn)

    @cached_property
    def dates(self) -> list[date]:
        """The days, in order."""
        return sorted({row["as_of_date"] for row in self.rows})

    @cached_property
    def by_id(self) -> dict[str, Campaign]:
        """The cards."""
        return {card.id: card for card in self.cards}

    @cached_property
    def contacts(self) -> dict[str, list[Contact]]:
        """By client her contacts, in order: what was accepted, and what control was spared."""
        found: dict[str, list[Contact]] = defaultdict(list)
        for row in self.rows:
            key = (row["campaign_id"], row["client_id"], row["channel"], row["as_of_date"])
            is_sent = row["outcome"] == "target" and key in self.accepted
            if row["rule"] in _HELD and (is_sent or row["outcome"] == "control"):
                found[row["client_id"]].append(
                    Contact(row["as_of_date"], row["campaign_id"], row["channel"], row["series_step"])
                )
        return {client: sorted(list_, key=lambda c: (c.day, c.campaign_id)) for client, list_ in found.items()}


def problems_of(days: Days) -> list[str]:
    """Every promise that was broken on any of the days."""
    return [
        *_accounted(days),
        *_arms(days),
        *_withdrawn(days),
        *(p for client in days.contacts for p in _caps(days, client)),
        *(p for client in days.contacts for p in _distances(days, client)),
        *(p for key, list_ in _by_campaign(days) for p in _cool_downs(days, key, list_)),
        *(p for key, list_ in _by_campaign(days) for p in _series(days, key, list_)),
        *_exits(days),
    ]


def _accounted(days: Days) -> Iterator[str]:
    counts = Counter((row["as_of_date"], row["campaign_id"], row["client_id"]) for row in days.rows)
    yield from (f"L7: {key} has {n} outcomes" for key, n in counts.items() if n > 1)
    yield from (f"L7: {row} has no rule" for row in days.rows if not row["rule"])


def _arms(days: Days) -> Iterator[str]:
    arms: dict[Who, set[str]] = defaultdict(set)
    for row in days.rows:
        if row["rule"] in _HELD and row["arm"] not in (None, HOLD_OUT):
            arms[row["campaign_id"], row["client_id"]].add(row["arm"])
    yield from (f"L8: {key} was in {sorted(found)}" for key, found in arms.items() if len(found) > 1)


def _withdrawn(days: Days) -> Iterator[str]:
    for row in days.rows:
        gone = days.withdrawn.get(row["as_of_date"], frozenset())
        if row["outcome"] == "target" and row["rule"] == "allocated" and (row["client_id"], row["channel"]) in gone:
            yield f"L9: {row['client_id']} had withdrawn {row['channel']} on {row['as_of_date']}"


def _caps(days: Days, client: str) -> Iterator[str]:
    mine = days.contacts[client]
    foreign = [(channel, day) for who, channel, day in days.others if who == client] if days.others else []
    for cap in (cap for cap in days.policy.caps if cap.segment is None):
        counting = [c.day for c in mine if counts_in(days.policy, cap, days.by_id[c.campaign_id], c.channel)]
        others = [day for channel, day in foreign if cap.channel in (None, channel)]
        for day in sorted(set(counting)):
            used = sum(day - timedelta(days=cap.days) < one <= day for one in (*counting, *others))
            if used > cap.contacts:
                yield f"L10: {client} had {used} contacts by {day}, against {cap_name(cap)}"


def _distances(days: Days, client: str) -> Iterator[str]:
    mine = days.contacts[client]
    for one in mine:
        for distance in distances(days.policy, days.by_id[one.campaign_id], days.cards):
            since = one.day - timedelta(days=distance.days)
            near = [o for o in mine if o.campaign_id in distance.after and since < o.day <= one.day]
            yield from (f"{distance.rule}: {client} had {o.campaign_id} and {one.campaign_id}" for o in near)


def _by_campaign(days: Days) -> Iterator[tuple[Who, list[Contact]]]:
    found: dict[Who, list[Contact]] = defaultdict(list)
    for client, list_ in days.contacts.items():
        for one in list_:
            found[one.campaign_id, client].append(one)
    yield from found.items()


def _cool_downs(days: Days, key: Who, contacts: list[Contact]) -> Iterator[str]:
    card = days.by_id[key[0]]
    for one, following in pairwise(contacts):
        gap = (following.day - one.day).days
        if card.series is None and gap < max(1, cool_down_days(card)):
            yield f"cool_down: {key} again after {gap} days"


def _series(days: Days, key: Who, contacts: list[Contact]) -> Iterator[str]:
    card = days.by_id[key[0]]
    if card.series is None:
        return
    places = {step.id: place for place, step in enumerate(card.series.steps)}
    if places[str(contacts[0].step)]:
        yield f"series: {key} began with {contacts[0].step}"
    for one, following in pairwise(contacts):
        place, gap = places[str(following.step)], (following.day - one.day).days
        if place == 0 and card.re_entry_days is not None and gap > card.re_entry_days:
            continue
        if place != places[str(one.step)] + 1 or gap < card.series.steps[place].after_days:
            yield f"series: {key} had {following.step} {gap} days after {one.step}"


def _exits(days: Days) -> Iterator[str]:
    """Who left a series in the middle gets no further step of it, unless she may come in again."""
    left: dict[Who, date] = {}
    for row in days.rows:
        series = days.by_id[row["campaign_id"]].series
        if series and row["rule"] in ENDS and row["series_step"] not in (None, series.steps[0].id):
            left.setdefault((row["campaign_id"], row["client_id"]), row["as_of_date"])
    for key, contacts in _by_campaign(days):
        again = days.by_id[key[0]].re_entry_days
        for one in contacts:
            if key in left and one.day > left[key] and (again is None or (one.day - left[key]).days <= again):
                yield f"series: {key} left on {left[key]} and had {one.step} on {one.day}"


def table_of(days: Days) -> str:
    """Markdown: sent + control by campaign and day, then refusals by campaign and rule over all days."""
    return "\n".join([*_day_table(days), "", *_rule_table(days), ""])


def _day_table(days: Days) -> Iterator[str]:
    cells: Counter[tuple[str, date, str]] = Counter()
    for row in days.rows:
        if row["rule"] == "allocated":
            cells[row["campaign_id"], row["as_of_date"], row["outcome"]] += 1
    yield "| campaign | " + " | ".join(f"{day:%a} {day.day}" for day in days.dates) + " | all |"
    yield "|---|" + "---:|" * (len(days.dates) + 1)
    for card in days.cards:
        pairs = [(cells[card.id, day, "target"], cells[card.id, day, "control"]) for day in days.dates]
        shown = [f"{target}+{control}" if target or control else "" for target, control in pairs]
        total = f"{sum(t for t, _ in pairs):,}+{sum(c for _, c in pairs):,}"
        yield f"| `{card.id}` | {' | '.join(shown)} | {total} |"


def _rule_table(days: Days) -> Iterator[str]:
    found = Counter((row["campaign_id"], _family(row["rule"])) for row in days.rows if row["outcome"] == "refused")
    names = [name for name, _ in Counter(rule for _, rule in found.elements()).most_common()]
    yield "| campaign | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---|" + "---:|" * len(names)
    for card in days.cards:
        shown = [f"{found[card.id, name]:,}" if found[card.id, name] else "" for name in names]
        yield f"| `{card.id}` | {' | '.join(shown)} |"


def _family(rule: str) -> str:
    """What was lost to whichever campaign is one column."""
    return "lost_to_..." if rule.startswith("lost_to_") else rule
