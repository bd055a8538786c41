"""Who is in which segment since when, and who left: today beside the last day on which each segment was decided.

A member's row carries `entered_at` from day to day; an episode becomes a row of the history on the day on which it
ends, once, so that history is only ever appended to (L2). Days on which a segment could not be decided for want of a
score change nothing. `entered_by` and `left_by` tell what did it: `client`, whose figures changed, `rule`, which is new
or means something else, or `merge`, where the record is part of another client now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pyarrow as pa

from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import ALIASES
from perennial.targeting.config import Targeting
from perennial.targeting.needs import EPISODES, MEMBERS
from perennial.targeting.scan import SIZES, Known, bits, undecided, version_of_rules
from perennial.targeting.session import Binder, Session, make_table
from perennial.targeting.terms import AS_OF

MEMBERS_SCHEMA = pa.schema(
    [
        ("as_of_date", pa.date32()),
        ("client_id", pa.string()),
        ("segment", pa.string()),
        ("entered_at", pa.date32()),
        ("entered_by", pa.string()),
    ]
)
EPISODES_SCHEMA = pa.schema(
    [
        ("as_of_date", pa.date32()),
        ("client_id", pa.string()),
        ("segment", pa.string()),
        ("entered_at", pa.date32()),
        ("left_at", pa.date32()),
        ("entered_by", pa.string()),
        ("left_by", pa.string()),
    ]
)
SIZES_SCHEMA = pa.schema(
    [
        ("as_of_date", pa.date32()),
        ("segment", pa.string()),
        ("version", pa.string()),
        ("clients", pa.int64()),
        ("entered", pa.int64()),
        ("exited", pa.int64()),
        ("is_new_rule", pa.bool_()),
    ]
)
# The tables of a day: name, schema, and the query that gives the rows in order after `compare_memberships`.
TABLES = (
    (MEMBERS, MEMBERS_SCHEMA, "select * from t_members_since order by client_id, segment"),
    (EPISODES, EPISODES_SCHEMA, "select * from t_episodes order by client_id, segment"),
    (SIZES, SIZES_SCHEMA, "select * from t_sizes order by segment"),
)
_SEGMENTS = pa.schema(
    [
        ("segment", pa.string()),
        ("version", pa.string()),
        ("last_day", pa.date32()),
        ("is_same", pa.bool_()),
        ("is_open", pa.bool_()),
    ]
)


def compare_memberships(session: Session, targeting: Targeting, known: Known) -> None:
    """Make `t_members_since`, `t_episodes` and `t_sizes` from `t_clients` and what was published before the day."""
    session.register("p_segments", pa.Table.from_pylist(list(_segments(targeting, known)), schema=_SEGMENTS))
    binder = Binder("member")
    make_table(session, "t_members", _members_sql(targeting, known, binder), binder.values)
    make_table(session, "t_before", _before_sql(known))
    aliased = ALIASES in known.tables
    make_table(session, "t_members_since", _SINCE.format(before=_JOINED if aliased else _OWN), {"as_of": known.as_of})
    joined = f"left join {ALIASES} as a on a.client_ref = b.client_id" if aliased else ""
    merged = "when a.client_id is not null then 'merge' " if aliased else ""
    make_table(session, "t_episodes", _ENDED.format(joined=joined, merged=merged), {"as_of": known.as_of})
    make_table(session, "t_sizes", _SIZES, {"as_of": known.as_of})


def _segments(targeting: Targeting, known: Known) -> Iterator[dict[str, object]]:
    """The segments that the day decides, and those that were given up since."""
    waiting = undecided(targeting, known.scores)
    for name, version in version_of_rules(targeting).items():
        if name not in waiting:
            last = known.watched.get(name)
            is_same = last is not None and last.version == version
            yield _segment(name, version, last.day if last else None, is_same=is_same, is_open=True)
    for name, last in known.watched.items():
        if name not in targeting.segment_rules:
            yield _segment(name, "", last.day, is_same=False, is_open=False)


def _segment(name: str, version: str, last_day: object, *, is_same: bool, is_open: bool) -> dict[str, object]:
    return {"segment": name, "version": version, "last_day": last_day, "is_same": is_same, "is_open": is_open}


def _members_sql(targeting: Targeting, known: Known, binder: Binder) -> str:
    waiting = undecided(targeting, known.scores)
    parts = [
        f"select client_id, {binder.bind(name, 'varchar')} as segment from t_clients where (m{word} & {1 << bit}) <> 0"
        for name, (word, bit) in bits(targeting).items()
        if name not in waiting
    ]
    nobody = "select client_id, cast(null as varchar) as segment from t_clients where false"
    return " union all ".join([*parts, nobody])


def _before_sql(known: Known) -> str:
    columns = (
        "m.client_id, m.segment, coalesce(m.entered_at, m.as_of_date) as entered_at, "
        "coalesce(m.entered_by, 'rule') as entered_by"
    )
    if MEMBERS not in known.tables or "entered_at" not in dict(known.tables[MEMBERS]):
        nothing = {"client_id": "varchar", "segment": "varchar", "entered_at": "date", "entered_by": "varchar"}
        return f"select {', '.join(f'cast(null as {t}) as {identifier(n)}' for n, t in nothing.items())} where false"
    return (
        f"select {columns} from {MEMBERS} as m "
        "inner join p_segments as p on p.segment = m.segment and p.last_day = m.as_of_date"
    )


def episodes_of(
    session: Session, known: Known, client_id: str
) -> tuple[dict[str, date], dict[str, list[dict[str, date]]]]:
    """By segment: since when the client is in it by what was published up to the day, and her earlier times in it."""
    params = {"id": client_id, "as_of": known.as_of}
    since: dict[str, date] = {}
    earlier: dict[str, list[dict[str, date]]] = {}
    if "entered_at" in dict(known.tables.get(MEMBERS, ())):
        newest = f"(select max(as_of_date) from {MEMBERS} as n where n.segment = m.segment and n.as_of_date <= {AS_OF})"
        query = f"select segment, entered_at from {MEMBERS} as m where client_id = $id and as_of_date = {newest}"
        since = {row["segment"]: row["entered_at"] for row in session.query(query, params).to_pylist()}
    if EPISODES in known.tables:
        query = (
            f"select segment, entered_at, left_at from {EPISODES} where client_id = $id and as_of_date <= {AS_OF} "
            "order by segment, entered_at"
        )
        for row in session.query(query, params).to_pylist():
            earlier.setdefault(row.pop("segment"), []).append(row)
    return since, earlier


_OWN = "t_before"
# Of several records that are one client now the earliest entrance counts.
_JOINED = f"""(
    select
        coalesce(a.client_id, b.client_id) as client_id,
        b.segment,
        min(b.entered_at) as entered_at,
        min(b.entered_by) as entered_by
    from t_before as b
    left join {ALIASES} as a on a.client_ref = b.client_id
    group by coalesce(a.client_id, b.client_id), b.segment
)"""
_SINCE = f"""
select
    {AS_OF} as as_of_date,
    t.client_id,
    t.segment,
    coalesce(b.entered_at, {AS_OF}) as entered_at,
    coalesce(b.entered_by, case when p.is_same then 'client' else 'rule' end) as entered_by
from t_members as t
inner join p_segments as p on p.segment = t.segment
left join {{before}} as b on b.client_id = t.client_id and b.segment = t.segment
"""
_ENDED = f"""
select
    {AS_OF} as as_of_date,
    b.client_id,
    b.segment,
    b.entered_at,
    {AS_OF} as left_at,
    b.entered_by,
    case {{merged}}when p.is_same then 'client' else 'rule' end as left_by
from t_before as b
inner join p_segments as p on p.segment = b.segment
{{joined}}
left join t_members as t on t.client_id = b.client_id and t.segment = b.segment
where t.client_id is null
"""
_SIZES = f"""
select
    {AS_OF} as as_of_date,
    p.segment,
    p.version,
    coalesce(m.clients, 0) as clients,
    coalesce(m.entered, 0) as entered,
    coalesce(e.exited, 0) as exited,
    not p.is_same as is_new_rule
from p_segments as p
left join (
    select segment, count(*) as clients, count(*) filter (where entered_at = as_of_date) as entered
    from t_members_since
    group by segment
) as m on m.segment = p.segment
left join (select segment, count(*) as exited from t_episodes group by segment) as e on e.segment = p.segment
"""
