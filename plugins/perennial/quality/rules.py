"""What may be wrong with a row, derived from the contract: a rule id, its SQL, and how it is said to a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from perennial.contracts.entities import ENTITIES, FRACTIONS, SQL_TYPES, ColumnType
from perennial.contracts.sources import Reference, SourceColumn, SourceEntity
from perennial.core.sqltext import literal, literals
from perennial.quality import expressions

# Dates that are plans: they lie in the future by nature.
_PLANS = frozenset({("campaigns", "starts_on"), ("campaigns", "ends_on")})
_A_VALUE_OF: dict[ColumnType, str] = {
    "decimal": "a number",
    "rate": "a number",
    "integer": "a whole number",
    "date": "a date",
    "timestamp": "a time",
    "boolean": "yes or no",
    "text": "a text",
}
STRUCTURE = "structure"
NEVER = "false"  # the test of a rule that no single row breaks
_AT_THE_SOURCE = "correct it at the source and land the file again"


@dataclass(frozen=True)
class Rule:
    """A rule over the columns of one row.

    `test` is SQL that is true for a bad row. `message` is SQL for what is said of it. A `warn` rule only counts.
    """

    id: str
    column: str
    test: str
    message: str
    fix: str = _AT_THE_SOURCE
    only_warns: bool = False


def rules_of(contract: SourceEntity, zone: str) -> list[Rule]:
    """All rules of the contract that look at one row, in the order of the canonical columns."""
    rules = [rule for name in ENTITIES[contract.entity].columns for rule in _column_rules(contract, name, zone)]
    return [*rules, *_reference_rules(contract)]


def key_rule(contract: SourceEntity) -> Rule:
    """An entity's key twice in one file with different content: nobody can say which of the rows is right."""
    key = ENTITIES[contract.entity].key
    said = literal(f"{' and '.join(_in_file(contract, name) for name in key)} stands twice in this file, and differs")
    return Rule(f"key:{','.join(key)}", key[0], "false", said, "send one row for each key")


def structure_message(kind: str) -> str:
    """SQL for what is said of a line that is no row of its file's shape, from DuckDB's kind of error."""
    return (
        f"case {kind} when 'MISSING COLUMNS' then 'the line has too few columns' "
        f"when 'TOO MANY COLUMNS' then 'the line has too many columns' "
        f"when 'UNQUOTED VALUE' then 'a quotation mark is opened and not closed, or stands inside a value' "
        f"when 'LINE SIZE OVER MAXIMUM' then 'the line is longer than can be read' "
        f"else 'the line cannot be read: ' || case when {kind} = upper({kind}) then lower({kind}) else {kind} end end"
    )


def structure_fix(kind: str) -> str:
    """SQL for what to do about such a line: DuckDB's kinds are of CSV, others are said by the format's own reader."""
    return f"case when {kind} = upper({kind}) then {literal(_QUOTE)} else {literal(_AT_THE_SOURCE)} end"


_QUOTE = "quote values that hold the delimiter or a quotation mark, and land the file again"


def _column_rules(contract: SourceEntity, name: str, zone: str) -> Iterator[Rule]:
    kind, column = ENTITIES[contract.entity].columns[name], contract.columns.get(name)
    if column is not None:
        required = (kind.required if column.required is None else column.required) or name == contract.business_date
        if required or (contract.entity, name) == ("order_lines", "amount"):
            yield _rule(contract, "required", name, f"text_{name} is null and {name} is null", "is empty")
        if kind.type != "text":
            value = "given_amount" if name == "amount" and contract.entity == "order_lines" else name
            said = f"is not {_A_VALUE_OF[kind.type]}{_format_hint(contract, kind.type)}"
            yield _rule(contract, "type", name, f"text_{name} is not null and {value} is null", said)
        yield from _value_rules(contract, name, column, zone)
    elif (contract.entity, name) == ("order_lines", "amount"):
        yield _computed_amount_rule(contract)
    if name == "quantity" and contract.entity == "order_lines":
        yield _negative_rule(contract)
    if column is not None and kind.type in {"date", "timestamp"} and (contract.entity, name) not in _PLANS:
        yield _future_rule(contract, name, zone)


def _value_rules(contract: SourceEntity, name: str, column: SourceColumn, zone: str) -> Iterator[Rule]:
    bounds = [
        _bound(contract, name, test, bound, zone)
        for test, bound in (("<", column.min), (">", column.max))
        if bound is not None
    ]
    if bounds:
        said = f"lies outside {_plain(column.min)} .. {_plain(column.max)}"
        yield _rule(contract, "range", name, " or ".join(bounds), said)
    if column.allowed is not None:
        said = f"is none of {', '.join(column.allowed)}"
        yield _rule(contract, "allowed", name, f"{name} not in ({literals(column.allowed)})", said)
    if column.pattern is not None:
        test = f"not regexp_full_match({name}, {literal(column.pattern)})"
        yield _rule(contract, "pattern", name, test, f"does not have the form {column.pattern}")


