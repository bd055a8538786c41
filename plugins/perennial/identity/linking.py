"""Which records are one client: rules over shared values, what people decided, households and companies.

The result is a function of the records and decisions given (L2): no clock, no chance, no order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.contracts.identity import IDENTITY_MAP, Decision
from perennial.core.personal import mask_email, mask_phone
from perennial.identity.pairs import PROOF, RULES, make_pairs
from perennial.identity.scratch import Rules, open_scratch

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

_KEY_WORDS = {
    "email": "e-mail",
    "phone": "phone",
    "tax": "tax number",
    "card": "card",
    "born_at": "birth date, postcode",
}


@dataclass
class Linked:
    """What was found: the open scratch database with tables `r`, `k`, `e`, `m` (id, client), and what was refused."""

    connection: Connection
    refused: list[tuple[int, int, str]] = field(default_factory=list)

    def map_reader(self) -> pa.RecordBatchReader:
        """The rows of `IDENTITY_MAP`, by client_ref."""
        columns = ", ".join(IDENTITY_MAP.names)
        query = f"select {columns} from identity_map order by client_ref"
        return self.connection.sql(query).to_arrow_reader(50_000).cast(IDENTITY_MAP)


@contextmanager
def link(
    given: Iterable[pa.RecordBatchReader | pa.Table],
    decisions: Sequence[Decision],
    rules: Rules,
    folder: Path | None = None,
) -> Iterator[Linked]:
    """Link the records (`given`: `scratch.RECORDS`, then `scratch.VALUES`) by values and by people's decisions."""
    with open_scratch(folder, given, rules) as connection:
        make_pairs(connection, rules)
        refused = _make_groups(connection, decisions, rules)
        _make_households(connection, rules)
        _make_map(connection)
        yield Linked(connection, refused)


def _make_groups(connection: Connection, decisions: Sequence[Decision], rules: Rules) -> list[tuple[int, int, str]]:
    """Make `m`: by record the smallest record of its client, and of the group that the rules alone make."""
    import numpy as np

    from perennial.identity.groups import Features, decide, group

    decided = _decided(connection, decisions)
    apart = [(x, y) for one, x, y in decided if one.decision == "apart"]
    found = connection.execute("select a, b, rule from e order by rule, a, b").fetchnumpy()
    codes = connection.execute(_FEATURES).fetchnumpy()
    features = Features(**{name: _ints(codes[name]) for name in ("origin", "birth", "first", "tax")})
    result = group(
        len(features.origin),
        (_ints(found["a"]), _ints(found["b"]), _ints(found["rule"])),
        features,
        lambda members: _details(connection, members.tolist()),
        proof_until=len(PROOF) - 1,
        apart=apart,
        max_group=rules.max_group,
    )
    ruled = result.label.copy()
    _make_table(
        connection,
        "set_apart",
        pa.table({name: pa.array([pair[i] for pair in apart], pa.int32()) for i, name in enumerate("ab")}),
    )
    merges = [(one.decision_id, x, y) for one, x, y in decided if one.decision == "merge"]
    joined = decide(result.label, merges, apart)
    columns = {"id": np.arange(len(ruled)), "client": result.label, "ruled": ruled}
    _make_table(connection, "m", pa.table({name: pa.array(values, pa.int32()) for name, values in columns.items()}))
    _make_table(
        connection,
        "joined",
        pa.table({"head": pa.array(joined, pa.int32()), "decision_id": pa.array(joined.values(), pa.int64())}),
    )
    return result.refused


def _ints(values: Any) -> Any:
    import numpy as np

    return np.asarray(values, dtype=np.int64)


def _make_table(connection: Connection, name: str, table: pa.Table) -> None:
    connection.register("arriving", table)
    connection.execute(f"create temp table {name} as select * from arriving")
    connection.unregister("arriving")


_FEATURES = """
select
    r.origin,
    coalesce(r.birth - date '0001-01-01', -1) as birth,
    coalesce(n.code, -1) as first,
    coalesce(t.code, -1) as tax
from r
left join (
    select f_canon, row_number() over (order by f_canon) as code from r where f_canon is not null group by f_canon
) as n on n.f_canon = r.f_canon
left join (
    select id, dense_rank() over (order by v) as code
    from (select id, max(v) as v from k where what = 'tax' group by id having count(*) = 1)
) as t on t.id = r.id
order by r.id
"""


