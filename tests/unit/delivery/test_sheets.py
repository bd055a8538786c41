"""Lists that people work through: what stands in a call centre's sheet, and in each account manager's."""

from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from openpyxl import load_workbook

from factories.change_sets import change_set, nothing_to_confirm
from perennial.contracts.destinations import OutboxConfig, SheetConfig
from perennial.core.errors import ConfigError
from perennial.delivery.managers import manager_is_known, managers_join
from perennial.delivery.outbox import OutboxDestination
from perennial.delivery.sheets import file_of, write_sheets

SCHEMA = pa.schema(
    [
        ("client_id", pa.string()),
        ("action", pa.string()),
        ("client_key", pa.string()),
        ("phone", pa.string()),
        ("first_name", pa.string()),
        ("account_manager", pa.string()),
        ("usual_buying_hour", pa.int64()),
        ("next_due_on", pa.date32()),
        ("offer_text", pa.string()),
        ("value", pa.decimal128(18, 2)),
        ("row_hash", pa.string()),
    ]
)
SCRIPT = {"why": "due on {{ next_due_on }}", "say": "Hello {{ first_name }}, it is time"}


def row(number, name="Ann", manager="Zoë O'Neil", hour=10, due=date(2017, 10, 5), action="add"):
    phone, value = f"+1202555{number:04}", Decimal(100 - number)
    return dict(
        zip(
            SCHEMA.names,
            (f"c{number}", action, f"k{number}", phone, name, manager, hour, due, "10 off", value, "h"),
            strict=True,
        )
    )


def sheets(folder, rows, campaign_id="news", without=frozenset(), **config):
    batches = [pa.RecordBatch.from_pylist([one], schema=SCHEMA) for one in rows]
    given = SheetConfig.model_validate({"kind": "call_centre", "script": SCRIPT, **config})
    written = write_sheets(folder, SCHEMA, batches, given, campaign_id=campaign_id, without=without)
    return {file.name: read(folder / file.name) for file in written}


def read(path):
    header, *lines = load_workbook(path)["list"].iter_rows(values_only=True)
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_a_call_sheet_says_whom_to_call_why_what_to_say_and_when(tmp_path):
    [line] = sheets(tmp_path, [row(1)])["calls.xlsx"]
    assert list(line)[:8] == [
        "turn",
        "client_key",
        "first_name",
        "phone",
        "why",
        "what_to_say",
        "best_hour",
        "account_manager",
    ]
    assert (line["turn"], line["phone"], line["value"]) == (1, "+12025550001", 99)
    assert (line["why"], line["what_to_say"]) == ("due on 2017-10-05", "Hello Ann, it is time")
    assert (line["best_hour"], line["result"], line["note"]) == ("10:00", None, None)
    assert not {"row_hash", "action", "usual_buying_hour"} & set(line)


def test_what_is_beyond_the_capacity_is_a_reserve_and_the_most_valuable_are_called_today(tmp_path):
    lines = sheets(tmp_path, [row(number) for number in range(1, 4)], capacity=2)["calls.xlsx"]
    assert [(line["turn"], line["today"], line["client_id"]) for line in lines] == [
        (1, True, "c1"),
        (2, True, "c2"),
        (3, False, "c3"),
    ]


@pytest.mark.parametrize(("hour", "said"), [(None, "11:00"), (3, "09:00"), (9, "09:00"), (17, "17:00"), (23, "17:00")])
def test_the_best_hour_is_one_at_which_people_work(tmp_path, hour, said):
    assert sheets(tmp_path, [row(1, hour=hour)])["calls.xlsx"][0]["best_hour"] == said


def test_where_a_value_is_missing_nobody_reads_half_a_sentence(tmp_path):
    [line] = sheets(tmp_path, [row(1, name=None, due=None)])["calls.xlsx"]
    assert (line["why"], line["what_to_say"]) == (None, "10 off")


