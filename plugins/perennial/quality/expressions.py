"""SQL for a canonical column's value: from the text in the file to the type of the raw table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perennial.contracts.connections import ARRIVAL
from perennial.contracts.entities import ENTITIES, FRACTIONS, SQL_TYPES, ColumnType
from perennial.contracts.sources import FileFormat, LineKindRule, SourceColumn, SourceEntity
from perennial.core.sqltext import literal, literals
from perennial.quality.zones import local_date

_SPACES = "' \t\r\n\u00a0'"  # the characters themselves: DuckDB knows no escape for the last
_HARD_SPACE = "\u00a0"
_ODD_SPACES = "\t\r\n" + _HARD_SPACE
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"
_ISO_TIME = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?" + _OFFSET + "?)?"
_HAS_OFFSET = ":.*" + _OFFSET + "$"
_NUMBER = r"([0-9]{1,20})(\.[0-9]{1,18})?"
_VERSION_DIGITS = 20
_UTC = "timezone('UTC', {})"


def text_of(name: str, column: SourceColumn, *, odd_spaces: bool, is_plain: bool = False) -> str:
    """The value as text: transformed, and null when nothing is left of it.

    Most values have no space at their ends, which takes less time to see than to trim them. Without tabs and hard
    spaces in the files the plain trim is enough; in plain ones, without blanks and quotation marks, there is nothing
    to trim and no empty text.
    """
    ends = [" ", *(_ODD_SPACES if odd_spaces else "")]
    at_ends = " or ".join([f"{name} < '!'", *(f"ends_with({name}, {literal(one)})" for one in ends)])
    at_ends += f" or starts_with({name}, {literal(_HARD_SPACE)})" if odd_spaces else ""
    trimmed = f"trim({name}, {_SPACES})" if odd_spaces else f"trim({name})"
    stripped = f"case when {at_ends} then nullif({trimmed}, '') else {name} end"
    if is_plain:
        stripped = name
    done = {
        "none": name if is_plain else f"nullif({name}, '')",
        "strip": stripped,
        "upper": f"upper({stripped})",
        "lower": f"lower({stripped})",
    }
    return _mapped(done[column.transform], column.map)


def typed_quickly(name: str, column: SourceColumn, kind: ColumnType, form: FileFormat) -> str | None:
    """SQL for the usual forms of a value as it stands in the file, null for all others, which `typed` then judges.

    It takes nothing that `typed` does not take. None where there is no such short way.
    """
    if column.map:
        return None
    if kind in FRACTIONS and form.decimal == "." and form.thousands is None:
        return f"try_cast({name} as {SQL_TYPES[kind]})"
    starts = f"{name} >= '0' and {name} < ':'"
    if kind == "date" and form.date_format is None:
        whole = f"{starts} and strlen({name}) = 10 and right({name}, 1) >= '0'"
        return f"case when {whole} then try_strptime({name}, '%Y-%m-%d')::date end"
    if kind == "timestamp" and form.timestamp_format is None:
        zulu = f"{starts} and strlen({name}) = 20 and ends_with({name}, 'Z')"
        found = f"when {zulu} then try_strptime({name}, '%Y-%m-%dT%H:%M:%SZ')"
        if form.timestamps_in == "UTC":
            plain = f"try_strptime(replace({name}, ' ', 'T') || 'Z', '%Y-%m-%dT%H:%M:%SZ')"
            found += f" when {starts} and strlen({name}) = 19 then {plain}"
        return f"case {found} end"
    return None


def _mapped(text: str, words: Mapping[str, str]) -> str:
    """The contract's word for a value; what it does not name stays, and what it maps to nothing is null."""
    if not words:
        return text
    pairs = "".join(f" when {literal(key)} then {literal(value)}" for key, value in words.items())
    return f"nullif(case {text}{pairs} else {text} end, '')"


def typed(text: str, kind: ColumnType, form: FileFormat) -> str:
    """The text as the column's type, null where it is not one. Timestamps are UTC without a zone."""
    if kind in FRACTIONS:
        return _fraction(text, kind, form)
    if kind == "integer":
        number = f"try_cast({_ungrouped(text, form)} as bigint)"
        return f"case when regexp_full_match({text}, {literal(_whole(form))}) then {number} end"
    if kind == "date":
        return _date(text, form)
    if kind == "timestamp":
        return _timestamp(text, form)
    if kind == "boolean":
        return f"try_cast({text} as boolean)"
    return text


def _fraction(text: str, kind: ColumnType, form: FileFormat) -> str:
    wanted = SQL_TYPES[kind]
    if form.thousands is not None:
        pattern = f"{_whole(form)}({re.escape(form.decimal)}[0-9]*)?"
        plain = f"replace({_ungrouped(text, form)}, {literal(form.decimal)}, '.')"
        return f"case when regexp_full_match({text}, {literal(pattern)}) then try_cast({plain} as {wanted}) end"
    if form.decimal == ".":
        return f"try_cast({text} as {wanted})"
    return f"case when not contains({text}, '.') then try_cast(replace({text}, ',', '.') as {wanted}) end"


def _whole(form: FileFormat) -> str:
    """RE2 of a whole number: without separators, or with one before each group of three digits."""
    if form.thousands is None:
        return "[+-]?[0-9]+"
    return f"[+-]?([0-9]+|[0-9]{{1,3}}({_separators(form)}[0-9]{{3}})+)"


def _separators(form: FileFormat) -> str:
    """RE2 of the separator of thousands: a blank is also one of those that do not break, an apostrophe also a curly."""
    alike = {" ": "[ \u00a0\u202f]", "'": "['\u2019]"}
    return alike.get(form.thousands or "", re.escape(form.thousands or ""))


