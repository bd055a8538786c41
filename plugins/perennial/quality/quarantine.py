"""Rows that are set aside: where they stood, every rule that they break, plain reasons, and what they held."""

from __future__ import annotations

from pathlib import Path

from perennial.contracts.sources import SourceEntity
from perennial.core.sqltext import literal
from perennial.quality.checking import Checker
from perennial.quality.rules import STRUCTURE, structure_fix, structure_message

RAW_LINE = "_raw"  # of a line that is no row of its file's shape, the key under which it is kept as it was
_EXAMPLES = 5


def make_quarantined(checker: Checker) -> None:
    """Make the table `quarantined`: _file, _line, _business_date, rules, reasons (each with its fix), raw (JSON)."""
    bit = f"{{}}::{checker.mask_type}"
    rules = [
        (f"(broken & {bit.format(2**i)}) <> 0", rule) for i, rule in enumerate(checker.rules) if not rule.only_warns
    ]
    ids = ", ".join(f"case when {broken} then {literal(rule.id)} end" for broken, rule in rules)
    said = ", ".join(
        f"case when {broken} then {rule.message} || {literal(' -> ' + rule.fix)} end" for broken, rule in rules
    )
    bad = "(file_no, line) in (select (file_no, line) from checked where broken <> 0)"
    checker.connection.execute(f"""
        create table quarantined as
        with bad as (
            select typed.*, checked.broken
            from ({checker.typed_rows(only=bad)}) as typed
            inner join checked on typed.file_no = checked.file_no and typed.line = checked.line
        ),
        raws as (select file_no, line, {_raw(checker.contract)} as raw from landed where {bad})
        select
            bad.file as _file, bad.line as _line, bad.business_date as _business_date, {_present(ids)} as rules,
            {_present(said)} as reasons, raws.raw
        from bad inner join raws on bad.file_no = raws.file_no and bad.line = raws.line
        union all
        select
            file, line, file_date, ['{STRUCTURE}'], [{structure_message("kind")} || ' -> ' || {structure_fix("kind")}],
            json_object('{RAW_LINE}', raw)::varchar
        from rejected
    """)


def _present(items: str) -> str:
    """SQL for the list of those items that are not null; nothing in the SQL of an item is changed by this."""
    return f"list_filter([{items}], lambda item: item is not null)"


def _raw(contract: SourceEntity) -> str:
    named = {column.source: name for name, column in contract.columns.items()}
    named |= {contract.version: "version"} if contract.version else {}
    named |= {contract.deleted.column: "deleted"} if contract.deleted else {}
    pairs = ", ".join(f"{literal(source)}, {name}" for source, name in named.items())
    return f"json_merge_patch(json_object({pairs}), coalesce(extra, '{{}}'))::varchar"


def write_quarantine(checker: Checker, path: Path) -> int:
    """Write `quarantined` as Parquet in the order of file and line. Returns the rows written."""
    row = checker.connection.execute(f"""
        copy (select * from quarantined order by _file, _line)
        to {literal(str(path))} (format parquet, compression zstd)
    """).fetchone()
    return int(row[0]) if row else 0


def first_reasons(checker: Checker) -> list[str]:
    """Quarantined rows as `file:line: reason -> fix`, one sentence each; the first of each kind come first."""
    rows = checker.connection.execute(
        "select _file, _line, reasons from ("
        "select *, row_number() over (partition by rules order by _file, _line) as nth from quarantined"
        f") order by nth, _file, _line limit {_EXAMPLES}"
    ).fetchall()
    return [f"{file}:{line}: {'; '.join(reasons)}" for file, line, reasons in rows]
