"""The rows of one list in SQL: who is wanted, who is on it, what may be sent to whom, and with which fields.

One statement per list, over the published tables and these temporary relations of delivery:
`d_consent (client_id, channel, purpose, status)`, `d_contacts (client_id, first_name, email, phone, ...)`,
`d_current (client_id, row_hash, added_on)`: who is on the list now (of a send list: who got it on its date).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from perennial.contracts.schedules import DefaultValue, Offer, Step
from perennial.core.sqltext import identifier, literal
from perennial.delivery.managers import MANAGERS, managers_join
from perennial.delivery.records import FIRST_COLUMNS, HASH_COLUMN, ListKey, ListType

CONSENT, CONTACTS, CURRENT, DESIRED, ROWS = "d_consent", "d_contacts", "d_current", "d_desired", "d_rows"
# What every list has by itself, whether a card names it as a merge field or not.
_OWN = (
    "client_key",
    "email",
    "phone",
    "first_name",
    "step",
    "message",
    "offer_text",
    "offer_code",
    "valid_until",
    "value",
    HASH_COLUMN,
)
_MONEY = ("revenue_", "average_order", "spend_", "value_")
_PREFIX = "f_"  # keeps a merge field's name apart from those of the statement
_KEPT_OF_A_REMOVAL = ("client_key", "email", "phone")

_ATOM = r'[^@\s\p{C}",;:<>()\[\]\\]'
_EMAIL = rf"{_ATOM}{{1,64}}@({_ATOM[:-1]}.]+\.)+{_ATOM[:-1]}.]{{2,63}}"
_PHONE = r"\+[0-9]{7,15}"


@dataclass(frozen=True)
class Field:
    """A merge field: a column of a published table, or a score (`table` client_scores)."""

    name: str
    table: str
    sql_type: str


@dataclass(frozen=True)
class ListSpec:
    """What one list is made of.

    `planned` False: an audience whose campaign has no outcome on the date; it stays as it is, but for withdrawals.
    `purpose` None: the card is gone, and a withdrawal for whatever purpose counts. `steps`: of a series, each with its
    message and offer; `defaults`: by the card, for merge fields that a client has no value of.
    """

    key: ListKey
    list_type: ListType
    destination: str
    address: Literal["email", "phone", "none"]
    needs_consent: bool
    purpose: str | None
    planned: bool
    fields: tuple[Field, ...]
    offer: Offer | None
    shows_product: bool
    minor_digits: int
    salt: str
    shows_arm: bool = False  # the card has versions: which one a client gets
    steps: tuple[Step, ...] = ()
    defaults: Mapping[str, DefaultValue] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """The list's date as an SQL literal."""
        return f"date {literal(self.key.as_of.isoformat())}"


def columns(spec: ListSpec) -> list[tuple[str, str]]:
    """Name and SQL of the list's own columns, between client_id and action before them and value behind them."""
    found = [("client_key", "k.client_key")]
    if spec.address != "none":
        found.append((spec.address, f"t.{spec.address}"))
    found.append(("first_name", _or_default("nullif(trim(t.first_name), '')", "first_name", spec, "t.first_name")))
    found += [(field.name, _field(field, spec)) for field in spec.fields if field.name not in (*_OWN, *FIRST_COLUMNS)]
    if spec.shows_arm:
        found.append(("arm", "w.arm"))
    if spec.shows_product:
        found.append(("next_product", _or_default("w.next_product", "next_product", spec)))
    if spec.steps:
        found += [
            ("step", "w.series_step"),
            ("message", _by_step(spec, {step.id: literal(step.message) for step in spec.steps})),
        ]
    return [*found, *_offer(spec)]


def _or_default(column: str, name: str, spec: ListSpec, plain: str | None = None) -> str:
    """The column, or the card's default where the client has no value (L19); `plain` when there is no default."""
    if name not in spec.defaults:
        return plain or column
    value = spec.defaults[name]
    return f"coalesce({column}, {literal(value) if isinstance(value, str) else repr(value)})"


def _by_step(spec: ListSpec, terms: Mapping[str, str]) -> str:
    whens = " ".join(f"when {literal(step.id)} then {terms[step.id]}" for step in spec.steps)
    return f"case w.series_step {whens} end"


def _field(field: Field, spec: ListSpec) -> str:
    column = _or_default(f"{field.table}.{identifier(field.name)}", field.name, spec)
    if field.name.startswith(_MONEY):
        return f"cast(round({column}, {spec.minor_digits}) as decimal(18, {spec.minor_digits}))"
    if field.table == "client_scores":
        return f"round({column}, 4)"
    return f"cast({column} as double precision)" if field.sql_type.upper().startswith("DECIMAL") else column