def _decided(connection: Connection, decisions: Sequence[Decision]) -> list[tuple[Decision, int, int]]:
    """The decisions whose two records are both known, in order, with them."""
    refs = sorted({ref for one in decisions for ref in (one.left_ref, one.right_ref)})
    if not refs:
        return []
    ids: dict[str, int] = dict(
        connection.execute("select ref, id from r where list_contains(?, ref)", [refs]).fetchall()
    )
    known = [one for one in decisions if one.left_ref in ids and one.right_ref in ids]
    return [(one, ids[one.left_ref], ids[one.right_ref]) for one in sorted(known, key=lambda one: one.decision_id)]


def _details(connection: Connection, members: list[int]) -> Any:
    from perennial.identity.groups import Details, Name

    connection.register("asked", pa.table({"id": pa.array(members, pa.int32())}))
    rows = connection.execute(
        "select r.id, r.birth, r.f_plain, r.f_canon, r.f_fold, r.l_fold from r inner join asked using (id)"
    ).fetchall()
    connection.unregister("asked")
    return Details({row[0]: row[1] for row in rows}, {row[0]: Name(*row[2:]) for row in rows})


_HOUSEHOLDS = """
create temp table h as
with keyed as (
    select m.client, r.household as v
    from r
    inner join m using (id)
    where r.household is not null and r.kind <> 'company'
    union
    select m.client, k.what || k.v || '|' || r.l_stem
    from k
    inner join usable as s on s.what = k.what and s.v = k.v and not s.is_role
    inner join r on r.id = k.id
    inner join m on m.id = k.id
    where k.what in ('email', 'phone', 'card') and r.l_stem is not null and r.kind <> 'company'
)
select v, client from keyed where client is not null
"""


def _make_households(connection: Connection, rules: Rules) -> None:
    """Make `hh` (client, head): who share the source's household, or a mailbox, phone or card and the family name."""
    import numpy as np

    from perennial.identity.groups import components

    connection.execute(_HOUSEHOLDS)
    size = connection.execute("select count(*) from r").fetchall()[0][0]
    pairs = connection.execute(
        f"select min(client) over (partition by v) as a, client as b from h "
        f"qualify count(*) over (partition by v) <= {int(rules.max_shared)} order by a, b"
    ).fetchnumpy()
    a, b = _ints(pairs["a"]), _ints(pairs["b"])
    label = components(size, a, b)
    sizes = np.bincount(label, minlength=size) if size else label
    _make_table(
        connection, "heads", pa.table({"client": np.arange(size), "head": label, "n": sizes[label] if size else label})
    )
    connection.execute(f"""
create temp table hh as
select cast(heads.client as integer) as client, cast(heads.head as integer) as head
from heads
where (heads.n between 2 and {int(rules.max_shared)})
    or heads.client in (select m.client from r inner join m using (id) where r.household is not null)
""")


def _make_map(connection: Connection) -> None:
    """Make `identity_map`; the evidence of a record is the pair of its group that joined it by the strongest rule."""
    connection.create_function("mask", _mask, ["VARCHAR", "VARCHAR"], "VARCHAR", null_handling="special")
    names = ", ".join(f"'{name}'" for name in RULES)
    connection.execute(f"""
create temp table identity_map as
with ends as (
    select unnest([a, b]) as id, rule, what, v
    from e
    inner join m as x on x.id = e.a
    inner join m as y on y.id = e.b
    where x.ruled = y.ruled
),
best as (select id, min(rule) as rule, min({{'r': rule, 'w': what, 'v': v}}) as why from ends group by id)
select
    r.ref as client_ref,
    c.ref as client_id,
    case when m.ruled <> m.client then 'decision' when r.id <> m.client then [{names}][best.rule + 1] end as rule,
    case
        when m.ruled <> m.client then 'decision ' || joined.decision_id
        when r.id <> m.client then mask(best.why.w, best.why.v)
    end as evidence,
    'h' || substr(o.ref, 2) as household_id,
    coalesce(cc.ref, r.company_ref) as company_id
from r
inner join m on m.id = r.id
inner join r as c on c.id = m.client
left join best on best.id = r.id
left join joined on joined.head = m.ruled
left join hh on hh.client = m.client
left join r as o on o.id = hh.head
left join r as cr on cr.ref = r.company_ref
left join m as cm on cm.id = cr.id
left join r as cc on cc.id = cm.client
where r.id <> m.client or hh.client is not null or r.company_ref is not null
""")


def _mask(what: str | None, value: str | None) -> str | None:
    """The kind of value, and the value as it may be shown (L22)."""
    if what is None or value is None:
        return None
    if what not in {"email", "phone", "tax", "card"}:
        return _KEY_WORDS.get(what)
    shown = mask_email(value) if what == "email" else mask_phone(value) if what == "phone" else f"***{value[-2:]}"
    return f"{_KEY_WORDS[what]} {shown}"
