"""Drift of a source's columns: new ones are announced once, a column whose values changed their type with examples."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from perennial.contracts.entities import ENTITIES, NUMBERS, ColumnType
from perennial.contracts.records import RuleResult
from perennial.contracts.sources import SourceEntity
from perennial.core.sqltext import literal
from perennial.quality.checking import Checker, Counts, RuleCount

_CHANGED_SHARE = 0.01  # of the rows: fewer are mistakes in single rows, which their reasons tell
_WAS_FINE_SHARE = 0.001
_EXAMPLES = 3
_EXAMPLE_LENGTH = 40
_WAS = {
    "decimal": "a number",
    "rate": "a number",
    "integer": "a whole number",
    "date": "a date",
    "timestamp": "a time",
    "boolean": "yes or no",
}
_COMMA = re.compile(r"[+-]?\d{1,3}(\.?\d{3})*,\d+|[+-]?\d+,\d+")
_POINT = re.compile(r"[+-]?\d{1,3}(,?\d{3})*\.\d+|[+-]?\d+\.\d+")
_DATES = (
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}"), "%d.%m.%Y"),
    (re.compile(r"\d{1,2}/\d{1,2}/\d{4}"), "%d/%m/%Y (or %m/%d/%Y)"),
    (re.compile(r"\d{1,2}-\d{1,2}-\d{4}"), "%d-%m-%Y"),
    (re.compile(r"\d{4}/\d{1,2}/\d{1,2}"), "%Y/%m/%d"),
    (re.compile(r"\d{8}"), "%Y%m%d"),
)
_TIME = re.compile(r"[ T](\d{1,2}:\d{2}(:\d{2})?)$")


def new_columns(
    contract: SourceEntity, headers: Sequence[tuple[str, Sequence[str]]], known: Collection[str]
) -> Iterator[str]:
    """A sentence for each column that is in no contract and in no file before; `headers` are (file, columns)."""
    told = {*contract.source_columns, *known}
    for name, header in headers:
        for column in header:
            if column and column not in told:
                told.add(column)
                yield f"{name}: new column {column!r} is not in the contract: it is kept as an extra (raw, _extra)"


def changed_types(checker: Checker, counts: Counts, before: Mapping[str, RuleResult]) -> Iterator[str]:
    """A sentence with three examples for each column that was of its type in the last batch and now often is not."""
    for count in counts.profile:
        family, _, name = count.rule.partition(":")
        was = before.get(count.rule)
        if family == "type" and was is not None and _has_changed(count, was):
            yield _said(checker, name, count)


def _has_changed(count: RuleCount, was: RuleResult) -> bool:
    return was.rows > 0 and was.bad <= was.rows * _WAS_FINE_SHARE and count.share > _CHANGED_SHARE


def _said(checker: Checker, name: str, count: RuleCount) -> str:
    contract = checker.contract
    kind = ENTITIES[contract.entity].columns[name]
    bad = f"(broken & {2 ** _rule_bit(checker, count.rule)}::{checker.mask_type}) <> 0"
    only = f"(file_no, line) in (select (file_no, line) from checked where {bad})"
    rows = checker.connection.execute(f"""
        select text_{name} as example, count(*) as often from ({checker.typed_rows(only=only)})
        group by example order by often desc, example limit {_EXAMPLES}
    """).fetchall()
    examples = [str(value) for value, _often in rows]
    shown = ", ".join(f"'{_shown(value, personal=kind.personal)}'" for value in examples)
    hint = _hint(contract, kind.type, examples)
    column = contract.columns[name].source
    share = f"{count.share:.0%}" if count.share >= _CHANGED_SHARE else f"{count.share:.2%}"
    return f"{column}: was {_WAS[kind.type]} in the last batch, now {share} of values are not: {shown}{hint}"


def _rule_bit(checker: Checker, rule_id: str) -> int:
    return next(index for index, rule in enumerate(checker.rules) if rule.id == rule_id)


def _shown(value: str, *, personal: bool) -> str:
    if personal:
        return f"{value[:1]}***"
    return value if len(value) <= _EXAMPLE_LENGTH else f"{value[:_EXAMPLE_LENGTH]}..."


def _hint(contract: SourceEntity, kind: ColumnType, examples: Sequence[str]) -> str:
    """What to set in sources.yml so that the examples are values, where that can be told from them."""
    form = contract.format
    if kind in NUMBERS:
        if form.decimal == "." and any(_COMMA.fullmatch(value) for value in examples):
            return " -> set decimal: ','"
        if form.decimal == "," and any(_POINT.fullmatch(value) for value in examples):
            return " -> set decimal: '.'"
    if kind in {"date", "timestamp"}:
        for value in examples:
            time = _TIME.search(value)
            day = value[: time.start()] if time else value
            for pattern, codes in _DATES:
                if pattern.fullmatch(day):
                    clock = (" %H:%M:%S" if time[2] else " %H:%M") if time else ""
                    return f" -> set {kind}_format: {literal(codes + clock)}"
    return " -> ask the source what changed"
