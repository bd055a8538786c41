"""Why clients are in a segment or audience, or are not: a rule's terms one by one, with the values that they met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial.core.sqltext import identifier
from perennial.targeting.config import Targeting
from perennial.targeting.rules import Rule, compile_rule, conjuncts
from perennial.targeting.scan import Known, Scan
from perennial.targeting.session import Session

Told = dict[str, Any]
_COLUMNS = 400  # terms of one statement: PostgreSQL gives at most 1,664 columns


@dataclass(frozen=True)
class _Term:
    key: str
    text: str
    rule: Rule


def terms_of(
    session: Session, targeting: Targeting, known: Known, rules: Mapping[str, str], client_ids: Sequence[str]
) -> dict[str, dict[str, list[Told]]]:
    """By client and key of `rules` (texts): `term`, whether it `holds`, and the `values` of the names in it.

    Computed over all clients, as the day's scan does it: some terms compare clients with each other.
    """
    terms = _compiled(targeting, known, rules)
    found: dict[str, dict[str, list[Told]]] = {who: {key: [] for key in rules} for who in client_ids}
    for start in range(0, len(terms), _COLUMNS):
        part = terms[start : start + _COLUMNS]
        for row in _rows(session, targeting, known, part, client_ids):
            for place, term in enumerate(part):
                told = {"term": term.text, "holds": row[f"t{place}"], "values": _values(row, term.rule)}
                found[row["client_id"]][term.key].append(told)
    return found


def _compiled(targeting: Targeting, known: Known, rules: Mapping[str, str]) -> list[_Term]:
    ids = [segment.id for segment in targeting.segments]
    texts = [(key, term) for key, text in rules.items() for term in conjuncts(text)]
    return [
        _Term(key, text, compile_rule(text, catalogue=known.catalogue, segments=ids, where=key, prefix=f"x{number}"))
        for number, (key, text) in enumerate(texts)
    ]


def _rows(
    session: Session, targeting: Targeting, known: Known, terms: Sequence[_Term], client_ids: Sequence[str]
) -> list[Told]:
    scan = Scan(targeting, known)
    named = [(f"t{place}", f"coalesce({scan.rule_sql(term.rule)}, false)") for place, term in enumerate(terms)]
    used = sorted({name for term in terms for name in term.rule.segments})
    named += [(f"s{place}", scan.segment_sql(name)) for place, name in enumerate(used)]
    columns = {name for term in terms for name in term.rule.metrics}
    plan = scan.statement(named, [term.rule for term in terms], columns=columns)
    params = {f"who_{place}": who for place, who in enumerate(client_ids)}
    listed = ", ".join(f"cast(${name} as varchar)" for name in params)
    query = f"select * from ({plan.select}) as x where {identifier('client_id')} in ({listed})"
    rows: list[Told] = session.query(query, {**plan.params, **params}).to_pylist() if client_ids else []
    places = {f"s{place}": name for place, name in enumerate(used)}
    return [{**row, **{f"segment {name}": row[place] for place, name in places.items()}} for row in rows]


def _values(row: Told, rule: Rule) -> Told:
    values = {name: row[name] for name in sorted(rule.metrics)}
    return values | {name: row[f"segment {name}"] for name in sorted(rule.segments)}
