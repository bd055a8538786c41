"""Campaigns before they start: what is wrong with the cards, what the next days would bring, what a test could show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from perennial.contracts.policy import PolicyFile
from perennial.contracts.records import DayRun
from perennial.contracts.targeting import Campaign
from perennial.core.settings import Settings
from perennial.ledger import forecasts
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import published_version
from perennial.targeting.catalogue import Tables, catalogue_of, contracted_tables
from perennial.targeting.clashes import Clash, card_remarks, clashes
from perennial.targeting.config import Targeting, load_targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.forecasting import look_ahead
from perennial.targeting.foreseen import CardForecast, Foreseen, foresee
from perennial.targeting.samples import in_words, least_difference_of_means
from perennial.targeting.scan import published_catalogue
from perennial.targeting.session import Session
from perennial.warehouse.engine import Published, open_published

FORECAST_DAYS = 30
Told = dict[str, Any]


@dataclass(frozen=True)
class Outlined:
    """The coming days with the cards and the policy that they stand on."""

    settings: Settings
    run: DayRun
    cards: tuple[Campaign, ...]
    policy: PolicyFile
    foreseen: Foreseen
    clashes: list[Clash]

    @property
    def currency(self) -> str:
        """The company's."""
        return self.settings.company.currency


def check_campaigns(settings: Settings, run: DayRun | None, days: int = FORECAST_DAYS) -> Told:
    """Whether all cards are right, by the published names or else the contracted ones; with a day, what they would do.

    Gives `campaigns` (how many), and with a day `forecasts`, `clashes`, `overlaps`. Raises ConfigError with every
    mistake of every card, by file and line.
    """
    if run is None:
        targeting = load_targeting(settings, catalogue_of(contracted_tables(settings.dbt_project_dir)))
        return {"campaigns": len(targeting.campaigns), "forecasts": [], "clashes": [], "overlaps": []}
    outlined = outline(settings, run, days)
    kept = forecasts.newest(open_ledger(settings))
    return {
        "campaigns": len(outlined.cards),
        "as_of": run.as_of,
        "first_day": outlined.foreseen.first_day,
        "last_day": outlined.foreseen.last_day,
        "currency": outlined.currency,
        "forecasts": [{**_told(outlined, one), "on_its_first_day": kept.get(one["id"])} for one in _pairs(outlined)],
        "clashes": [asdict(clash) for clash in outlined.clashes],
        "overlaps": [asdict(overlap) for overlap in outlined.foreseen.overlaps],
    }


def outline(settings: Settings, run: DayRun, days: int) -> Outlined:
    """The `days` after the run's day, from what it published. Raises ConfigError with every mistake of every card."""
    from perennial.pipeline.plan import day_facts
    from perennial.pipeline.rekey import aliases_of

    engine = open_ledger(settings)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        tables = published.tables()
        targeting = load_targeting(settings, published_catalogue(published, tables))
        facts, _mixed = day_facts(settings, engine, run, targeting, aliases_of(published))
        start = run.as_of + timedelta(days=1)
        foreseen = _foresee(published, targeting, tables, facts, start=start, days=days)
    found = clashes(foreseen, targeting.campaigns, targeting.policy)
    return Outlined(settings, run, targeting.campaigns, targeting.policy, foreseen, found)


def _foresee(
    session: Session, targeting: Targeting, tables: Tables, facts: DayFacts, *, start: date, days: int
) -> Foreseen:
    outlook = look_ahead(session, targeting, tables, facts, start=start, days=days)
    return foresee(outlook, targeting.policy, days)


def record_forecasts(
    engine: sa.Engine, run: DayRun, session: Published, targeting: Targeting, facts: DayFacts
) -> tuple[str, ...]:
    """Write down what is expected of the cards whose first day this is; gives a note of how many.

    The first day is the first planned one of the card's term. Makes the temporary tables of a plan anew, so it comes
    last. A past day that is planned again writes nothing.
    """
    known = forecasts.first_days(engine)
    new = {card.id for card in targeting.campaigns if _is_first_day(card, known.get(card.id), run.as_of)}
    if not new or not run.is_latest:
        return ()
    foreseen = _foresee(session, targeting, session.tables(), facts, start=run.as_of, days=FORECAST_DAYS)
    cards = {card.id: card for card in targeting.campaigns}
    rows = [
        _row(cards[one.campaign_id], one, targeting.policy, run) for one in foreseen.cards if one.campaign_id in new
    ]
    forecasts.record(engine, rows)
    return (f"forecast of {len(rows)} campaigns written down on their first day: {', '.join(sorted(new))}",)


