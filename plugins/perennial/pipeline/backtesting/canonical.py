"""From the rows of a data set to canonical order lines: one Parquet file to land, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from perennial.contracts.backtests import DataSet
from perennial.core.errors import BatchRefused, Problem
from perennial.core.sqltext import identifier, literal
from perennial.pipeline.backtesting.moments import Moments, moments_of
from perennial.pipeline.backtesting.reading import Given, Place, actual, is_number

NO_PRODUCT = "-"
_MAX_AMOUNT = 1e12
_MARGIN_DAYS, _SPREADS = 730, 5  # a time so far beyond the middle half of all is a slip of the pen


@dataclass(frozen=True)
class Canonical:
    """What was landed: the first and last day, and what the report says of the data."""

    first_day: date
    last_day: date
    moments: Moments
    has_amounts: bool
    has_products: bool
    counts: dict[str, int]
    notes: tuple[str, ...]


def write_lines(given: Given, dataset: DataSet, where: Place, target: Path) -> Canonical:
    """Write the canonical lines of `given` to a Parquet file.

    Rows without a client, a time or an amount that can be read are left out and counted, and so are times that lie
    years apart from all others. Raises BatchRefused when nothing is left.
    """
    moments = moments_of(given, dataset, where)
    given.connection.execute(f"create view timed as select {_columns(given, dataset, moments)} from given")
    problems = {
        "rows without a client": "client_key is null",
        "rows without a time that can be read": "client_key is not null and ordered_at is null",
        "rows without an amount that can be read": (
            "client_key is not null and ordered_at is not null and amount is null"
        ),
    }
    counted = ", ".join(f"count(*) filter (where {test})" for test in problems.values())
    whole, *left_out = given.rows(f"select count(*), {counted} from timed")[0]
    counts = {**given.counts, **{name: n for name, n in zip(problems, left_out, strict=True) if n}}
    if whole == sum(left_out):
        said = f"of {whole:,} rows none has a client, a time and an amount"
        raise BatchRefused(Problem(where("columns"), said, "see that the columns are the right ones, and the filters"))
    sound = "client_key is not null and ordered_at is not null and amount is not null"
    low, high = _bounds(given, sound)
    sound = f"{sound} and ordered_at between timestamp '{low}' and timestamp '{high}'"
    order, notes = _order(given, dataset, sound)
    given.connection.execute(_copy(sound, order, target))
    first, last, lines, clients, orders, days, negative = given.rows(_SUMMARY.format(literal(str(target))))[0]
    if far := whole - sum(left_out) - lines:
        counts["rows with a time years apart from all others"] = far
    counts |= {"lines": lines, "clients": clients, "orders": orders}
    if negative:
        notes.append(f"{negative:,} lines with a negative quantity or amount are taken for returns")
    notes += _warnings(first, last, days)
    return Canonical(
        first, last, moments, _has_amounts(dataset), dataset.columns.product is not None, counts, tuple(notes)
    )


_SUMMARY = """
    select min(ordered_at)::date, max(ordered_at)::date, count(*), count(distinct client_key),
        count(distinct order_key), count(distinct ordered_at::date), count(*) filter (where quantity < 0)
    from read_parquet({})
