"""A few client records in a line each, and what linking makes of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from perennial.contracts.identity import Decision
from perennial.identity.candidates import find_candidates
from perennial.identity.linking import link
from perennial.identity.scratch import RECORDS, VALUES, Rules

_VALUES = ("email", "phone", "tax", "card")


def record(ref: str, source: str = "crm", seq: int = 1, **said: Any) -> dict[str, Any]:
    """A record; email, phone, tax and card are its values (one or a list of versions)."""
    return {"client_ref": ref, "namespace": source, "seq": seq, **said}


def _tables(records: list[dict[str, Any]]) -> list[pa.Table]:
    values = [
        {"client_ref": one["client_ref"], "what": what, "value": value, "country": one.get("country")}
        for one in records
        for what in _VALUES
        for value in ([one[what]] if isinstance(one.get(what), str) else one.get(what, []))
    ]
    rows = [{name: one.get(name) for name in RECORDS.names} for one in records]
    return [pa.Table.from_pylist(rows, schema=RECORDS), pa.Table.from_pylist(values, schema=VALUES)]


def identity_map(
    records: list[dict[str, Any]], *decisions: tuple[str, str, str], **rules: Any
) -> dict[str, dict[str, Any]]:
    """The rows of the map by record."""
    decided = [Decision(number, *one) for number, one in enumerate(decisions, start=1)]
    with link(_tables(records), decided, Rules(**{"region": "US", **rules})) as linked:
        return {row["client_ref"]: row for row in linked.map_reader().read_all().to_pylist()}


def groups(records: list[dict[str, Any]], *decisions: tuple[str, str, str], **rules: Any) -> set[frozenset[str]]:
    """The records of each client that has several."""
    found = identity_map(records, *decisions, **rules)
    clients: dict[str, set[str]] = {}
    for one in records:
        ref = one["client_ref"]
        clients.setdefault(found[ref]["client_id"] if ref in found else ref, set()).add(ref)
    return {frozenset(refs) for refs in clients.values() if len(refs) > 1}


def candidates(records: list[dict[str, Any]], *decisions: tuple[str, str, str]) -> list[dict[str, Any]]:
    """What no rule joins and a person may."""
    decided = [Decision(number, *one) for number, one in enumerate(decisions, start=1)]
    with link(_tables(records), decided, Rules(region="US")) as linked:
        return find_candidates(linked)