def _ungrouped(text: str, form: FileFormat) -> str:
    return text if form.thousands is None else f"regexp_replace({text}, {literal(_separators(form))}, '', 'g')"


def _date(text: str, form: FileFormat) -> str:
    if form.date_format:
        return f"cast({_strptime(text, form.date_format)} as date)"
    return f"case when length({text}) = 10 and {text}[5] = '-' and {text}[8] = '-' then try_cast({text} as date) end"


def _strptime(text: str, codes: str) -> str:
    """`infinity` and `epoch` are times to DuckDB, whatever the format."""
    return f"case when regexp_matches({text}, '[0-9]') then try_strptime({text}, {literal(codes)}) end"


def _timestamp(text: str, form: FileFormat) -> str:
    zone = literal(form.timestamps_in)
    if form.timestamp_format:
        parsed = _strptime(text, form.timestamp_format)
        zoned = "%z" in form.timestamp_format or "%Z" in form.timestamp_format
        return _UTC.format(parsed if zoned else f"timezone({zone}, {parsed})")
    with_offset = _UTC.format(f"try_cast({text} as timestamptz)")  # the session's zone is UTC
    local = _UTC.format(f"timezone({zone}, try_cast({text} as timestamp))")
    if form.timestamps_in != "UTC":
        with_offset = f"case when regexp_matches({text}, {literal(_HAS_OFFSET)}) then {with_offset} else {local} end"
    return f"case when regexp_full_match({text}, {literal(_ISO_TIME)}) then {with_offset} end"


def business_date(contract: SourceEntity, zone: str) -> str:
    """The business date of a row: the file name's, or its column's date in the company's zone."""
    if contract.business_date == "{date}":
        return "file_date"
    return date_of(contract, contract.business_date, zone)


def date_of(contract: SourceEntity, name: str, zone: str) -> str:
    """The date of a date column, or of a timestamp column in the company's zone."""
    if ENTITIES[contract.entity].columns[name].type == "timestamp":
        return local_date(zone, name)
    return name


def line_kind(contract: SourceEntity) -> str:
    """The kind of an order line: that of the first rule that matches, else the contract's default."""
    tests = "".join(
        f" when coalesce({_matches(rule)}, false) then {literal(rule.kind)}" for rule in contract.line_kinds
    )
    default = literal(contract.default_line_kind)
    return f"case{tests} else {default} end" if tests else default


def _matches(rule: LineKindRule) -> str:
    if rule.starts_with is not None:
        return f"starts_with({rule.column}, {literal(rule.starts_with)})"
    if rule.one_of is not None:
        return f"{rule.column} in ({literals(rule.one_of)})"
    return f"{rule.column} < {rule.below!r}"


def amount(contract: SourceEntity) -> str:
    """The amount of an order line: as delivered, else quantity x unit price, exactly."""
    if "unit_price" not in contract.columns:
        return "given_amount"
    product = "cast(quantity as decimal(19,4)) * cast(unit_price as decimal(19,4))"
    whole, price = "try_cast(quantity as decimal(5,0))", "try_cast(unit_price as decimal(13,4))"
    computed = (  # the usual case fits into 64 bits, which takes a thirtieth of the time
        f"case when {whole} = quantity and {price} is not null then {whole} * {price} "
        f"else try_cast({product} as {SQL_TYPES['decimal']}) end"
    )
    return f"coalesce(given_amount, {computed})" if "amount" in contract.columns else computed


def version(contract: SourceEntity) -> str:
    """The version as a text whose order, byte by byte, is that of the versions; null is the oldest.

    Whole numbers and numbers with a point get zeros in front, times become UTC; anything else is compared as it is.
    """
    if contract.version is None:
        return "null::varchar"
    text = f"nullif(trim(version, {_SPACES}), '')"
    number = f"regexp_full_match({text}, {literal(_NUMBER)})"
    fraction = f"rtrim(regexp_extract({text}, {literal(_NUMBER)}, 2), '.0')"
    padded = f"lpad(ltrim(regexp_extract({text}, {literal(_NUMBER)}, 1), '0'), {_VERSION_DIGITS}, '0')"
    padded = f"{padded} || case when {fraction} = '' then '' else {fraction} end"
    form = contract.format.model_copy(update={"timestamp_format": None})
    time = _timestamp(text, form)
    is_time = f"regexp_full_match({text}, {literal(_ISO_TIME)}) and {time} is not null"
    return f"case when {number} then {padded} when {is_time} then ({time})::varchar else {text} end"


def is_deleted(contract: SourceEntity) -> str:
    """Whether the row is a tombstone: its column has one of the contract's values, whatever their case."""
    if contract.deleted is None:
        return "false"
    return (
        f"coalesce(lower(trim(deleted, {_SPACES})) in ({literals(v.lower() for v in contract.deleted.values)}), false)"
    )


def row_hash(contract: SourceEntity, *, version: str = "version", is_deleted: str = "is_deleted", of: str = "") -> str:
    """SQL for what a row says, to compare it with others: the same over `checked` and over raw, whose names differ.

    The md5 of the canonical columns in their order, version and tombstone behind them; null and '' differ.

    An order of arrival is no part of it: an event that is delivered again says nothing new. Nor is a null in a column
    that was added later: digests that were kept (quality.repeats) stay those of their rows.
    """
    columns = ENTITIES[contract.entity].columns
    names = [f"{of}{name}" for name, column in columns.items() if not column.added]
    names += [version] if contract.version and contract.version != ARRIVAL else []
    names += [is_deleted] if contract.deleted else []
    said = [f"coalesce({name}::varchar, chr(30))" for name in names]
    said += [f"{literal(f'{name}=')} || {of}{name}::varchar" for name, column in columns.items() if column.added]
    return f"md5(concat_ws(chr(31), {', '.join(said)}))"  # which leaves nulls out
