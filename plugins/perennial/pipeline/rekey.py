"""What the ledger wrote under the client ids of earlier days, by the ids of today: after a merge and its undoing.

Nothing in the ledger is changed: the map of the run's published version is laid over what is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from perennial.contracts.identity import MEMBERS
from perennial.ledger import assignments
from perennial.warehouse.engine import Published

ALIASES_TABLE = "client_aliases"


def aliases_of(published: Published) -> pa.Table:
    """The records that belong to a client of another id: (client_ref, client_id)."""
    if ALIASES_TABLE not in published.tables():
        return MEMBERS.empty_table()
    found = published.query(f"select client_ref, client_id from {ALIASES_TABLE} order by client_ref")
    return found.cast(MEMBERS)


def rekeyed(table: pa.Table, aliases: pa.Table, *, one_per: Sequence[str] = ()) -> pa.Table:
    """The table with today's client ids; of the rows that fall together in `one_per` the first stays."""
    if not aliases.num_rows or not table.num_rows:
        return table
    place = table.schema.get_field_index("client_id")
    ids = table.column(place)
    index = pc.index_in(ids, value_set=aliases.column("client_ref"))
    now = pc.coalesce(aliases.column("client_id").take(index), ids)
    mapped = table.set_column(place, table.schema.field(place), now)
    if not one_per:
        return mapped
    touched = pc.is_in(now, value_set=aliases.column("client_id"))
    rows = mapped.filter(touched)
    seen: set[tuple[object, ...]] = set()
    keep = []
    for key in zip(*(rows.column(name).to_pylist() for name in one_per), strict=True):
        keep.append(key not in seen)
        seen.add(key)
    return pa.concat_tables([mapped.filter(pc.invert(touched)), rows.filter(pa.array(keep, pa.bool_()))])


def rekeyed_batches(batches: Iterable[pa.RecordBatch], aliases: pa.Table) -> Iterator[pa.RecordBatch]:
    """The batches with today's client ids."""
    for batch in batches:
        yield from rekeyed(pa.Table.from_batches([batch]), aliases).to_batches()


def arms(
    engine: sa.Engine, experiments: Collection[str], aliases: pa.Table, *, until: date
) -> tuple[pa.Table, list[tuple[str, str]]]:
    """The arms by today's ids, and (experiment, client) of those whose records had drawn different arms.

    Of a client's several arms the older stays; of two of one day that of the client's own record, else control.
    """
    found = assignments.assigned(engine, experiments, until=until)
    if not aliases.num_rows:
        return found, []
    joined = sorted({*aliases.column("client_ref").to_pylist(), *aliases.column("client_id").to_pylist()})
    own = dict(zip(aliases.column("client_ref").to_pylist(), aliases.column("client_id").to_pylist(), strict=True))
    by_client: dict[tuple[str, str], list[tuple[date, bool, str]]] = {}
    for row in assignments.drawn_for(engine, experiments, joined, until=until).to_pylist():
        client = own.get(row["client_id"], row["client_id"])
        drawn = (row["assigned_on"], row["client_id"] != client, row["arm"])
        by_client.setdefault((row["campaign_id"], client), []).append(drawn)
    oldest = [{"campaign_id": c, "client_id": who, "arm": min(drawn)[2]} for (c, who), drawn in by_client.items()]
    apart = found.filter(pc.invert(pc.is_in(found.column("client_id"), value_set=pa.array(joined, pa.string()))))
    mixed = sorted(key for key, drawn in by_client.items() if len({arm for *_, arm in drawn}) > 1)
    return pa.concat_tables([apart, pa.Table.from_pylist(oldest, schema=assignments.ASSIGNED)]), mixed
