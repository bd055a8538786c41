"""Rows that were set aside come back through the same gate, each of them once, in the place they would have had."""

from __future__ import annotations

import csv
import json
from datetime import date

import pytest
import yaml

from factories.landing_zone import CAMPAIGNS, CONTACTS, DAY, HOUSEHOLDS, SALES_FILE, Zone, many_sales, sale, sales
from perennial.core.errors import BatchRefused, ContractViolation
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.quarantine import set_aside
from perennial.ledger.tables import quarantine_actions
from perennial.pipeline import replay as replaying
from perennial.pipeline.day import open_day, unused_batches
from perennial.pipeline.quarantine import drop, export, rows, select, waiting
from perennial.pipeline.replay import replay

COUNTS = ("landed", "loaded", "quarantined", "duplicate")
PEOPLE = f"crm/households_{DAY}.csv"


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path)


def _bad_sales(zone):
    """A batch with an order of which one line is bad in two ways, a bad order of its own, and a line that is no row."""
    bad = [sale(10001, product="p2", quantity="x", value="y"), sale(10002, value=200000), "too,few"]
    zone.land(SALES_FILE, sales(*many_sales(100), sale(10001), *bad))
    report = zone.only()
    assert (report.state, report.quarantined) == ("committed", 3)
    return report


def _corrected(zone, report, tmp_path, change):
    """Export, let `change` edit each row (or give None to leave it out), and give the path back."""
    path = tmp_path / "bad.csv"
    export(zone.settings, select(zone.settings, report.batch_id), path)
    with path.open(encoding="utf-8", newline="") as stream:
        header, *lines = csv.reader(stream)
    edited = [change(dict(zip(header, line, strict=True))) for line in lines]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(list(row.values()) for row in edited if row is not None)
    return path


def _mended(row):
    return {**row, "quantity": "2", "sales_value": "4.00"} if row["basket_id"] == "10001" else None


def _half_mended(row):
    return {**row, "quantity": "2", "sales_value": row["sales_value"][:2]} if row["basket_id"] else None


def _again(zone, report, path=None):
    return replay(zone.settings, select(zone.settings, report.batch_id), corrected=path, by="ann")


def _fates(zone):
    """The law, for each batch, and how many rows wait."""
    found = zone.ledger(*COUNTS)
    assert all(landed == loaded + bad + again for landed, loaded, bad, again in found)
    return found, sum(one.waiting for one in set_aside(open_ledger(zone.settings)))


def test_L1_only_corrected_rows_come_back_once_as_a_batch_of_their_own_with_their_line_and_date(zone, tmp_path):
    report = _bad_sales(zone)
    path = _corrected(zone, report, tmp_path, _mended)
    [done] = _again(zone, report, path)
    assert (done.batch.landed, done.batch.loaded, done.batch.replays_batch_id) == (1, 1, report.batch_id)
    assert (done.batch.as_of, done.batch.files) == (DAY, ())
    assert _fates(zone) == ([(104, 101, 3, 0), (1, 1, 0, 0)], 2)
    assert zone.raw("order_lines", "order_key, quantity::int, _batch_id, _batch_seq, _file, _line, _business_date")[
        -1
    ] == ("10001", 2, done.batch.batch_id, 1, SALES_FILE, 103, DAY)
    [twice] = _again(zone, report, path)
    assert (twice.batch, twice.settled) == (None, 1)
    assert _fates(zone)[1] == 2


def test_rows_that_are_still_bad_wait_with_their_new_values_and_reasons_and_can_be_replayed_again(zone, tmp_path):
    report = _bad_sales(zone)
    half = _corrected(zone, report, tmp_path, _half_mended)
    [done] = _again(zone, report, half)
    assert (done.batch.landed, done.batch.loaded, done.batch.quarantined) == (2, 1, 1)
    assert _fates(zone) == ([(104, 101, 3, 0), (2, 1, 1, 0)], 2)
    [row] = rows(zone.settings, select(zone.settings, done.batch.batch_id), masked=True)
    assert (row.file, row.line, row.rules, row.raw["quantity"]) == (SALES_FILE, 103, ("type:amount",), "2")
    [first, *_others] = set_aside(open_ledger(zone.settings))
    [moved] = [one for one in set_aside(open_ledger(zone.settings)) if one.batch_id == done.batch.batch_id]
    assert moved.since == first.since  # its age goes on
    rest = _corrected(zone, done.batch, tmp_path, lambda row: {**row, "sales_value": "4"})
    [end] = _again(zone, done.batch, rest)
    assert (end.batch.loaded, end.batch.replays_batch_id) == (1, done.batch.batch_id)
    assert (end.batch.batch_id, 1, 103) in zone.raw("order_lines", "_batch_id, _batch_seq, _line")
    assert _fates(zone) == ([(104, 101, 3, 0), (2, 1, 1, 0), (1, 1, 0, 0)], 1)


