"""Rows that are bad because of a setting, not because of the rows: which setting would read them."""

from __future__ import annotations

from perennial.contracts.entities import ENTITIES
from perennial.quality.checking import Checker
from perennial.sources.hints import setting_for

_LOOKED_AT = 1_000  # bad values of a column
_RULE = "type:"


def settings_for(checker: Checker) -> list[str]:
    """One sentence for each column of whose values many are of another form. Needs the table `quarantined`."""
    contract = checker.contract
    told: list[str] = []
    for name, column in contract.columns.items():
        kind = ENTITIES[contract.entity].columns[name]
        if kind.type == "text":
            continue
        rows = checker.connection.execute(
            "select raw ->> $1 from quarantined where list_contains(rules, $2) limit $3",
            ["$." + _quoted(column.source), _RULE + name, _LOOKED_AT],
        ).fetchall()
        values = [row[0].strip() for row in rows if row[0]]
        setting = setting_for(values, kind.type, contract.format)
        if setting:
            told.append(f"{column.source}: {len(values):,} values cannot be read; {setting}")
    return told


def _quoted(name: str) -> str:
    """The name as a key of a JSON path."""
    return '"' + name.replace('"', '\\"') + '"'