def _offer(spec: ListSpec) -> list[tuple[str, str]]:
    """The offer's columns; of a series those of each step's own offer, else the card's."""
    names = ("offer_text", "offer_code", "valid_until")
    if not any(step.offer for step in spec.steps):
        return list(zip(names, _offer_sql(spec, spec.offer), strict=True))
    offers = {step.id: _offer_sql(spec, step.offer or spec.offer) for step in spec.steps}
    return [(name, _by_step(spec, {step: sql[at] for step, sql in offers.items()})) for at, name in enumerate(names)]


def _offer_sql(spec: ListSpec, offer: Offer | None) -> tuple[str, str, str]:
    code = literal(offer.code) if offer and offer.code else "cast(null as varchar)"
    days = offer.valid_days if offer else None
    # Of an audience the offer ends so many days after the client came in, not after today's look at the list.
    until = f"cast(coalesce(w.added_on, {spec.day}) + {days} as date)" if days else "cast(null as date)"
    text = literal(offer.text) if offer else "cast(null as varchar)"
    return text, code, until


def desired_sql(spec: ListSpec) -> str:
    """Who ought to have the list: (client_id, value, next_product, arm, series_step)."""
    step = "series_step" if spec.steps else "'' as series_step"
    if not spec.planned:
        return (
            "select client_id, cast(null as double precision) as value, '' as next_product, '' as arm, "
            f"'' as series_step from {CURRENT}"
        )
    return f"""
select client_id, value, next_product, arm, {step}
from campaign_outcomes
where as_of_date = {spec.day} and campaign_id = {literal(spec.key.campaign_id)}
    and channel = {literal(spec.key.channel)} and outcome = 'target'
"""


def rows_sql(spec: ListSpec) -> str:
    """One row per client: outcome (add, update, remove, rejected, skipped), reason, and the list's own columns."""
    own = columns(spec)
    names = [identifier(_PREFIX + name) for name, _ in own]
    address = "cast(null as varchar)" if spec.address == "none" else f"nullif(trim(t.{spec.address}), '')"
    return f"""
with {_wanted_cte(spec)},
{_consent_ctes(spec)},
filled as (
    select
        w.*,
        coalesce(s.is_withdrawn or s.is_suppressed, false) as is_withdrawn,
        coalesce(s.is_suppressed and not s.is_withdrawn, false) as is_suppressed,
        {"coalesce(s.is_granted, false)" if spec.needs_consent and spec.planned else "true"} as is_granted,
        {address} as address,
        {", ".join(f"{sql} as {name}" for name, (_, sql) in zip(names, own, strict=True))}
    from wanted as w
    left join consent as s on s.client_id = w.client_id
    left join dim_clients as k on k.client_id = w.client_id
    left join {CONTACTS} as t on t.client_id = w.client_id
    {_joins(spec)}
),
hashed as (
    select
        *,
        {_hash(spec, names)} as new_hash,
        {_address_problem(spec)} as problem,
        not is_withdrawn and is_granted as is_permitted
    from filled
),
reachable as (
    select *, is_wanted and (is_on_list or (is_permitted and problem is null)) as is_reachable
    from hashed
),
placed as (
    select
        *,
        row_number() over (
            partition by lower(address), is_reachable
            order by is_on_list desc, value desc nulls last, client_id
        ) as place
    from reachable
),
judged as (
    select *, {_verdict(spec)} as verdict
    from placed
)
select
    client_id,
    split_part(verdict, ' ', 1) as outcome,
    nullif(split_part(verdict, ' ', 2), '') as reason,
    is_on_list,
    is_withdrawn as is_urgent,
    coalesce(added_on < {spec.day}, false) as is_from_before,
    {", ".join(names)},
    value,
    case when verdict = 'remove' then old_hash else new_hash end as {HASH_COLUMN}
from judged
"""


def _wanted_cte(spec: ListSpec) -> str:
    return f"""wanted as (
    select
        coalesce(d.client_id, c.client_id) as client_id,
        d.client_id is not null as is_wanted,
        c.client_id is not null as is_on_list,
        c.row_hash as old_hash,
        c.added_on,
        d.value,
        d.next_product,
        d.arm,
        d.series_step
    from {DESIRED} as d
    {"full" if spec.list_type == "audience" else "left"} join {CURRENT} as c on c.client_id = d.client_id
)"""


