"""A whole day with rows that were replayed, repeated, deleted and late, built and published: nothing is lost (L1)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from factories.landing_zone import CONSENTS, DAY, HOUSEHOLDS, SALES, Zone, sale
from perennial.pipeline.build import build, publish
from perennial.pipeline.day import open_day
from perennial.pipeline.quarantine import export, select
from perennial.pipeline.replay import replay
from perennial.warehouse.reader import run_sql

BEFORE, NEXT = DAY - timedelta(days=1), DAY + timedelta(days=1)


def _change(sources):
    shop = sources["shop"]["entities"]
    shop["sales"] |= {
        "path": "shop/sales_{date}.csv",
        "deleted": {"column": "state", "values": ["gone"]},
        "version": "changed",
        "limits": {"warn": 1, "stop": 1},
    }
    del shop["sales"]["references"]


def _land(zone: Zone, day, *lines: str) -> None:
    moment = f"{day}T12:00:00Z"
    zone.land(f"shop/sales_{day}.csv", "\n".join([f"{SALES},state,changed", *(x.replace("AT", moment) for x in lines)]))
    zone.ingest("shop")


def _row(order: int, value: object, *, end: str = ",live,1") -> str:
    return sale(order, at="AT", value=value) + end


@pytest.mark.slow
def test_L1_every_loaded_line_of_a_day_with_replays_and_late_deliveries_is_in_the_facts_or_replaced(tmp_path: Path):
    zone = Zone(tmp_path, _change)
    zone.land(f"crm/households_{NEXT}.csv", f"{HOUSEHOLDS}\n1,A,B,,,,2017-01-01\n")
    zone.land(f"crm/consents_{NEXT}.csv", f"{CONSENTS}\n")
    zone.ingest("crm")
    same = f"{DAY - timedelta(days=2)}T12:00:00Z"
    first = [line.replace("AT", same) for line in (_row(10001, 1), _row(10002, 2), _row(10003, 3))]
    _land(zone, BEFORE, *first)
    _land(
        zone,
        NEXT,
        first[0],
        _row(10002, 2, end=",gone,1"),
        _row(10004, 4, end=",live,1"),
        _row(10004, 5, end=",live,2"),
    )
    _land(zone, DAY, _row(10001, 7), _row(10001, "x"), _row(10005, 6))
    day = open_day(zone.settings)
    build(zone.settings, day)
    [done] = _mended(zone, tmp_path)
    assert done.batch.loaded == 1
    again = open_day(zone.settings)
    assert again.revision == day.revision + 1
    build(zone.settings, again)
    publish(zone.settings, again)
    lines = _asked(zone, "select order_key, amount::int as amount from fct_order_lines order by all")
    assert [tuple(row.values()) for row in lines] == [("10001", 1), ("10003", 3), ("10004", 5), ("10005", 6)]
    [action] = _asked(zone, "select action, to_batch_id from ledger_quarantine_actions")
    assert action == {"action": "replayed", "to_batch_id": done.batch.batch_id}
    [stopped] = _asked(
        zone, "select count(*) as n from ledger_gate_results where rule = 'type:amount' and rows_bad = 1"
    )
    assert stopped["n"] == 1
    assert _asked(zone, "select column_name from ledger_source_columns where not in_contract") == []


def _asked(zone: Zone, sql: str):
    return run_sql(zone.settings, sql).read_all().to_pylist()


def _mended(zone: Zone, folder: Path):
    path = folder / "bad.csv"
    chosen = select(zone.settings, "shop.sales")
    export(zone.settings, chosen, path)
    path.write_text(path.read_text(encoding="utf-8").replace(",x,", ",8,"), encoding="utf-8")
    return replay(zone.settings, chosen, corrected=path, by="ann")
