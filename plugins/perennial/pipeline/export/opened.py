"""A run opened for its lists: what is published, the cards, where each list goes, and what each is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.records import DayRun
from perennial.contracts.targeting import Campaign
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ConfigError, ContractViolation, Problem
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.delivery import destinations as delivery
from perennial.delivery.consent import ConsentNow
from perennial.delivery.engine.guard import records_of
from perennial.delivery.managers import MANAGER, MANAGERS, manager_is_known
from perennial.delivery.protocol import Destination
from perennial.delivery.records import ListKey, ListType
from perennial.delivery.rows import CONTACTS, Field, ListSpec
from perennial.ledger.deliveries import ListRecord, lists_of
from perennial.ledger.runs import published_version
from perennial.pipeline.rekey import aliases_of
from perennial.targeting.catalogue import Catalogue, catalogue_of
from perennial.targeting.config import Targeting, load_targeting
from perennial.warehouse.engine import Published, open_published, register_contacts

OUTCOMES_TABLE = "campaign_outcomes"


@dataclass(frozen=True)
class Day:
    """Everything that the lists of one run are made from. `live` False: only rendered, as if nothing of it was sent."""

    settings: Settings
    engine: sa.Engine
    run: DayRun
    published: Published
    targeting: Targeting
    routes: delivery.Routes
    consent: ConsentNow
    live: bool
    aliases: pa.Table  # records of joined clients: client_ref, client_id
    only: str | None = None  # one destination's lists
    connections: ConnectionStore | None = None

    def destination(self, key: ListKey) -> Destination:
        """Where the list goes. Raises ConfigError when no destination takes it."""
        found = self.routes.of(key.campaign_id, key.channel)
        if found is None:
            where = str(self.settings.config_dir / delivery.FILE)
            raise ConfigError(Problem(where, f"no destination takes the channel {key.channel}", "add it to one"))
        return found

    def card(self, campaign_id: str) -> Campaign | None:
        """The campaign's card; None when it is gone."""
        return next((card for card in self.targeting.campaigns if card.id == campaign_id), None)

    @cached_property
    def records_of_clients(self) -> dict[str, tuple[str, ...]]:
        """The other records (client_ref) of each joined client."""
        return records_of(self.aliases)

    def records(self, key: ListKey, list_type: ListType) -> list[ListRecord]:
        """What this list's destination was handed before, in order; a rendered day sees only the dates before it."""
        found = [
            record
            for record in lists_of(self.engine, self.destination(key).name, until=key.as_of)
            if (record.campaign_id, record.channel, record.list_type) == (key.campaign_id, key.channel, list_type)
            and (self.live or record.as_of < key.as_of)
        ]
        return sorted(found, key=lambda record: (record.as_of, key.part_of(record.list_id)))


@contextmanager
def open_day(
    settings: Settings,
    engine: sa.Engine,
    run: DayRun,
    *,
    root: Path | None = None,
    connections: ConnectionStore | None = None,
    only: str | None = None,
) -> Iterator[Day]:
    """The run, opened. With `root` its lists are files below it, as if nothing of its date was sent.

    `only` names one destination: the lists of the others are left alone. Raises ContractViolation when the run is not
    planned, ConfigError for a mistake in the cards or in destinations.yml.
    """
    with open_published(settings, published_version(engine, run.run_id)) as published:
        targeting = load_targeting(settings, catalogue_of(published.tables()))
        if OUTCOMES_TABLE not in published.tables():
            raise ContractViolation(Problem(run.run_id, f"{OUTCOMES_TABLE} is not published", "plan the day first"))
        register_contacts(settings, published, run, CONTACTS)
        live = root is None
        routes = delivery.open_routes(settings, root=root, connections=connections)
        aliases = aliases_of(published)
        consent = ConsentNow(engine, published, run.as_of, aliases, live=live)
        yield Day(settings, engine, run, published, targeting, routes, consent, live, aliases, only, connections)


def keys_of(day: Day) -> list[ListKey]:
    """The lists of the day: of its targets, and the audiences that someone stands on."""
    keys = set(sizes_of(day))
    for name in day.routes.by_name:
        for record in lists_of(day.engine, name, until=day.run.as_of):
            key = ListKey(record.campaign_id, record.channel, day.run.as_of)
            if record.list_type == "audience" and record.is_handed_over and day.routes.of(key.campaign_id, key.channel):
                keys.add(key)
    mine = (key for key in keys if day.only is None or _goes_to(day, key) == day.only)
    return sorted(mine, key=lambda key: key.name)


def _goes_to(day: Day, key: ListKey) -> str | None:
    found = day.routes.of(key.campaign_id, key.channel)
    return found.name if found else None


def sizes_of(day: Day) -> dict[ListKey, int]:
    """How many targets each list of the day has."""
    rows = day.published.query(
        f"select campaign_id, channel, count(*) as n from {OUTCOMES_TABLE} "
        "where as_of_date = cast(? as date) and outcome = 'target' group by campaign_id, channel order by 1, 2",
        [day.run.as_of],
    ).to_pylist()
    return {ListKey(row["campaign_id"], row["channel"], day.run.as_of): row["n"] for row in rows}


def spec_of(day: Day, key: ListKey) -> ListSpec:
    """What the list is made of, from the card, the policy, and what is published."""
    card = day.card(key.campaign_id)
    planned = _is_planned(day, key.campaign_id)
    if card is None and planned:
        raise ContractViolation(Problem(key.list_id(1), "the card of the campaign is gone", "run the day again"))
    channel = next((rules for name, rules in day.targeting.policy.channels.items() if name == key.channel), None)
    if channel is None:
        where = str(day.settings.config_dir / "policy.yml")
        raise ConfigError(Problem(where, f"the channel {key.channel} is gone, and {key.name} uses it", "add it again"))
    tables = day.published.tables()
    return ListSpec(
        key=key,
        list_type=card.list_type if card else "audience",
        destination=day.destination(key).name,
        address=channel.address,
        needs_consent=channel.consent == "required",
        purpose=card.purpose if card else None,
        planned=planned,
        fields=_fields(card, catalogue_of(tables), tables) if card else (),
        offer=card.offer if card else None,
        shows_product=card is not None and card.next_product != "none",
        minor_digits=day.settings.company.currency_minor_digits,
        salt=digest_of([day.settings.salt, "row_hash"]),
        shows_arm=card is not None and bool(card.arms),
        steps=card.series.steps if card and card.series else (),
        defaults=card.merge_defaults if card else {},
    )


def _fields(card: Campaign, catalogue: Catalogue, tables: dict[str, list[tuple[str, str]]]) -> tuple[Field, ...]:
    """The merge fields that come from published tables; the others every list has, or has by its card."""
    names = [name for name in card.merge_fields if name in catalogue]
    managers = (Field(MANAGER, MANAGERS, "VARCHAR"),) if manager_is_known(card.merge_fields, tables) else ()
    found = tuple(
        Field(name, catalogue[name].table, dict(tables.get(catalogue[name].table, ())).get(name, "DOUBLE"))
        for name in names
    )
    return (*found, *managers)


def _is_planned(day: Day, campaign_id: str) -> bool:
    query = f"select 1 from {OUTCOMES_TABLE} where as_of_date = cast(? as date) and campaign_id = ? limit 1"
    return bool(day.published.query(query, [day.run.as_of, campaign_id]).num_rows)
