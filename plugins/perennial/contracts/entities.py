"""The canonical entities: what every source's rows become at the gate, whatever the source calls its columns.

A source maps its columns to these (config/sources.yml); raw tables and dbt's staging models know only these, so a new
source is YAML and no code. Raw tables have, beside the columns here, those of `RAW_COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["text", "integer", "decimal", "rate", "date", "timestamp", "boolean"]
EntityName = Literal[
    "order_lines", "products", "clients", "demographics", "consents", "campaigns", "campaign_contacts", "redemptions",
    "contact_persons", "deals", "agents", "interactions", "message_events", "touches", "spend", "exchange_rates",
]  # fmt: skip

SQL_TYPES: dict[ColumnType, str] = {
    "text": "varchar",
    "integer": "bigint",
    "decimal": "decimal(18,4)",
    "rate": "decimal(18,8)",  # of one currency in another: four places are too few
    "date": "date",
    "timestamp": "timestamp",
    "boolean": "boolean",
}
FRACTIONS: frozenset[ColumnType] = frozenset({"decimal", "rate"})
NUMBERS: frozenset[ColumnType] = FRACTIONS | {"integer"}

# Every raw table carries these behind its own columns. `_line` counts from 1 with the header as line 1; `client_ref`
# is null for guests and in entities without a client. `_version` orders versions of a key within a business date, byte
# by byte and null first, `_deleted` rows are tombstones, which need have nothing but their key. Of two sources for a
# key the smaller `_precedence` is believed, `_extra` is a JSON object of the columns that no contract names.
RAW_COLUMNS: dict[str, str] = {
    "client_ref": "varchar",
    "_source": "varchar",
    "_batch_id": "varchar",
    "_batch_seq": "bigint",
    "_file": "varchar",
    "_line": "bigint",
    "_business_date": "date",
    "_version": "varchar",
    "_deleted": "boolean",
    "_precedence": "integer",
    "_extra": "varchar",
}

LineKind = Literal["sale", "return", "cancellation", "fee", "write_off", "adjustment"]


@dataclass(frozen=True)
class Column:
    """A column of a canonical entity; `personal` columns never reach the published warehouse (L22).

    `added`: raw files exist that were written before the column did. It is null in their rows, and a null in it is no
    part of what a row says (quality.expressions.row_hash), so that those rows are the same rows as before.
    """

    type: ColumnType
    required: bool = False
    personal: bool = False
    added: bool = False


@dataclass(frozen=True)
class Entity:
    """A canonical entity.

    `kind`: documents are replaced whole by a later delivery of the same key, entities are upserted by key, events are
    appended once per key. `key` names the columns that identify a document, an entity or an event.
    """

    name: EntityName
    kind: Literal["documents", "entities", "events"]
    key: tuple[str, ...]
    columns: dict[str, Column] = field(default_factory=dict)


_TEXT, _NEEDED, _PERSONAL = Column("text"), Column("text", required=True), Column("text", personal=True)
_AMOUNT = Column("decimal")
_ADDED_TEXT, _ADDED_AMOUNT = Column("text", added=True), Column("decimal", added=True)

ENTITIES: dict[EntityName, Entity] = {
    entity.name: entity
    for entity in (
        Entity(
            "order_lines",
            "documents",
            ("order_key",),
            {
                "order_key": _NEEDED,
                "client_key": _TEXT,
                "product_key": _NEEDED,
                "ordered_at": Column("timestamp", required=True),  # UTC
                "quantity": Column("decimal", required=True),
                "unit_price": _AMOUNT,
                "amount": _AMOUNT,  # received for the line, net of discounts; else quantity x unit_price
                "discount_amount": _AMOUNT,
                "store_key": _TEXT,
                "product_name": _TEXT,
                "country": _TEXT,
                "line_kind": _NEEDED,  # a LineKind; set by the source's `line_kinds` rules
                "cost_amount": _ADDED_AMOUNT,  # of the goods of the line, signed like quantity
                "unit_cost": _ADDED_AMOUNT,  # else cost is quantity x unit_cost
                "tax_amount": _ADDED_AMOUNT,  # in or on top of amount: Company.prices_include_tax
                "currency": _ADDED_TEXT,  # ISO 4217; the company's when empty
                "sales_channel": _ADDED_TEXT,  # web | shop | phone | ...
                "device": _ADDED_TEXT,  # desktop | mobile | ...
            },
        ),
        Entity(
            "products",
            "entities",
            ("product_key",),
            {
                "product_key": _NEEDED,
                "product_name": _TEXT,
                "department": _TEXT,
                "category": _TEXT,
                "brand": _TEXT,
                "manufacturer_key": _TEXT,
                "package_size": _TEXT,
                "product_line": _ADDED_TEXT,
                "unit_cost": _ADDED_AMOUNT,  # in the company's currency, as list_price
                "list_price": _ADDED_AMOUNT,
                "substitute_group": _ADDED_TEXT,  # products of one group stand in for each other
                "term_days": Column("integer", added=True),  # of a service's term, or how long a consumable lasts
            },
        ),
        Entity(
            "clients",
            "entities",
            ("client_key",),
            {
                "client_key": _NEEDED,
                "first_name": _PERSONAL,
                "last_name": _PERSONAL,
                "email": _PERSONAL,
                "phone": _PERSONAL,
                "birth_date": Column("date", personal=True),
                "signed_up_on": Column("date"),
                "country": _TEXT,
                "client_kind": _TEXT,  # person | household | company; person when absent
                "household_key": _TEXT,  # the source's own key of the household that a person belongs to
                "company_key": _TEXT,  # the client key of the company that a person or branch belongs to
                "company_name": _TEXT,
                "tax_number": _PERSONAL,
                "card_number": _PERSONAL,  # a loyalty card
                "postcode": _PERSONAL,
                "region": _TEXT,
                "line_of_business": _TEXT,
                "revenue_band": _TEXT,  # of a company
                "employees": Column("integer"),
                "sex": _ADDED_TEXT,
            },
        ),
        Entity(
            "contact_persons",
            "entities",
            ("contact_key",),
            {
                "contact_key": _NEEDED,
                "client_key": _NEEDED,  # the company
                "role": _TEXT,  # in the decision: buyer, user, decider, ...
                "first_name": _PERSONAL,
                "last_name": _PERSONAL,
                "email": _PERSONAL,
                "phone": _PERSONAL,
            },
        ),
        Entity(
            "agents",
            "entities",
            ("agent_key",),
            {"agent_key": _NEEDED, "agent_name": _TEXT, "manager": _TEXT, "office": _TEXT},
        ),
        Entity(
            "deals",
            "entities",
            ("deal_key",),
            {
                "deal_key": _NEEDED,
                "client_key": _TEXT,
                "product_key": _TEXT,
                "agent_key": _TEXT,
                "stage": _NEEDED,
                "opened_on": Column("date"),
                "closed_on": Column("date"),
                "amount": _AMOUNT,
                "deal_name": _TEXT,
                "currency": _ADDED_TEXT,  # ISO 4217; the company's when empty
            },
        ),
        Entity(
            "interactions",
            "events",
            ("interaction_key",),
            {
                "interaction_key": _NEEDED,
                "client_key": _NEEDED,
                "interaction_kind": _NEEDED,  # call | visit | email | complaint | support | review | nps | ...
                "channel": _TEXT,
                "happened_at": Column("timestamp", required=True),
                "score": _AMOUNT,  # of a survey, such as NPS
                "order_key": _TEXT,
            },
        ),
        Entity(
            "demographics",
            "entities",
            ("client_key",),
            {
                "client_key": _NEEDED,
                "age_band": _TEXT,
                "income_band": _TEXT,
                "home_ownership": _TEXT,
                "marital_status": _TEXT,
                "household_size": _TEXT,
                "household_type": _TEXT,
                "kids_count": _TEXT,
            },
        ),
        Entity(
            "consents",
            "events",
            ("client_key", "channel", "purpose", "changed_at", "status"),  # two at one moment: the withdrawal wins
            {
                "client_key": _NEEDED,
                "channel": _NEEDED,
                "purpose": _NEEDED,
                "status": _NEEDED,  # granted | withdrawn
                "changed_at": Column("timestamp", required=True),
            },
        ),
        Entity(
            "campaigns",
            "entities",
            ("campaign_key",),
            {
                "campaign_key": _NEEDED,
                "campaign_type": _TEXT,
                "starts_on": Column("date", required=True),
                "ends_on": Column("date"),
            },
        ),
        Entity(
            "campaign_contacts",
            "events",
            ("campaign_key", "client_key"),
            {
                "campaign_key": _NEEDED,
                "client_key": _NEEDED,
                "contacted_on": Column("date", required=True),
                "channel": _TEXT,
            },
        ),
        Entity(
            "redemptions",
            "events",
            ("client_key", "coupon_key", "campaign_key", "redeemed_on"),
            {
                "client_key": _NEEDED,
                "coupon_key": _NEEDED,
                "campaign_key": _TEXT,
                "redeemed_on": Column("date", required=True),
            },
        ),
        Entity(
            "message_events",
            "events",
            ("communication_key", "event_kind", "happened_at"),
            {
                "communication_key": _NEEDED,  # one message to one client, by the id of the tool that sent it
                "client_key": _NEEDED,
                "event_kind": _NEEDED,  # sent | delivered | opened | clicked | replied | bounced | unsubscribed | ...
                "happened_at": Column("timestamp", required=True),
                "channel": _TEXT,
                "campaign_key": _TEXT,
                "message_key": _TEXT,  # the text or creative that was sent
            },
        ),
        Entity(
            "touches",
            "events",
            ("touch_key",),
            {
                "touch_key": _NEEDED,
                "touched_at": Column("timestamp", required=True),
                "client_key": _TEXT,
                "visitor_key": _TEXT,  # who it was before she is known as a client
                "touch_channel": _TEXT,  # search | social | email | direct | ...
                "touch_kind": _TEXT,  # visit | click | call | ...
                "campaign_key": _TEXT,
                "device": _TEXT,
            },
        ),
        Entity(
            "spend",
            "entities",
            ("spent_on", "spend_channel", "campaign_key"),
            {
                "spent_on": Column("date", required=True),
                "spend_channel": _NEEDED,
                "campaign_key": _NEEDED,
                "amount": Column("decimal", required=True),
                "currency": _TEXT,  # ISO 4217; the company's when empty
                "impressions": Column("integer"),
                "clicks": Column("integer"),
            },
        ),
        Entity(
            "exchange_rates",
            "entities",
            ("rate_on", "currency"),
            {
                "rate_on": Column("date", required=True),
                "currency": _NEEDED,  # ISO 4217
                "rate": Column("rate", required=True),  # of the company's currency, for 1 unit of `currency`
            },
        ),
    )
}