def test_each_campaign_may_have_its_own_script(tmp_path):
    own = {"scripts": {"win_back": {"why": "left", "say": "Come back"}}}
    [line] = sheets(tmp_path, [row(1)], "win_back", **own)["calls.xlsx"]
    assert (line["why"], line["what_to_say"]) == ("left", "Come back")


def test_every_manager_gets_a_workbook_of_his_own_clients_and_nobody_is_lost(tmp_path):
    rows = [row(1), row(2, manager="Bo"), row(3), row(4, manager=None), row(5, manager="Zoe ONeil")]
    found = sheets(tmp_path, rows, kind="managers")
    assert {name: [line["client_id"] for line in lines] for name, lines in found.items()} == {
        file_of("Zoë O'Neil"): ["c1", "c3"],
        file_of("Bo"): ["c2"],
        "manager__nobody.xlsx": ["c4"],
        file_of("Zoe ONeil"): ["c5"],
    }
    assert [line["turn"] for line in found[file_of("Zoë O'Neil")]] == [1, 2]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "Жанна", "x" * 300, "=1", "\x00", "."])
def test_L23_a_managers_name_never_becomes_a_path(name):
    assert file_of(name).replace("_", "").removesuffix(".xlsx").isalnum()
    assert len(file_of(name)) < 80


def test_who_is_taken_off_or_was_refused_is_in_no_sheet(tmp_path):
    lines = sheets(tmp_path, [row(1, action="remove"), row(2), row(3)], without=frozenset({"c3"}))["calls.xlsx"]
    assert [line["client_id"] for line in lines] == ["c2"]


def test_a_script_or_a_split_that_the_list_cannot_fill_is_told(tmp_path):
    with pytest.raises(ConfigError, match="a script shows points"):
        sheets(tmp_path, [row(1)], script={"say": "{{ points }}"})
    schema = SCHEMA.remove(SCHEMA.get_field_index("account_manager"))
    with pytest.raises(ConfigError, match="no field account_manager"):
        write_sheets(tmp_path, schema, [], SheetConfig(kind="managers"), campaign_id="news")


def test_the_sheets_of_a_list_stand_in_its_manifest_and_are_read_back_with_it(tmp_path):
    config = OutboxConfig(kind="outbox", channels=("email",), sheet=SheetConfig(kind="call_centre"))
    made = OutboxDestination("outbox", config, tmp_path)
    made.push(change_set(["c1", "c2"]), nothing_to_confirm)
    [receipt] = made.reconcile("news__email", ())
    assert [line["client_id"] for line in read(receipt.path / "calls.xlsx")] == ["c1", "c2"]
    assert receipt.counts.sent == 2


def test_the_manager_of_a_client_is_the_agent_of_the_latest_deal_an_open_one_first():
    con = duckdb.connect()
    con.execute("create table w as select unnest(['c1', 'c2', 'c3']) as client_id")
    con.execute(
        "create table dim_agents as select * from (values ('crm', 'a1', 'Ann'), ('crm', 'a2', 'Bo')) t (source, agent_key, agent_name)"
    )
    con.execute(
        "create table fct_deals as select * from (values"
        " ('crm', 'd1', 'c1', 'a1', 'open', date '2017-01-01'), ('crm', 'd2', 'c1', 'a2', 'won', date '2017-09-01'),"
        " ('crm', 'd3', 'c2', 'a1', 'lost', null), ('crm', 'd4', 'c2', 'a2', 'won', date '2016-01-01'),"
        " ('crm', 'd5', null, 'a1', 'open', date '2017-01-01')) t (source, deal_key, client_id, agent_key, outcome, opened_on)"
    )
    query = f"select w.client_id, client_managers.account_manager from w {managers_join()} order by 1"
    assert con.execute(query).fetchall() == [("c1", "Ann"), ("c2", "Bo"), ("c3", None)]
    assert manager_is_known(["account_manager"], ["fct_deals", "dim_agents", "dim_clients"])
    assert not manager_is_known(["account_manager"], ["dim_clients"])
    assert not manager_is_known(["first_name"], ["fct_deals", "dim_agents"])