"""


def _has_amounts(dataset: DataSet) -> bool:
    return dataset.columns.amount is not None or dataset.columns.price is not None


def _warnings(first: date, last: date, days: int) -> list[str]:
    """What a reader should know of the span."""
    span = (last - first).days + 1
    found = []
    if days < span / 2:
        found.append(f"only {days:,} of {span:,} days have a purchase")
    return found


def _columns(given: Given, dataset: DataSet, moments: Moments) -> str:
    named = dataset.columns
    quantity = _number(given, dataset, named.quantity) if named.quantity else "1.0"
    if named.amount:
        amount = _number(given, dataset, named.amount)
    elif named.price:
        amount = f"({quantity} * {_number(given, dataset, named.price)})"
    else:
        amount = f"(case when {quantity} < 0 then -1.0 else 1.0 end)"
    return f"""
        {_key(given, named.client)} as client_key,
        {_key(given, named.order) if named.order else "null"} as given_order,
        {_key(given, named.product) if named.product else "null"} as product_key,
        {_key(given, named.product_name) if named.product_name else "null"} as product_name,
        {moments.sql} as ordered_at,
        {quantity} as quantity,
        case when abs({amount}) < {_MAX_AMOUNT} then {amount} end as amount
    """


def _key(given: Given, name: str | None) -> str:
    """A key as text: whole numbers without a decimal point, texts without blanks around, empty ones null."""
    column = actual(given.columns, str(name))
    kind = given.columns[column].upper()
    quoted = identifier(column)
    if kind.startswith(("DOUBLE", "FLOAT", "DECIMAL")):  # 17850.0 of a file in which some clients are unknown
        whole = f"{quoted} = floor({quoted}) and abs({quoted}) < 1e18"
        return f"case when {whole} then cast(cast({quoted} as bigint) as varchar) else cast({quoted} as varchar) end"
    return f"nullif(trim(cast({quoted} as varchar)), '')"


def _number(given: Given, dataset: DataSet, name: str | None) -> str:
    column = actual(given.columns, str(name))
    quoted, written = identifier(column), dataset.format
    if is_number(given.columns[column]):
        number = f"cast({quoted} as double)"
    else:
        text = f"trim(cast({quoted} as varchar))"
        if written.thousands:
            text = f"replace({text}, {literal(written.thousands)}, '')"
        if written.decimal == ",":
            text = f"replace({text}, ',', '.')"
        text = f"regexp_replace({text}, '^([-+]?)\\s*[$£€]\\s*|\\s*[$£€]$', '\\1')"
        number = f"try_cast({text} as double)"
    return f"(case when isfinite({number}) then {number} end)"


def _bounds(given: Given, sound: str) -> tuple[str, str]:
    """The moments between which a time is believed: the middle half of all, five of its lengths and two years more."""
    quarters = "quantile_disc(epoch(ordered_at), 0.25), quantile_disc(epoch(ordered_at), 0.75)"
    first, third = given.rows(f"select {quarters} from timed where {sound}")[0]
    margin = _SPREADS * (third - first) + _MARGIN_DAYS * 86_400
    low, high = given.rows(
        "select to_timestamp(greatest(?, -2208988800))::timestamp::varchar, "
        "to_timestamp(least(?, 4102444800))::timestamp::varchar",
        [first - margin, third + margin],
    )[0]
    return low, high


def _order(given: Given, dataset: DataSet, sound: str) -> tuple[str, list[str]]:
    """SQL of the order's key: the files' own where it names one purchase of one client, else made so."""
    by_day = "client_key || '|' || strftime(ordered_at, '%Y-%m-%d')"
    if dataset.columns.order is None:
        return by_day, ["no column of orders: one order per client and day"]
    of_many, long, without = given.rows(f"""
        select count(*) filter (where first <> last), count(*) filter (where longest > 1), sum(nameless)
        from (
            select min(client_key) as first, max(client_key) as last, 0 as nameless,
                date_diff('day', min(ordered_at), max(ordered_at)) as longest
            from timed where {sound} and given_order is not null group by given_order
            union all
            select null, null, count(*), 0 from timed where {sound} and given_order is null
        )
    """)[0]
    notes = []
    key = "given_order"
    if long:
        key += " || '|' || strftime(ordered_at, '%Y-%m-%d')"
        notes.append(f"{long:,} orders lie on several days: each day of theirs is an order")
    if of_many:
        key += " || '|' || client_key"
        notes.append(f"{of_many:,} orders belong to several clients: each client's part is an order")
    if without:
        notes.append(f"{without:,} lines without an order: one order per client and day")
    return f"coalesce({key}, {by_day})", notes


def _copy(sound: str, order: str, target: Path) -> str:
    is_return = "quantity < 0 or amount < 0"
    return f"""
        copy (
            select {order} as order_key, client_key, coalesce(product_key, {literal(NO_PRODUCT)}) as product_key,
                product_name, ordered_at,
                cast(case when {is_return} then -greatest(abs(coalesce(quantity, 1)), 0.0001)
                    else least(coalesce(quantity, 1), 1e12) end as decimal(18, 4)) as quantity,
                cast(case when {is_return} then -abs(amount) else amount end as decimal(18, 4)) as amount
            from timed
            where {sound}
        ) to {literal(str(target))} (format parquet, compression zstd)
    """
