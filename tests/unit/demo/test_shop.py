from __future__ import annotations

import gzip
from datetime import date, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from perennial.contracts.sources import SourcesFile
from perennial.core.errors import PermanentError
from perennial.core.settings import REPOSITORY
from perennial.core.yamlfile import read_yaml, validate
from perennial.demo.shop import land_day, land_history, package_data

ZONE = ZoneInfo("America/New_York")
SOURCES = validate(read_yaml(REPOSITORY / "config" / "sources.yml"), SourcesFile)
ENTITIES = [entity for source in SOURCES.sources.values() for entity in source.entities.values()]


@pytest.fixture
def declared():
    return {entity.path.replace("{date}", "????-??-??"): entity for entity in ENTITIES}


@pytest.mark.parametrize("landing", ["history", "next_day"])
def test_every_file_is_declared_in_sources_yml_with_its_columns(landing, declared, request):
    landing = request.getfixturevalue(landing)
    for name in landing.names():
        entity = next(entity for pattern, entity in declared.items() if fnmatchcase(name, pattern))
        content = (landing.folder / name).read_bytes()
        text = gzip.decompress(content) if name.endswith(".gz") else content
        header = text.decode().splitlines()[0].split(",")
        assert {column.source for column in entity.columns.values()} == set(header), name


def test_history_has_a_sales_file_for_each_business_day_and_one_file_of_each_other_kind(history):
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(274)]
    sales = [f"shop/sales_{day}.csv.gz" for day in days]
    crm = ["campaign_contacts", "campaigns", "consents", "demographics", "households", "interactions", "redemptions"]
    others = ["shop/products_2017-10-01.csv.gz", *[f"crm/{name}_2017-10-01.csv" for name in crm]]
    assert history.names() == sorted(sales + others)


def test_L1_nothing_is_lost_the_files_of_all_days_hold_every_line_of_the_package(history):
    moments = pq.read_table(package_data() / "transactions.parquet", columns=["transaction_timestamp", "sales_value"])
    midnight_in_new_york = pa.scalar("2017-10-02T04:00:00").cast(pa.timestamp("us"))
    known = moments.filter(pc.less(moments["transaction_timestamp"], midnight_in_new_york))
    lines, amount = 0, Decimal(0)
    for name in history.names():
        if name.startswith("shop/sales_"):
            text = gzip.decompress((history.folder / name).read_bytes()).decode().splitlines()[1:]
            lines += len(text)
            amount += sum(Decimal(line.split(",")[5]) for line in text)
    assert lines == known.num_rows
    assert amount == Decimal(str(round(pc.sum(known["sales_value"]).as_py(), 2)))


@pytest.mark.parametrize("day", ["2017-01-01", "2017-03-12", "2017-07-04"])
def test_L25_a_file_holds_the_sales_of_one_day_in_new_york_in_order(history, day):
    rows = history.rows(f"shop/sales_{day}.csv.gz")
    moments = [datetime.fromisoformat(row["sold_at"]) for row in rows]
    assert {moment.astimezone(ZONE).date().isoformat() for moment in moments} == {day}
    order = [(row["sold_at"], int(row["basket_id"])) for row in rows]
    assert order == sorted(order)


def test_L25_the_day_on_which_the_clocks_go_back_has_twenty_five_hours(tmp_path):
    land_day(tmp_path, date(2017, 11, 5))
    text = gzip.decompress((tmp_path / "shop/sales_2017-11-05.csv.gz").read_bytes()).decode().splitlines()[1:]
    moments = [line.split(",")[3] for line in text]
    assert moments[0] >= "2017-11-05T04:00:00Z"
    assert "2017-11-06T04:00:00Z" <= moments[-1] < "2017-11-06T05:00:00Z"