def _plain(bound: float | str | None) -> str:
    """The bound as a person wrote it: a whole number without `.0`."""
    return "" if bound is None else str(int(bound) if isinstance(bound, float) and bound.is_integer() else bound)


def _bound(contract: SourceEntity, name: str, test: str, bound: float | str, zone: str) -> str:
    kind = ENTITIES[contract.entity].columns[name].type
    if kind in {"date", "timestamp"}:
        return f"{expressions.date_of(contract, name, zone)} {test} date {literal(str(bound))}"
    return f"{name} {test} {Decimal(str(bound)):f}"


def _computed_amount_rule(contract: SourceEntity) -> Rule:
    parts = f"{_in_file(contract, 'quantity')} x {_in_file(contract, 'unit_price')}"
    test = "amount is null and quantity is not null and (unit_price is not null or text_unit_price is null)"
    said = literal(f"the amount, {parts}, is empty or too large")
    return Rule("required:amount", "unit_price", test, said)


def _negative_rule(contract: SourceEntity) -> Rule:
    legal = literals(contract.negative_quantity_kinds) or "''"
    said = literal(f"{_in_file(contract, 'quantity')}: ") + " || " + _shown(contract, "quantity")
    message = f"{said} || ' is negative in a line of the kind ' || line_kind"
    fix = "correct it, or allow it by line_kinds and negative_quantity_kinds in sources.yml"
    return Rule("negative:quantity", "quantity", f"quantity < 0 and line_kind not in ({legal})", message, fix)


def _future_rule(contract: SourceEntity, name: str, zone: str) -> Rule:
    test = f"{expressions.date_of(contract, name, zone)} > business_date" if name != contract.business_date else NEVER
    said = f"{_said_value(contract, name)} || ' lies after the business date ' || business_date::varchar"
    return Rule(f"future:{name}", name, test, said, "correct the date, or send the row in the file of its day")


def reference_value(reference: Reference) -> str:
    """The column in which a reference stands once it is checked."""
    return "client_ref" if reference.entity == "clients" else reference.column


def _reference_rules(contract: SourceEntity) -> Iterator[Rule]:
    for index, reference in enumerate(contract.references):
        test = f"{reference_value(reference)} is not null and not is_known_{index}"
        message = f"{_said_value(contract, reference.column)} || {literal(f' is not known in {reference.entity}')}"
        warns = reference.on_missing == "warn"
        fix = f"land its row of {reference.entity} first, then this file again"
        yield Rule(f"reference:{reference.column}", reference.column, test, message, fix, warns)


def _rule(contract: SourceEntity, family: str, name: str, test: str, said: str) -> Rule:
    value = literal(_in_file(contract, name)) if family == "required" else _said_value(contract, name)
    return Rule(f"{family}:{name}", name, test, f"{value} || {literal(' ' + said)}")


def _said_value(contract: SourceEntity, name: str) -> str:
    return f"{literal(_in_file(contract, name) + ': ')} || {_shown(contract, name)}"


def _shown(contract: SourceEntity, name: str) -> str:
    """SQL for the value as it may be shown: shortened, and of personal data the first character only (L22)."""
    text = f"coalesce(text_{name}, '')"
    if ENTITIES[contract.entity].columns[name].personal:
        return f"'''' || left({text}, 1) || '***'''"
    return f"'''' || case when length({text}) > 40 then left({text}, 40) || '...' else {text} end || ''''"


def _in_file(contract: SourceEntity, name: str) -> str:
    """The column as the file calls it."""
    column = contract.columns.get(name)
    return column.source if column is not None else name


def _format_hint(contract: SourceEntity, kind: ColumnType) -> str:
    form = contract.format
    if kind == "date":
        return f" ({form.date_format or 'YYYY-MM-DD'})"
    if kind == "timestamp":
        return f" ({form.timestamp_format or 'ISO 8601, as 2017-10-01T13:14:15Z'})"
    if kind in FRACTIONS:
        digits = 14 if kind == "decimal" else 10
        return f" of the form 1234{form.decimal}56 below 10^{digits}" if form.decimal == "," else ""
    return ""


def column_types(contract: SourceEntity) -> dict[str, str]:
    """The SQL types of the canonical columns in their order."""
    return {name: SQL_TYPES[column.type] for name, column in ENTITIES[contract.entity].columns.items()}