def _is_first_day(card: Campaign, known: date | None, as_of: date) -> bool:
    if (card.starts_on and as_of < card.starts_on) or (card.ends_on and as_of > card.ends_on):
        return False
    return known is None or (card.starts_on is not None and known < card.starts_on)


def sent_share(card: Campaign, policy: PolicyFile) -> float:
    """The share of the chosen clients to whom something is sent: neither in control nor in the global hold-out."""
    held = policy.hold_out.share if policy.hold_out and not policy.is_essential(card.purpose) else 0.0
    return (1 - card.control_share) * (1 - held)


def _row(card: Campaign, one: CardForecast, policy: PolicyFile, run: DayRun) -> Told:
    told = _numbers(card, one, policy)
    return {
        "campaign_id": card.id,
        "as_of": run.as_of,
        "days": FORECAST_DAYS,
        "audience": one.audience,
        "size": one.clients,
        **{name: told[name] for name in ("contacts", "control", "responders", "cost", "expected_value")},
        "least_difference": told["least_difference"],
        "basis": card.expected_value.basis,
        "prior_effect": card.expected_value.prior_effect,
        "config_digest": run.config_digest,
    }


def _numbers(card: Campaign, one: CardForecast, policy: PolicyFile) -> Told:
    """The sums of what is sent, and what the comparison with control can show of it."""
    sent = sent_share(card, policy)
    effect = card.expected_value.prior_effect
    target, control = round(one.clients * sent), round(one.clients * card.control_share)
    deviation = _deviation(card, one)
    least = least_difference_of_means(deviation, target, control) if deviation else math.inf
    return {
        "contacts": one.contacts,
        "sent": round(one.contacts * sent),
        "target": target,
        "control": control,
        "responders": round(one.contacts * sent * effect, 2),
        "cost": round(one.cost * sent, 2),
        "expected_value": round(one.value * sent, 2),
        "least_difference": round(least, 4) if math.isfinite(least) else None,
    }


def _deviation(card: Campaign, one: CardForecast) -> float:
    """Of a client's margin: the expected margin of a contact over its effect."""
    return one.deviation / card.expected_value.prior_effect if card.expected_value.prior_effect else 0.0


def _pairs(outlined: Outlined) -> Iterator[Told]:
    told = {one.campaign_id: one for one in outlined.foreseen.cards}
    for card in outlined.cards:
        yield {"id": card.id, "card": card, "forecast": told[card.id]}


def _told(outlined: Outlined, pair: Mapping[str, Any]) -> Told:
    card, one = pair["card"], pair["forecast"]
    numbers = _numbers(card, one, outlined.policy)
    test = in_words(
        target=numbers["target"],
        control=numbers["control"],
        deviation=_deviation(card, one),
        expected=one.margin,
        currency=outlined.currency,
    )
    first, last = outlined.foreseen.first_day, outlined.foreseen.last_day
    return {
        "campaign": card.id,
        "name": card.name,
        "audience": one.audience,
        "reachable": one.reachable,
        "clients": one.clients,
        **numbers,
        "budget": card.budget.money,
        "test": test,
        "remarks": list(card_remarks(card, one, first, last)),
        "shares_with": _shares(outlined, card.id),
        "days": [asdict(day) for day in one.days],
    }


def _shares(outlined: Outlined, campaign_id: str, most: int = 3) -> Sequence[Told]:
    """The campaigns whose reachable clients are most of all hers too."""
    found = [
        {
            "campaign": one.other if one.one == campaign_id else one.one,
            "clients": one.clients,
            "in_one_week": one.in_one_week,
        }
        for one in outlined.foreseen.overlaps
        if campaign_id in (one.one, one.other)
    ]
    return found[:most]


def told_of(outlined: Outlined) -> list[Told]:
    """Each card with its numbers, as `check_campaigns` gives them, by id."""
    return [_told(outlined, pair) for pair in _pairs(outlined)]