def test_discount_is_the_sum_of_the_three_discounts_of_the_line(next_day):
    table = pq.read_table(package_data() / "transactions.parquet")
    row = next(row for row in next_day.rows("shop/sales_2017-10-02.csv.gz") if Decimal(row["discount"]) > 1)
    mine = pc.and_(
        pc.equal(table["basket_id"], int(row["basket_id"])), pc.equal(table["product_id"], int(row["product_id"]))
    )
    [line] = table.filter(mine).to_pylist()
    parts = [Decimal(str(line[name])) for name in ("retail_disc", "coupon_disc", "coupon_match_disc")]
    assert Decimal(row["discount"]) == sum(parts)
    assert row["sold_at"] == line["transaction_timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_day_on_which_the_shop_is_closed_has_a_file_without_lines(tmp_path):
    land_day(tmp_path, date(2017, 12, 25))
    text = gzip.decompress((tmp_path / "shop/sales_2017-12-25.csv.gz").read_bytes()).decode()
    assert text.splitlines() == ["basket_id,household_id,product_id,sold_at,quantity,sales_value,discount,store_id"]


def test_history_holds_only_what_was_known_by_then(history):
    campaigns = history.rows("crm/campaigns_2017-10-01.csv")
    assert len(campaigns) == 19
    assert max(row["start_date"] for row in campaigns) <= "2017-10-01"
    contacts = history.rows("crm/campaign_contacts_2017-10-01.csv")
    starts = {row["campaign_id"]: row["start_date"] for row in campaigns}
    assert all(starts[row["campaign_id"]] == row["contacted_on"] for row in contacts)
    assert {row["channel"] for row in contacts} == {"email"}
    assert max(row["redemption_date"] for row in history.rows("crm/redemptions_2017-10-01.csv")) == "2017-10-01"
    assert max(row["signed_up_on"] for row in history.rows("crm/households_2017-10-01.csv")) <= "2017-10-01"
    changed = (datetime.fromisoformat(row["changed_at"]) for row in history.rows("crm/consents_2017-10-01.csv"))
    assert max(moment.astimezone(ZONE).date() for moment in changed) <= date(2017, 10, 1)


def test_nobody_buys_is_contacted_or_described_before_being_in_the_crm(history):
    known = {row["household_id"]: row["signed_up_on"] for row in history.rows("crm/households_2017-10-01.csv")}
    for day in ("2017-01-01", "2017-04-15", "2017-10-01"):
        assert all(known[row["household_id"]] <= day for row in history.rows(f"shop/sales_{day}.csv.gz"))
    for row in history.rows("crm/campaign_contacts_2017-10-01.csv"):
        assert known[row["household_id"]] <= row["contacted_on"]
    assert {row["household_id"] for row in history.rows("crm/demographics_2017-10-01.csv")} <= set(known)


def test_products_are_sent_once_when_they_are_first_sold(history, next_day):
    old = {row["product_id"] for row in history.rows("shop/products_2017-10-01.csv.gz")}
    new = {row["product_id"] for row in next_day.rows("shop/products_2017-10-02.csv.gz")}
    sold = {row["product_id"] for row in next_day.rows("shop/sales_2017-10-02.csv.gz")}
    assert new
    assert not new & old
    assert new <= sold
    described = set(map(str, pq.read_table(package_data() / "products.parquet")["product_id"].to_pylist()))
    assert sold & described <= old | new


def test_one_more_day_is_a_full_list_of_households_and_only_the_changes_of_everything_else(history, next_day):
    before = {row["household_id"] for row in history.rows("crm/households_2017-10-01.csv")}
    after = {row["household_id"] for row in next_day.rows("crm/households_2017-10-02.csv")}
    assert before < after
    changes = next_day.rows("crm/consents_2017-10-02.csv")
    days = {datetime.fromisoformat(row["changed_at"]).astimezone(ZONE).date() for row in changes}
    assert days == {date(2017, 10, 2)}
    assert {row["status"] for row in changes} == {"granted", "withdrawn"}
    assert {row["redemption_date"] for row in next_day.rows("crm/redemptions_2017-10-02.csv")} == {"2017-10-02"}
    assert not [name for name in next_day.names() if "campaign" in name]  # none started on that day


def test_a_day_without_a_change_of_consent_has_a_consent_file_without_rows(tmp_path):
    quiet = next(
        d for d in (date(2017, 10, 3) + timedelta(days=n) for n in range(30)) if _lands_no_consent(tmp_path, d)
    )
    assert (tmp_path / f"crm/consents_{quiet}.csv").read_text() == "household_id,channel,purpose,status,changed_at\n"


def _lands_no_consent(folder: Path, day: date) -> bool:
    land_day(folder, day)
    return len((folder / f"crm/consents_{day}.csv").read_text().splitlines()) == 1


def test_L2_the_same_history_is_the_same_bytes(tmp_path, bytes_below):
    for name in ("one", "two"):
        land_history(tmp_path / name, date(2017, 1, 20))
    assert bytes_below(tmp_path / "one") == bytes_below(tmp_path / "two")


def test_L2_a_day_of_history_is_the_same_file_as_the_day_landed_alone(tmp_path, history):
    land_day(tmp_path, date(2017, 6, 30))
    name = "shop/sales_2017-06-30.csv.gz"
    assert (tmp_path / name).read_bytes() == (history.folder / name).read_bytes()


def test_a_landing_that_was_killed_half_way_is_completed_by_landing_again(tmp_path, bytes_below):
    until = date(2017, 1, 10)
    landing, archive, whole = tmp_path / "landing", tmp_path / "archive", tmp_path / "whole"
    land_history(whole, until)
    land_history(landing, until)
    taken = landing / "shop/sales_2017-01-02.csv.gz"
    (archive / "shop").mkdir(parents=True)
    taken.rename(archive / "shop" / taken.name)  # ingested already
    lost = landing / "crm/households_2017-01-10.csv"
    lost.rename(lost.with_name(f".{lost.name}.part"))  # written, and killed before its renaming

    again = land_history(landing, until, archive=archive)

    assert again.landed == ("crm/households_2017-01-10.csv",)
    assert "shop/sales_2017-01-02.csv.gz" in again.already
    expected = bytes_below(whole)
    del expected["shop/sales_2017-01-02.csv.gz"]
    assert bytes_below(landing) == expected


def test_sales_appear_first_and_the_files_that_every_day_has_last(tmp_path):
    landed = land_day(tmp_path, date(2017, 10, 4)).landed  # a campaign starts
    assert landed[0].startswith("shop/sales_")
    assert landed[-2:] == ("crm/consents_2017-10-04.csv", "crm/households_2017-10-04.csv")
    assert landed.index("crm/campaigns_2017-10-04.csv") < landed.index("crm/campaign_contacts_2017-10-04.csv")


@pytest.mark.parametrize("day", [date(2016, 12, 31), date(2018, 1, 1)])
def test_a_date_that_the_data_does_not_have_is_refused_with_the_dates_that_it_has(tmp_path, day):
    with pytest.raises(PermanentError, match="from 2017-01-01 to 2017-12-31"):
        land_day(tmp_path, day)
    with pytest.raises(PermanentError, match="no data of"):
        land_history(tmp_path, day)
    assert not list(tmp_path.iterdir())


def test_surveys_and_complaints_are_sent_on_their_day_and_only_by_whom_the_crm_knows(history, next_day):
    known = {row["household_id"] for row in history.rows("crm/households_2017-10-01.csv")}
    rows = history.rows("crm/interactions_2017-10-01.csv")
    more = next_day.rows("crm/interactions_2017-10-02.csv")
    assert {row["household_id"] for row in rows} <= known
    kinds = [row["kind"] for row in rows]
    assert kinds.count("nps") > 1000
    assert 0 < kinds.count("complaint_resolved") < kinds.count("complaint")
    assert all((row["score"] != "") == (row["kind"] == "nps") for row in rows)
    days = {datetime.fromisoformat(row["happened_at"]).astimezone(ZONE).date() for row in more}
    assert days == {date(2017, 10, 2)}
    assert not {row["interaction_id"] for row in rows} & {row["interaction_id"] for row in more}


def test_only_one_department_sells_what_ends(history):
    terms = {(row["department"], row["term_days"]) for row in history.rows("shop/products_2017-10-01.csv.gz")}
    assert {(department, term) for department, term in terms if term} == {("TRAVEL & LEISURE", "60")}