def test_a_corrected_contract_takes_back_what_is_legal_now_and_leaves_the_rest_as_it_is(zone):
    report = _bad_sales(zone)
    [done] = _again(zone, report)
    assert (done.batch, done.unchanged) == (None, 2)
    assert done.reasons[0].startswith(f"{SALES_FILE}:103: quantity: 'x' is not a number")
    path = zone.settings.config_dir / "sources.yml"
    contracts = yaml.safe_load(path.read_text(encoding="utf-8"))
    contracts["sources"]["shop"]["entities"]["sales"]["columns"]["amount"]["max"] = 200000
    path.write_text(yaml.safe_dump(contracts), encoding="utf-8")
    zone.settings = load_settings({"PERENNIAL_HOME": str(zone.home), "PERENNIAL_CONFIG": str(path.parent)})
    [done] = replay(zone.settings, select(zone.settings, "shop.sales"), by="ann")
    assert (done.batch.loaded, done.unchanged) == (1, 1)
    assert _fates(zone)[1] == 2


def test_a_reference_that_is_known_by_now_lets_the_rows_in(zone):
    zone.land(f"crm/campaigns_{DAY}.csv", f"{CAMPAIGNS}\n1,A,2017-10-01,2017-10-05\n")
    good = "".join(f"1,{n},2017-10-01,mail\n" for n in range(30))
    zone.land(f"crm/campaign_contacts_{DAY}.csv", f"{CONTACTS}\n{good}2,1,2017-10-01,mail\n")
    _campaigns, report = zone.ingest()
    zone.land("crm/campaigns_2017-10-03.csv", f"{CAMPAIGNS}\n2,A,2017-10-01,2017-10-05\n")
    zone.only()
    [done] = _again(zone, report)
    assert (done.batch.loaded, _fates(zone)[1]) == (1, 0)


_SLOW = [pytest.param(at, marks=pytest.mark.slow) for at in ("write_raw", "record_actions", "carry_out")]


@pytest.mark.parametrize("kill_at", ["place", *_SLOW])
def test_L1_a_replay_that_was_killed_anywhere_and_done_again_loads_once(zone, tmp_path, monkeypatch, kill_at):
    report = _bad_sales(zone)
    path = _corrected(zone, report, tmp_path, _mended)

    def killed(*_arguments, **_options):
        raise KeyboardInterrupt

    target = (
        "perennial.sources.shelf.Journal.carry_out" if kill_at == "carry_out" else f"{replaying.__name__}.{kill_at}"
    )
    with monkeypatch.context() as patched:
        patched.setattr(target, killed)
        with pytest.raises(KeyboardInterrupt):
            _again(zone, report, path)
    _again(zone, report, path)
    assert _fates(zone) == ([(104, 101, 3, 0), (1, 1, 0, 0)], 2)
    assert [row[0] for row in zone.raw("order_lines", "order_key") if row[0] == "10001"] == ["10001", "10001"]


def test_a_row_that_was_no_row_comes_back_when_its_columns_are_filled_in(zone, tmp_path):
    report = _bad_sales(zone)
    [untouched] = _again(zone, report, _corrected(zone, report, tmp_path, lambda r: r if r["_raw"] else None))
    assert untouched.batch is None
    values = dict(zip(sales().strip().split(","), sale(10003).split(","), strict=True))
    [done] = _again(zone, report, _corrected(zone, report, tmp_path, lambda r: {**r, **values} if r["_raw"] else None))
    assert done.batch.loaded == 1
    assert zone.raw("order_lines", "order_key, _line, _extra")[-1] == ("10003", 105, None)