def _consent_ctes(spec: ListSpec) -> str:
    """What the client said of this channel and purpose; what she said of `all` counts where she said nothing of it.

    A suppression (status `suppressed`) counts whatever she said.
    """
    channel = literal(spec.key.channel)
    purposes = "true" if spec.purpose is None else f"purpose in ({literal(spec.purpose)}, 'all')"
    exact = "false" if spec.purpose is None else f"channel = {channel} and purpose = {literal(spec.purpose)}"
    return f"""
said as (
    select client_id, status, {exact} as is_exact
    from {CONSENT}
    where channel in ({channel}, 'all') and {purposes}
),
consent as (
    select
        client_id,
        coalesce(
            bool_or(status = 'withdrawn') filter (where is_exact), bool_or(status = 'withdrawn')
        ) as is_withdrawn,
        bool_or(status = 'suppressed') as is_suppressed,
        coalesce(bool_or(status = 'granted') filter (where is_exact), false) as is_granted
    from said
    group by client_id
)"""


def _joins(spec: ListSpec) -> str:
    tables = {field.table for field in spec.fields}
    joins = []
    if MANAGERS in tables:
        joins.append(managers_join())
    for table in sorted(tables - {"client_scores", "dim_clients", MANAGERS}):
        on = f"{table}.client_id = w.client_id and {table}.as_of_date = {spec.day}"
        joins.append(f"left join {table} on {on}")
    if "dim_clients" in tables:
        joins.append("left join dim_clients on dim_clients.client_id = w.client_id")
    scores = [field.name for field in spec.fields if field.table == "client_scores"]
    if scores:
        values = ", ".join(f"max(value) filter (where score = {literal(s)}) as {identifier(s)}" for s in scores)
        pivot = f"select client_id, {values} from client_scores where as_of_date = {spec.day} group by client_id"
        joins.append(f"left join ({pivot}) as client_scores on client_scores.client_id = w.client_id")
    return "\n    ".join(joins)


def _hash(spec: ListSpec, names: list[str]) -> str:
    """Salted, so that nobody finds an address by trying; without `value`, which orders a list and is no news in it."""
    parts = ", ".join(f"coalesce(cast({name} as varchar), chr(30))" for name in names)
    return f"md5(concat_ws(chr(31), {literal(spec.salt)}, {parts}))"


def _address_problem(spec: ListSpec) -> str:
    if spec.address == "none":
        return "cast(null as varchar)"
    pattern = literal(_EMAIL if spec.address == "email" else _PHONE)
    good = f"length(address) <= 254 and regexp_full_match(address, {pattern})"
    return f"case when address is null then 'no_{spec.address}' when not ({good}) then 'bad_{spec.address}' end"


def _verdict(spec: ListSpec) -> str:
    shared = "" if spec.address == "none" else "when is_reachable and place > 1 then 'rejected shared_address'"
    on_list = "when is_on_list then 'skipped already_sent'"
    if spec.list_type == "audience":
        on_list = "when is_on_list and not (is_wanted and is_permitted) then 'remove'"
    standing = "" if spec.planned else "when is_on_list then 'skipped unchanged'"
    return f"""case
        {on_list}
        {standing}
        when is_suppressed then 'skipped suppressed'
        when is_withdrawn then 'skipped consent_withdrawn'
        when not is_granted then 'skipped no_consent'
        when problem is not null then 'rejected ' || problem
        {shared}
        when not is_on_list then 'add'
        when old_hash = new_hash then 'skipped unchanged'
        else 'update'
    end"""


def changes_sql(spec: ListSpec) -> str:
    """The rows that are handed over, in their final order; of a removal only what names the client."""
    own = ", ".join(f"{_of_a_change(name)} as {identifier(name)}" for name, _ in columns(spec))
    digits = spec.minor_digits
    value = f"cast(round(case when outcome <> 'remove' then value end, {digits}) as decimal(18, {digits})) as value"
    return f"""
select client_id, outcome as action, {own}, {value}, {HASH_COLUMN}
from {ROWS}
where outcome in ('add', 'update', 'remove')
order by case when outcome <> 'remove' then {ROWS}.value end desc nulls last, client_id
"""


def _of_a_change(name: str) -> str:
    column = identifier(_PREFIX + name)
    return column if name in _KEPT_OF_A_REMOVAL else f"case when outcome <> 'remove' then {column} end"
