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
from perennial.targeting.session import Binder, Session, count, make_table
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
_MEMBERS = (
    "select p.day as as_of_date, b.client_id, b.segment, coalesce(b.entered_at, p.day) as entered_at, "
    "coalesce(b.entered_by, case when p.is_same then 'client' else 'rule' end) as entered_by "
    "from t_both as b inner join p_segments as p on p.segment = b.segment where b.is_in order by 2, 3"
)
# The tables of a day: name, schema, and the query that gives the rows in order after `compare_memberships`.
TABLES = (
    (MEMBERS, MEMBERS_SCHEMA, _MEMBERS),
    (EPISODES, EPISODES_SCHEMA, "select * from t_episodes order by client_id, segment"),
    (SIZES, SIZES_SCHEMA, "select * from t_sizes order by segment"),
)
_SEGMENTS = pa.schema(
    [
        ("segment", pa.string()),
        ("version", pa.string()),
        ("day", pa.date32()),
        ("last_day", pa.date32()),
        ("is_same", pa.bool_()),
    ]
)


def compare_memberships(session: Session, targeting: Targeting, known: Known) -> None:
    """Make `t_both`, `t_episodes` and `t_sizes` from `t_clients` and what was published before the day.

    `t_both` has who is in a segment today or was on its last day, with the time in it that is not over: one join of
    the two days, for they are large.
    """
    session.register("p_segments", pa.Table.from_pylist(list(_segments(targeting, known)), schema=_SEGMENTS))
    binder = Binder("member")
    both = _BOTH.format(members=_members_sql(targeting, known, binder), before=_before_sql(known))
    make_table(session, "t_both", both, binder.values)
    is_joined = ALIASES in known.tables
    make_table(session, "t_episodes", _ENDED.format(**(_MERGED if is_joined else _PLAIN)))
    if is_joined:
        make_table(session, "t_merged", _CARRIED)
        if count(session, "t_merged"):
            make_table(session, "t_known", "select * from t_both")
            make_table(session, "t_both", _WITH_CARRIED)
    make_table(session, "t_sizes", _SIZES)


def _segments(targeting: Targeting, known: Known) -> Iterator[dict[str, object]]:
    """The segments that the day decides, and those that were given up since."""
    waiting = undecided(targeting, known.scores)
    for name, version in version_of_rules(targeting).items():
        if name not in waiting:
            last = known.watched.get(name)
            is_same = last is not None and last.version == version
            yield _row(known, name, version, is_same=is_same)
    for name in known.watched:
        if name not in targeting.segment_rules:
            yield _row(known, name, "", is_same=False)


def _row(known: Known, name: str, version: str, *, is_same: bool) -> dict[str, object]:
    last = known.watched.get(name)
    last_day = last.day if last else None
    return {"segment": name, "version": version, "day": known.as_of, "last_day": last_day, "is_same": is_same}


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


_BOTH = """
select
    coalesce(t.client_id, b.client_id) as client_id,
    coalesce(t.segment, b.segment) as segment,
    t.client_id is not null as is_in,
    b.entered_at,
    b.entered_by
from ({members}) as t
full outer join ({before}) as b on b.client_id = t.client_id and b.segment = t.segment
"""
# Times in a segment of records that are another client now, by that client; of several the earliest counts.
_CARRIED = f"""
select a.client_id, b.segment, min(b.entered_at) as entered_at, min(b.entered_by) as entered_by
from t_both as b
inner join {ALIASES} as a on a.client_ref = b.client_id
where b.entered_at is not null
group by a.client_id, b.segment
"""
_WITH_CARRIED = """
select
    b.client_id,
    b.segment,
    b.is_in,
    least(coalesce(b.entered_at, m.entered_at), coalesce(m.entered_at, b.entered_at)) as entered_at,
    least(coalesce(b.entered_by, m.entered_by), coalesce(m.entered_by, b.entered_by)) as entered_by
from t_known as b
left join t_merged as m on m.client_id = b.client_id and m.segment = b.segment
"""
_PLAIN = {"joined": "", "merged": ""}
_MERGED = {
    "joined": f"left join {ALIASES} as a on a.client_ref = b.client_id",
    "merged": "when a.client_id is not null then 'merge' ",
}
_ENDED = """
select
    p.day as as_of_date,
    b.client_id,
    b.segment,
    b.entered_at,
    p.day as left_at,
    b.entered_by,
    case {merged}when p.is_same then 'client' else 'rule' end as left_by
from t_both as b
inner join p_segments as p on p.segment = b.segment
{joined}
where not b.is_in
"""
_SIZES = """
select
    p.day as as_of_date,
    p.segment,
    p.version,
    coalesce(m.clients, 0) as clients,
    coalesce(m.entered, 0) as entered,
    coalesce(m.exited, 0) as exited,
    not p.is_same as is_new_rule
from p_segments as p
left join (
    select
        segment,
        count(*) filter (where is_in) as clients,
        count(*) filter (where is_in and entered_at is null) as entered,
        count(*) filter (where not is_in) as exited
    from t_both
    group by segment
) as m on m.segment = p.segment
"""
