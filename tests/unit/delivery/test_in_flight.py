"""Rows on their way to a tool: private, whole, and gone once nobody needs them."""

import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from factories import kept_tool
from perennial.core.errors import ConfigError
from perennial.delivery.engine.in_flight import InFlight
from perennial.delivery.engine.rows import Piece, RowMap, pieces, row_map, sql_types
from perennial.delivery.records import ChangeSet, Counts, ListKey
from perennial.delivery.tools.records import Limits

KEY = ListKey("news", "email", date(2017, 10, 1))
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("client_id", "action", "client_key", "email", "first_name")),
        ("revenue_365d", pa.decimal128(18, 2)),
        ("valid_until", pa.date32()),
        ("value", pa.decimal128(18, 2)),
        ("row_hash", pa.string()),
    ]
)


def row(client_id, action="add", first_name="Ann", **more):
    made = dict.fromkeys(SCHEMA.names) | {"client_id": client_id, "action": action, "email": f"{client_id}@example.com"}
    return made | {"first_name": first_name, "row_hash": f"h{client_id}", "client_key": client_id[1:], **more}


def changes(*rows):
    actions = {name: sum(one["action"] == name for one in rows) for name in ("add", "update", "remove")}
    batches = [
        pa.RecordBatch.from_pylist(list(rows[start : start + 3]), schema=SCHEMA) for start in range(0, len(rows), 3)
    ]
    counts = Counts(len(rows), len(rows), 0, 0, 0)
    return ChangeSet(KEY, 1, "audience", "kept", counts, actions, SCHEMA, lambda: iter(batches))


def cut(change_set, limits, config=None):
    mapped = row_map(config or kept_tool.config(), SCHEMA, "list")
    return [(one.action, one.rows.column("client_id").to_pylist()) for one in pieces(change_set, limits, mapped)]


def test_a_change_set_is_cut_into_calls_of_one_action_and_who_leaves_goes_first():
    rows = [row(f"c{n}", ("add", "update", "remove")[n % 3]) for n in range(9)]
    assert cut(changes(*rows), Limits(2, 10, 1)) == [
        ("remove", ["c2", "c5"]),
        ("remove", ["c8"]),
        ("add", ["c0", "c3"]),
        ("update", ["c1", "c4"]),
        ("add", ["c6"]),
        ("update", ["c7"]),
    ]


def test_a_call_is_no_longer_than_the_tool_allows():
    rows = [row(f"c{n}", first_name="x" * 400) for n in range(8)]
    sizes = [len(ids) for _, ids in cut(changes(*rows), Limits(100, 10, 1, bytes_per_call=2_500))]
    assert (sum(sizes), max(sizes)) == (8, 2)


def test_L19_fields_go_under_the_tools_names_with_defaults_and_nothing_else_leaves_the_house():
    config = kept_tool.config(fields={"first_name": "FNAME", "revenue_365d": "REV"}, defaults={"first_name": "friend"})
    mapped = row_map(config, SCHEMA, "list")
    batch = pa.RecordBatch.from_pylist(
        [row("c1", first_name=None), row("c2", first_name="A\x00nn", revenue_365d=Decimal("1.50"))], schema=SCHEMA
    )
    first, second = mapped.contacts(batch)
    assert (first.address, first.client_key, first.fields) == ("c1@example.com", "1", {"FNAME": "friend", "REV": None})
    assert second.fields == {"FNAME": "Ann", "REV": Decimal("1.50")}
    assert sql_types(mapped, SCHEMA) == (("FNAME", "VARCHAR"), ("REV", "DECIMAL(18,2)"))
    assert "value" not in dict(row_map(kept_tool.config(), SCHEMA, "list").fields)
    with pytest.raises(ConfigError, match="two fields are called A"):
        row_map(kept_tool.config(fields={"first_name": "A", "value": "A"}), SCHEMA, "list")


def test_L22_rows_on_their_way_come_back_as_they_were_and_only_their_owner_reads_them(tmp_path):
    batch = pa.RecordBatch.from_pylist([row("c1", valid_until=date(2017, 10, 9), value=Decimal("2.25"))], schema=SCHEMA)
    piece = Piece(KEY, "add", batch, RowMap("email", (("first_name", "FNAME"),), {"first_name": "friend"}))
    kept = InFlight(tmp_path)
    kept.keep("chunk", piece)
    path = tmp_path / "private" / "in_flight" / "chunk.arrow"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert InFlight(tmp_path).read("chunk", KEY, "add") == piece
    path.write_bytes(path.read_bytes()[:40])
    assert kept.read("chunk", KEY, "add") is None
    kept.forget("chunk")
    assert (kept.read("chunk", KEY, "add"), list(path.parent.iterdir())) == (None, [])


def test_what_no_chunk_stands_for_is_swept_away_after_an_hour(tmp_path, monkeypatch):
    kept = InFlight(tmp_path)
    kept.sweep(set())
    batch = pa.RecordBatch.from_pylist([row("c1")], schema=SCHEMA)
    for name in ("left", "open", "young"):
        kept.keep(name, Piece(KEY, "add", batch, RowMap("email", ())))
    moment = datetime(2017, 10, 1, 12, tzinfo=UTC)
    monkeypatch.setenv("PERENNIAL_CLOCK", moment.isoformat())
    folder = tmp_path / "private" / "in_flight"
    for name, minutes in (("left", 61), ("open", 61), ("young", 59)):
        when = (moment - timedelta(minutes=minutes)).timestamp()
        os.utime(folder / f"{name}.arrow", (when, when))
    kept.sweep({"open"})
    assert sorted(path.stem for path in folder.iterdir()) == ["open", "young"]
