"""Pairs that no rule joins and a person may: each with the reason, a score and masked evidence.

The score orders the list; it is no probability. Looked for: what the rules refused; the same name and birth date; a
similar name with the same mailbox, phone, or birth date and postcode; the same name with a phone or an address that is
off by one sign; a person who writes from a company's domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.core.sqltext import literals
from perennial.identity.linking import Linked
from perennial.identity.pairs import BIRTH_SQL, FIRST_SQL, LAST_SQL
from perennial.identity.words import FREE_MAIL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

_WORDS = """
create temp macro word(found) as case found
    when 'same' then 'the same' when 'near' then 'nearly the same' when 'initial' then 'an initial'
    when 'part' then 'a part of the other' when 'family' then 'of one family' when 'missing' then 'missing'
    else 'different' end
"""
_MAX_BLOCK = 40  # records of one name and half a phone: more say nothing
_SHARED = f"""
select a, b, what, v,
    case
        when birth_is = 'other' and first_is = 'same' and last_is = 'same' and what <> 'born_at' then 0.6
        when birth_is = 'other' or first_is = 'other' then null
        when what = 'born_at' and last_is in ('same', 'near', 'missing') then 0.8
        when what = 'email' and first_is in ('same', 'near') then 0.75
        when what = 'email' and last_is in ('same', 'missing') then 0.65
        when what = 'phone' and first_is = 'same' then 0.7
        when what = 'phone' and last_is in ('same', 'near') then 0.6
        when what = 'card' and last_is in ('same', 'near') then 0.6
    end as score,
    'first name ' || word(first_is) || ', last name ' || word(last_is) || ', birth date ' || word(birth_is) as reason
from (
    select p.a, p.b, p.what, p.v, {FIRST_SQL} as first_is, {LAST_SQL} as last_is, {BIRTH_SQL} as birth_is
    from pairs as p
    inner join r as a on a.id = p.a
    inner join r as b on b.id = p.b
    where a.kind = b.kind and not p.is_role
)
"""
_NAMED = f"""
create temp table named as
select id, f_canon || '|' || l_fold as name, birth from r where f_canon is not null and l_fold is not null;
create temp table blocks as
with cut as (
    select n.id, n.name, k.what, k.v, unnest(case k.what
        when 'phone' then ['a' || left(k.v, length(k.v) - 5), 'b' || right(k.v, 5)]
        else [
            'a' || split_part(k.v, '@', 1),
            'b' || split_part(k.v, '@', 2) || left(k.v, 2),
            'c' || split_part(k.v, '@', 2) || right(split_part(k.v, '@', 1), 2)
        ]
    end) as part
    from k inner join named as n on n.id = k.id
    where k.what in ('phone', 'email') and not k.is_role
)
select * from cut qualify count(*) over (partition by name, what, part) between 2 and {_MAX_BLOCK};
"""
_TYPED = """
select x.id as a, y.id as b, x.what, x.v, 0.85 as score,
    case x.what when 'phone' then 'the same name, and a phone off by one digit'
        else 'the same name, and an address off by one sign' end as reason
from blocks as x
inner join blocks as y on y.name = x.name and y.what = x.what and y.part = x.part and y.id > x.id and y.v <> x.v
inner join r as p on p.id = x.id
inner join r as q on q.id = y.id
where damerau_levenshtein(x.v, y.v) <= case x.what when 'phone' then 1 else 2 end
    and (p.birth is null or q.birth is null or p.birth = q.birth)
"""
_BORN = f"""
select x.id as a, y.id as b, 'birth' as what, '' as v, 0.9 as score, 'the same name and birth date' as reason
from named as x
inner join named as y on y.name = x.name and y.birth = x.birth and y.id > x.id
where x.birth in (
    select birth from named where birth is not null group by birth, name having count(*) between 2 and {_MAX_BLOCK}
)
"""
_FOUND = """
with placed as (
    select
        c.a, c.b, c.score, c.reason, coalesce(mask(c.what, c.v), '') as evidence,
        least(x.client, y.client) as one, greatest(x.client, y.client) as other,
        row_number() over (
            partition by least(x.client, y.client), greatest(x.client, y.client)
            order by c.score desc, c.a, c.b, c.reason, c.what, c.v
        ) as place
    from found as c
    inner join m as x on x.id = c.a
    inner join m as y on y.id = c.b
    where x.client <> y.client and c.score is not null
),
decided as (
    select least(x.client, y.client) as one, greatest(x.client, y.client) as other
    from set_apart as s
    inner join m as x on x.id = s.a
    inner join m as y on y.id = s.b
)
select
    ra.ref as left_ref, rb.ref as right_ref, ca.ref as left_client, cb.ref as right_client,
    cast(p.score as double) as score, p.reason, p.evidence
from placed as p
inner join r as ra on ra.id = p.a
inner join r as rb on rb.id = p.b
inner join m as ma on ma.id = p.a
inner join m as mb on mb.id = p.b
inner join r as ca on ca.id = ma.client
inner join r as cb on cb.id = mb.client
where p.place = 1 and not exists (select 1 from decided as d where d.one = p.one and d.other = p.other)
order by p.score desc, ra.ref, rb.ref
"""


def find_candidates(linked: Linked, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Candidates, the best first: left_ref, right_ref, left_client, right_client, score, reason, evidence (masked).

    One for each pair of clients; none of those that a person set apart.
    """
    connection = linked.connection
    _gather(connection, linked)
    query = _FOUND + (f" limit {int(limit)}" if limit is not None else "")
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


def _gather(connection: Connection, linked: Linked) -> None:
    refused = [{"a": a, "b": b, "reason": f"a rule would join them, but: {why}"} for a, b, why in linked.refused]
    schema = pa.schema([("a", pa.int32()), ("b", pa.int32()), ("reason", pa.string())])
    connection.register("refused", pa.Table.from_pylist(refused, schema=schema))
    connection.execute(_WORDS)
    connection.execute(_NAMED)
    parts = [_SHARED, _TYPED, _BORN, "select a, b, '', '', 0.95, reason from refused"]
    connection.execute(f"create temp table found as {' union all '.join(f'({part})' for part in parts)}")


def find_companies(linked: Linked, *, limit: int | None = None) -> list[dict[str, Any]]:
    """People who write from the domain of a company that is a client: left_client, company_id, evidence."""
    query = f"""
with domains as (
    select distinct m.client, r.kind, split_part(k.v, '@', 2) as domain
    from k
    inner join r on r.id = k.id
    inner join m on m.id = k.id
    where k.what = 'email'
)
select p.ref as left_client, c.ref as company_id, d.domain as evidence
from domains as d
inner join domains as o on o.domain = d.domain and o.kind = 'company'
inner join r as p on p.id = d.client
inner join r as c on c.id = o.client
where d.kind <> 'company' and p.company_ref is null and d.domain not in ({literals(sorted(FREE_MAIL))})
order by all
"""
    query += f" limit {int(limit)}" if limit is not None else ""
    rows: list[dict[str, Any]] = linked.connection.sql(query).to_arrow_table().to_pylist()
    return rows
