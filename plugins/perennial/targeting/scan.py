"""One scan over the clients computes every segment and every audience: the temporary table `t_clients`.

It has one row per client of `client_metrics`: the columns that planning needs, `s__<segment>` and `a__<campaign>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from perennial.core.errors import ContractViolation, Problem
from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import CLIENTS, METRICS, SCORES, SCORES_TABLE, Catalogue, catalogue_of
from perennial.targeting.config import AUDIENCE_PREFIX, Targeting
from perennial.targeting.rules import SEGMENT_PREFIX, Rule
from perennial.targeting.session import Binder, Session, make_table

Tables = Mapping[str, Sequence[tuple[str, str]]]

# What planning itself reads of a client, beside what the rules name.
PLANNED_COLUMNS = (
    "has_email",
    "has_phone",
    "revenue_365d",
    "signed_up_on",
    "first_order_on",
    "main_department_365d",
    *SCORES,
)


@dataclass(frozen=True)
class ScanPlan:
    """The statement of the scan, and its bound values."""

    select: str
    params: dict[str, object]


@dataclass(frozen=True)
class Known:
    """What is published for the day: tables, the names that rules may use, and which scores were made for it (L6)."""

    as_of: date
    tables: Tables
    catalogue: Catalogue
    scores: Mapping[str, bool]


def known_of(session: Session, tables: Tables, as_of: date) -> Known:
    """What the session's version knows of `as_of`."""
    return Known(as_of, tables, catalogue_of(tables), scores_are_of(session, tables, as_of))


def scores_are_of(session: Session, tables: Tables, as_of: date) -> dict[str, bool]:
    """For each score, whether it was made for `as_of`: an older one is no score (L6)."""
    found: set[str] = set()
    if SCORES_TABLE in tables:
        rows = session.query(
            f"select distinct score from {SCORES_TABLE} where as_of_date = cast($as_of as date)", {"as_of": as_of}
        )
        found = set(rows.column("score").to_pylist())
    return {score: score in found for score in SCORES}


def waiting_for_scores(targeting: Targeting, rule: Rule, scores: Mapping[str, bool]) -> frozenset[str]:
    """The scores that the rule stands on and that the day does not have."""
    return frozenset(name for name in targeting.metrics_behind(rule) if not scores.get(name, True))


def scan_clients(session: Session, targeting: Targeting, known: Known) -> None:
    """Make `t_clients`. Raises ContractViolation when the published metrics are not of the day (L6)."""
    _metrics_must_be_of(session, known.as_of)
    missing = [name for name in PLANNED_COLUMNS if name not in known.catalogue]
    if missing:
        raise ContractViolation(
            Problem(METRICS, f"the published tables lack {', '.join(missing)}", "planning needs them: publish them")
        )
    plan = scan_plan(targeting, known)
    make_table(session, "t_clients", plan.select, plan.params)


def scan_plan(targeting: Targeting, known: Known) -> ScanPlan:
    """The one statement: a base row per client, a level per depth of segments, the audiences on top.

    What stands on a score that the day does not have stays undecided (null) in segments, and an audience then holds
    everyone who might be in it, so that each can be refused by name (L7).
    """
    rules = [*targeting.segment_rules.values(), *targeting.audience_rules.values()]
    used = {name for rule in rules for name in rule.metrics}
    needed = sorted({*used, *PLANNED_COLUMNS})
    binder = Binder("scan")
    sql = _base(needed, known, binder.bind(known.as_of, "date"))
    for level in _levels(targeting):
        terms = [
            (SEGMENT_PREFIX + name, _segment_sql(targeting.segment_rules[name], targeting, known.scores))
            for name in level
        ]
        sql = _with_columns(sql, terms)
    audiences = [
        (AUDIENCE_PREFIX + card.id, _audience_sql(targeting.audience_rules[card.id], targeting, known.scores))
        for card in targeting.campaigns
    ]
    params = dict(binder.values)
    for rule in rules:
        params |= rule.params
    return ScanPlan(_with_columns(sql, audiences), params)


def memberships(targeting: Targeting, as_of: date) -> ScanPlan:
    """Who is in which segment, long: as_of_date, client_id, segment; from `t_clients`."""
    binder = Binder("member")
    day = binder.bind(as_of, "date")
    parts = [
        f"select {day} as as_of_date, client_id, {binder.bind(segment.id, 'varchar')} as segment "
        f"from t_clients where {identifier(SEGMENT_PREFIX + segment.id)}"
        for segment in targeting.segments
    ]
    nobody = f"select {day} as as_of_date, client_id, cast(null as varchar) as segment from t_clients where false"
    return ScanPlan(" union all ".join([*parts, nobody]) + " order by 2, 3", binder.values)


def _metrics_must_be_of(session: Session, as_of: date) -> None:
    found = session.query(f"select min(as_of_date) as low, max(as_of_date) as high from {METRICS}").to_pylist()[0]
    if (found["low"], found["high"]) not in ((as_of, as_of), (None, None)):
        raise ContractViolation(
            Problem(METRICS, f"is of {found['high']}, but the day is {as_of}", "build and publish that day first")
        )


def _base(needed: Iterable[str], known: Known, as_of: str) -> str:
    aliases = {METRICS: "m", CLIENTS: "d", SCORES_TABLE: "s"}
    columns = "".join(f", {aliases[known.catalogue[name].table]}.{identifier(name)}" for name in needed)
    pivot = ", ".join(f"max(value) filter (where score = '{score}') as {identifier(score)}" for score in SCORES)
    scores = f"select client_id, {pivot} from {SCORES_TABLE} where as_of_date = {as_of} group by client_id"
    if SCORES_TABLE not in known.tables:
        nothing = ", ".join(f"cast(null as double precision) as {identifier(score)}" for score in SCORES)
        scores = f"select m.client_id, {nothing} from {METRICS} as m where m.as_of_date <> {as_of}"
    return (
        f"select m.client_id{columns} from {METRICS} as m "
        f"left join {CLIENTS} as d on d.client_id = m.client_id left join ({scores}) as s on s.client_id = m.client_id"
    )


def _with_columns(sql: str, terms: Sequence[tuple[str, str]]) -> str:
    columns = "".join(f", {expression} as {identifier(name)}" for name, expression in terms)
    return f"select b.*{columns} from ({sql}) as b"


def _segment_sql(rule: Rule, targeting: Targeting, scores: Mapping[str, bool]) -> str:
    return rule.sql if waiting_for_scores(targeting, rule, scores) else f"coalesce({rule.sql}, false)"


def _audience_sql(rule: Rule, targeting: Targeting, scores: Mapping[str, bool]) -> str:
    undecided = "true" if waiting_for_scores(targeting, rule, scores) else "false"
    return f"coalesce({rule.sql}, {undecided})"


def _levels(targeting: Targeting) -> list[list[str]]:
    depth: dict[str, int] = {}
    for segment in targeting.segments:  # in dependency order
        rule = targeting.segment_rules[segment.id]
        depth[segment.id] = 1 + max((depth[used] for used in rule.segments), default=-1)
    return [[name for name, at in depth.items() if at == level] for level in range(max(depth.values(), default=-1) + 1)]