def test_a_batch_that_was_refused_as_a_whole_is_landed_again_and_its_rows_wait_no_longer(zone):
    zone.land(SALES_FILE, sales(sale(), sale(10002, quantity="x")))
    report = zone.only()
    assert report.state == "refused"
    with pytest.raises(ContractViolation, match=f"refused/{SALES_FILE}: .*land it again as landing/{SALES_FILE}"):
        _again(zone, report)
    assert [w.rule for w in waiting(zone.settings)] == ["type:quantity"]
    zone.land(SALES_FILE, sales(sale(), sale(10002)))
    assert zone.only().loaded == 2
    assert waiting(zone.settings) == []


def test_a_file_that_is_landed_again_takes_its_rows_out_of_quarantine(zone):
    report = _bad_sales(zone)
    zone.land(SALES_FILE, sales(*many_sales(100), sale(10001), sale(10001, product="p2"), sale(10002, quantity="z")))
    again = zone.only()
    assert again.quarantined == 1
    [(batch_id, rule)] = [(w.batch_id, w.rule) for w in waiting(zone.settings)]
    assert (batch_id, rule) == (again.batch_id, "type:quantity")
    with open_ledger(zone.settings).connect() as connection:
        actions = connection.execute(quarantine_actions.select()).all()
    assert {(a.batch_id, a.to_batch_id, a.action) for a in actions} == {(report.batch_id, again.batch_id, "replayed")}


def test_the_next_day_picks_a_replayed_batch_up_and_a_past_run_stays_as_it_was(zone, tmp_path):
    def alone(sources):
        for source in sources.values():
            for entity in source["entities"].values():
                entity["cadence"] = "daily" if entity["entity"] == "order_lines" else "on_change"

    zone = Zone(tmp_path / "alone", alone)
    report = _bad_sales(zone)
    first = open_day(zone.settings)
    [done] = _again(zone, report, _corrected(zone, report, tmp_path, _mended))
    assert done.batch.batch_id in {b.batch_id for b in unused_batches(zone.settings, ["shop"])}
    second = open_day(zone.settings)
    assert (second.as_of, second.revision) == (first.as_of, 2)
    assert set(second.batch_ids) - set(first.batch_ids) == {done.batch.batch_id}


def test_L22_personal_values_are_masked_unless_they_are_asked_for(zone, tmp_path):
    good = "".join(f"{n},A,B,a{n}@example.com,+12025550{n},1980-01-01,2017-01-01,x\n" for n in range(100, 130))
    header = f"{HOUSEHOLDS},nickname"
    zone.land(PEOPLE, f"{header}\n{good}7,Anna,Berg,anna at example,+12025550123,1980-01-01,2017-01-01,Annie\n")
    report = zone.only()
    chosen = select(zone.settings, report.batch_id)
    [row] = rows(zone.settings, chosen, masked=True)
    assert row.raw == {
        "household_id": "7", "first_name": "A***", "last_name": "B***", "email": "a***", "phone": "+***",
        "birth_date": "1***", "signed_up_on": "2017-01-01", "nickname": "A***",
    }  # fmt: skip
    assert "anna" not in " ".join(row.reasons)
    assert "Anna" not in repr(row)
    [whole] = rows(zone.settings, chosen, masked=False)
    assert whole.raw["email"] == "anna at example"
    path = _corrected(zone, report, tmp_path, lambda r: {**r, "email": "anna@example.com"})
    assert path.stat().st_mode & 0o777 == 0o600
    [done] = _again(zone, report, path)
    assert zone.raw("clients", "email, json_extract_string(_extra, '$.nickname')")[-1] == ("anna@example.com", "Annie")
    assert done.batch.loaded == 1


