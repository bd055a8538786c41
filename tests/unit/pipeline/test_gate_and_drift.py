"""What the gate finds beyond rows: volume, silence, new and changed columns; its verdicts are in the ledger."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from factories.landing_zone import DAY, HOUSEHOLDS, SALES, Zone, sale
from perennial.core.errors import ContractViolation
from perennial.ledger import export
from perennial.ledger.engine import open_ledger
from perennial.ledger.quarantine import record_actions
from perennial.ledger.runs import open_run
from perennial.ledger.tables import batches, gate_results, quarantine_actions, source_columns
from perennial.pipeline.alerts import alerts_told, raise_alerts
from perennial.pipeline.day import open_day


def _change(sources):
    shop = sources["shop"]["entities"]
    shop["sales"] |= {
        "path": "shop/sales_{date}.csv",
        "volume": {"least": 5, "stop": [0.1, 10]},
        "freshness": {"warn_hours": 48, "stop_hours": 72},
        "limits": {"warn": 0.05, "stop": 0.4},
        "quarantine": {"warn_rows": 3, "warn_days": 5},
    }


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-05T06:00:00+00:00")


@pytest.fixture
def zone(tmp_path):
    zone = Zone(tmp_path, _change)
    for back in range(3, 0, -1):
        _land(zone, DAY - timedelta(days=back))
    zone.only("shop")
    return zone


def _land(zone, day: date, rows: int = 20, *, header: str = SALES, end: str = "", bad: str = "", first: int = 0):
    lines = [
        sale(10_000 * day.day + n, at=f"{day}T12:00:00Z", value=bad if bad and n < 6 else "2.50") + end
        for n in range(first, first + rows)
    ]
    zone.land(f"shop/sales_{day}.csv", "\n".join([header, *lines]) + "\n")


def _verdicts(zone, batch_id):
    g = gate_results.c
    query = sa.select(g.rule, g.rows_seen, g.rows_bad, g.warn_above, g.stop_above, g.verdict)
    with open_ledger(zone.settings).connect() as connection:
        return {row[0]: tuple(row[1:]) for row in connection.execute(query.where(g.batch_id == batch_id))}


def test_every_verdict_of_the_gate_is_written_with_the_batch_and_its_limits(zone):
    _land(zone, DAY)
    report = zone.only("shop")
    found = _verdicts(zone, report.batch_id)
    assert found["all rules"] == (20, 0, 0.05, 0.4, "passed")
    assert found["reference:client_key"][1:] == (20, 0.05, 1.0, "warned")
    assert found["volume:less"] == (20, 0, 0.7, 0.9, "passed")
    assert found["freshness"] == (1, 0, 0.0, None, "passed")
    assert not [w for w in report.warnings if "volume" in w or "freshness" in w]


def test_a_day_with_far_too_few_rows_is_refused_and_told_and_landed_whole_it_is_not(zone):
    _land(zone, DAY, 1)
    report = zone.only("shop")
    assert report.state == "refused"
    assert report.reasons[0].startswith("shop.sales: volume:less: 1 rows for 2017-10-02, usually about 20")
    assert _verdicts(zone, report.batch_id)["volume:less"][-1] == "stopped"
    [alert] = raise_alerts(zone.settings)
    assert (alert.kind, alert.subject, alert.link) == (
        "stop", report.batch_id, f"/perennial/quarantine?batch={report.batch_id}",
    )  # fmt: skip
    assert "volume:less" in alert.message
    assert raise_alerts(zone.settings) == [alert]  # until it went out
    alerts_told(zone.settings, [alert])
    assert raise_alerts(zone.settings) == []
    _land(zone, DAY)
    assert zone.only("shop").state == "committed"
    [over] = raise_alerts(zone.settings)
    assert (over.alert_id, over.ended, over.message[:10]) == (alert.alert_id, True, "it is over")
    alerts_told(zone.settings, [over])
    assert raise_alerts(zone.settings) == []


def test_a_new_column_is_kept_and_announced_once_with_its_first_batch(zone):
    _land(zone, DAY, header=f"{SALES},colour", end=",red")
    first = zone.only("shop")
    said = f"shop/sales_{DAY}.csv: new column 'colour' is not in the contract: it is kept as an extra (raw, _extra)"
    assert said in first.warnings
    assert zone.raw("order_lines", "_extra")[-1] == ('{"colour":"red"}',)
    [alert] = raise_alerts(zone.settings)
    assert (alert.kind, alert.subject) == ("drift", "shop.sales.colour")
    assert f"since batch {first.batch_id}" in alert.message
    alerts_told(zone.settings, [alert])
    _land(zone, DAY + timedelta(days=1), header=f"{SALES},colour", end=",blue")
    second = zone.only("shop")
    assert not [w for w in second.warnings if "colour" in w]
    assert raise_alerts(zone.settings) == []
    with open_ledger(zone.settings).connect() as connection:
        [row] = connection.execute(source_columns.select().where(source_columns.c.column_name == "colour"))
    assert (row.in_contract, row.first_batch_id, row.last_batch_id) == (False, first.batch_id, second.batch_id)


def test_a_changed_type_is_told_with_examples_and_what_to_set(zone):
    _land(zone, DAY, bad='"12,50"')
    report = zone.only("shop")
    [said] = [w for w in report.warnings if w.startswith("sales_value: was")]
    assert said == "sales_value: was a number in the last batch, now 30% of values are not: '12,50' -> set decimal: ','"
    _land(zone, DAY + timedelta(days=1), 10, bad="n/a")
    refused = zone.only("shop")
    assert refused.state == "refused"
    assert not [r for r in refused.reasons if r.startswith("sales_value: was")]  # it was not a number yesterday either


def test_L22_examples_of_personal_values_are_masked(tmp_path):
    zone = Zone(tmp_path, lambda s: s["crm"]["entities"]["households"].update(limits={"warn": 1, "stop": 1}))
    for day, born in ((DAY, "1980-01-02"), (DAY + timedelta(days=1), "02.01.1980")):
        people = "".join(f"{n},A,B,,,{born},2017-01-01\n" for n in range(9))
        zone.land(f"crm/households_{day}.csv", f"{HOUSEHOLDS}\n{people}")
        report = zone.only("crm")
    [said] = [w for w in report.warnings if w.startswith("birth_date: was")]
    assert said == (
        "birth_date: was a date in the last batch, now 100% of values are not: '0***' -> set date_format: '%d.%m.%Y'"
    )


def test_L6_a_source_that_is_silent_is_told_and_then_no_day_is_opened(zone, monkeypatch):
    _land(zone, DAY)
    zone.only("shop")
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-07T07:00:00+00:00")
    [alert] = raise_alerts(zone.settings)
    assert (alert.kind, alert.subject, alert.link) == ("silence", "shop.sales", "/perennial/batches?source=shop")
    assert "nothing has come for 49 hours, 48 are allowed" in alert.message
    for entity in ("households", "consents"):
        header = HOUSEHOLDS if entity == "households" else "household_id,channel,purpose,status,changed_at"
        zone.land(f"crm/{entity}_{DAY}.csv", f"{header}\n")
    zone.ingest("crm")
    assert open_day(zone.settings) is not None
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-08T07:00:00+00:00")
    with pytest.raises(ContractViolation, match=r"shop.sales: nothing has come for 73 hours, 72 are the limit"):
        open_day(zone.settings)
    _land(zone, DAY + timedelta(days=1))
    report = zone.only("shop")
    assert [w for w in report.warnings if "freshness: the first batch after 73.0 hours" in w]
    assert raise_alerts(zone.settings) == []  # nobody was told: its end is no news


def test_a_quarantine_that_grows_or_ages_is_told_with_what_to_do(zone, monkeypatch):
    _land(zone, DAY, bad="x")
    zone.only("shop")
    [alert] = raise_alerts(zone.settings)
    assert (alert.kind, alert.subject) == ("quarantine", "shop.sales rows")
    assert "shop.sales: 6 rows wait in quarantine, more than 3" in alert.message
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-11T06:00:00+00:00")
    subjects = {a.subject for a in raise_alerts(zone.settings) if a.kind == "quarantine"}
    assert subjects == {"shop.sales rows", "shop.sales age"}


def test_L2_a_run_sees_the_verdicts_columns_and_actions_of_its_batches_and_later_ones_never(zone):
    _land(zone, DAY, bad="x")
    report = zone.only("shop")
    engine = open_ledger(zone.settings)
    run = open_run(engine, DAY, (report.batch_id,), "config")

    def seen():
        return {name: reader.read_all().to_pylist() for name, reader in export.ledger_tables(engine, run)}

    before = seen()
    assert {row["batch_id"] for row in before["ledger_gate_results"]} == {report.batch_id}
    assert [r["verdict"] for r in before["ledger_gate_results"] if r["rule"] == "type:amount"] == ["warned"]
    assert before["ledger_source_columns"] == []  # an earlier batch brought them
    assert before["ledger_quarantine_actions"] == []
    file = f"shop/sales_{DAY}.csv"
    with engine.begin() as connection:
        connection.execute(sa.update(batches).values(warnings=batches.c.warnings))
        done = {"done_by": "ann", "note": "private"}
        record_actions(connection, report.batch_id, [(file, 2)], "replayed", to_batch_id="another", **done)
        record_actions(connection, report.batch_id, [(file, 3)], "replayed", to_batch_id=report.batch_id, **done)
    after = seen()
    assert [(a["line"], a["action"]) for a in after["ledger_quarantine_actions"]] == [(3, "replayed")]
    assert not {"note", "done_by"} & set(after["ledger_quarantine_actions"][0])
    with engine.begin() as connection:
        connection.execute(sa.delete(quarantine_actions))
    assert seen() == before
