"""The canonical entities: what every source's rows become at the gate, whatever the source calls its columns.

A source maps its columns to these (config/sources.yml); raw tables and dbt's staging models know only these, so a new
source is YAML and no code. Raw tables have, beside the columns here, those of `RAW_COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["text", "integer", "decimal", "date", "timestamp", "boolean"]
EntityName = Literal[
    "order_lines", "products", "clients", "demographics", "consents", "campaigns", "campaign_contacts", "redemptions",
    "contact_persons", "deals", "agents", "interactions",
]  # fmt: skip

SQL_TYPES: dict[ColumnType, str] = {
    "text": "varchar",
    "integer": "bigint",
    "decimal": "decimal(18,4)",
    "date": "date",
    "timestamp": "timestamp",
    "boolean": "boolean",
}

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
    """A column of a canonical entity; `personal` columns never reach the published warehouse (L22)."""

    type: ColumnType
    required: bool = False
    personal: bool = False


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
    )
}