def test_L23_values_that_a_spreadsheet_takes_for_formulas_survive_the_way_out_and_back(zone, tmp_path):
    hostile = ["=1+1", "'=1+1", "@cmd", "''+x", "-2+3", " =x"]
    lines = [sale(30000 + n, store=value, quantity="x") for n, value in enumerate(hostile)]
    zone.land(SALES_FILE, sales(*many_sales(200), *lines))
    report = zone.only()
    cells = []

    def look(row):
        cells.append(row["store_id"])
        return {**row, "quantity": "1"}

    [done] = _again(zone, report, _corrected(zone, report, tmp_path, look))
    assert cells == [f"'{value}" for value in hostile]
    loaded = [row[0] for row in zone.raw("order_lines", "store_key")][-len(hostile) :]
    assert loaded == [value.strip() for value in hostile]
    assert done.batch.loaded == len(hostile)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "bad.csv:1: the columns _batch, _file and _line are not there"),
        ("a,_batch,_file,_line\n1,{batch},{file}\n", "bad.csv:2: the line has 3 cells, the header 4"),
        ("a,_batch,_file,_line\n1,{batch},{file},x\n", "bad.csv:2:_line: is not a whole number"),
        ("a,_batch,_file,_line\n1,other,{file},103\n", "bad.csv: it has rows of batch other, which was not asked"),
        ("a;_batch;_file;_line\n1;{batch};{file};5\n", "bad.csv:2: {batch} has not set aside {file}:5"),
        ("a,_batch,_file,_line\n1,{batch},{file},103\n2,{batch},{file},103\n", "bad.csv: lines 2 and 3 are the same"),
        ("a,_batch,_file,_line\n\udcff,{batch},{file},103\n", "bad.csv: the file is not UTF-8"),
    ],
)
def test_L23_a_file_that_is_no_export_is_told_with_line_and_fix(shared, tmp_path, text, said):
    zone, report = shared
    path = tmp_path / "bad.csv"
    names = {"batch": report.batch_id, "file": SALES_FILE}
    path.write_text(text.format(**names), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BatchRefused) as refused:
        _again(zone, report, path)
    assert str(refused.value).startswith(said.format(**names))
    assert refused.value.problems[0].fix


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    zone = Zone(tmp_path_factory.mktemp("shared"))
    return zone, _bad_sales(zone)


def test_dropped_rows_are_written_down_with_who_and_why_and_a_line_can_be_named(zone):
    report = _bad_sales(zone)
    assert drop(zone.settings, select(zone.settings, f"{report.batch_id}:104"), note="a test order", by="ann") == 1
    assert drop(zone.settings, select(zone.settings, f"{report.batch_id}:{SALES_FILE}:103"), note="n", by="ann") == 1
    assert drop(zone.settings, select(zone.settings, f"{report.batch_id}:104"), note="again", by="ann") == 0
    with open_ledger(zone.settings).connect() as connection:
        found = connection.execute(quarantine_actions.select().order_by(quarantine_actions.c.line)).all()
    assert [(a.line, a.action, a.note, a.done_by) for a in found] == [
        (103, "dropped", "n", "ann"),
        (104, "dropped", "a test order", "ann"),
    ]
    assert [(w.rule, w.rows) for w in waiting(zone.settings)] == [("structure", 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ffff", "the ledger has no such batch"),
        ("ab", "the ledger has no such batch"),
        ("%%%%", "the ledger has no such batch"),
        ("shop.nothing", "no row of it waits in quarantine"),
        ("{batch}:x", "'x' is not a line"),
    ],
)
def test_what_is_not_there_is_told(shared, text, said):
    zone, report = shared
    with pytest.raises(ContractViolation, match=said):
        select(zone.settings, text.format(batch=report.batch_id))


def test_quarantine_tells_rows_share_and_age_by_batch_and_rule(shared, monkeypatch):
    zone, report = shared
    [aside] = set_aside(open_ledger(zone.settings))
    monkeypatch.setenv("PERENNIAL_CLOCK", f"{aside.since.replace(year=aside.since.year + 1).isoformat()}+00:00")
    found = waiting(zone.settings)
    assert [(w.rule, w.rows, round(w.share, 4)) for w in found] == [
        ("range:amount", 1, 0.0096),
        ("structure", 1, 0.0096),
        ("type:amount", 1, 0.0096),
        ("type:quantity", 1, 0.0096),
    ]
    assert {(w.batch_id, w.as_of, w.oldest, w.age_days in (365, 366)) for w in found} == {
        (report.batch_id, date(2017, 10, 2), aside.since, True)
    }


def test_json_of_rows_is_the_file_that_landed(shared):
    zone, report = shared
    first = next(rows(zone.settings, select(zone.settings, f"{report.batch_id}:103"), masked=True))
    assert json.dumps(first.raw) == json.dumps(
        dict(
            zip(sales().strip().split(","), sale(10001, product="p2", quantity="x", value="y").split(","), strict=True)
        )
    )
