"""`perennial sources`: what a person sees of sources, files and what would become of them."""

from __future__ import annotations

import json

import pytest
import yaml

from perennial.sources.rest.definitions import DEFINITIONS

SALES = "order_id,customer_id,sku,order_date,qty,total\n"
CLIENTS = "household_id,first_name,last_name,email,phone,birth_date,signed_up_on\n"
ANNA = "1,Anna,Berg,anna.b@example.com,+12025550123,1980-02-29,2015-01-01\n"


@pytest.fixture
def file(tmp_path):
    def write(name: str, text: str):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def _snapshot(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


def test_what_infer_writes_preview_accepts_and_nothing_is_written(perennial, settings, file, tmp_path):
    good = "".join(f"{n},7,a,2017-10-02,1,2.50\n" for n in range(9, 50))
    path = file("sales.csv", SALES + "1,7,a,2017-10-02,1,2.50\n2,8,b,2017-10-03,x,3.00\n2,8,b\n" + good)
    inferred = perennial("sources", "infer", path)
    assert (inferred.code, inferred.err) == (0, "")
    contract = file("contract.yml", inferred.out)
    shown = perennial("sources", "preview", path, "--contract", contract)
    assert shown.code == 0
    assert [line.split()[:2] for line in shown.out.splitlines()[2:5]] == [
        ["2", "loaded"],
        ["3", "quarantined"],
        ["4", "quarantined"],
    ]
    assert "line 3: qty: 'x' is not a number" in shown.out
    assert "line 4: the line has too few columns" in shown.out
    assert "order_lines: 42 would be loaded, 2 set aside, 0 are duplicates" in shown.out
    assert _snapshot(settings.home) == []


def test_preview_finds_a_file_by_a_name_below_the_folder_that_one_works_in(perennial, file, tmp_path, monkeypatch):
    file("households_2017-10-02.csv", CLIENTS + ANNA)
    monkeypatch.chdir(tmp_path)
    shown = perennial("sources", "preview", "households_2017-10-02.csv")
    assert shown.code == 0
    assert "1 would be loaded" in shown.out


def test_L22_preview_masks_personal_data_in_values_and_reasons(perennial, file):
    path = file("households_2017-10-02.csv", CLIENTS + ANNA + ANNA.replace("anna.b@example.com", "not an address"))
    shown = perennial("sources", "preview", path)
    assert shown.code == 0
    assert not any(word in shown.out for word in ("Anna", "Berg", "anna.b", "5550", "1980", "not an address"))
    assert "a***@e***.com" in shown.out


def test_preview_as_json_has_every_row_with_its_fate(perennial, file):
    path = file("households_2017-10-02.csv", CLIENTS + ANNA)
    found = perennial("sources", "preview", path, "--source", "crm", "--entity", "households", "--json").json
    assert found["rows"][0]["fate"] == "loaded"
    assert found["rows"][0]["values"]["client_key"] == "1"
    assert found["counts"]["good"] == 1


def test_preview_tells_a_file_that_would_be_refused(perennial, file):
    outcome = perennial("sources", "preview", file("households_2017-10-02.csv", "a;b\n1;2\n"))
    assert outcome.code == 4
    assert "column household_id" in outcome.err


def test_L1_preview_tells_a_quotation_mark_that_swallows_lines_as_ingestion_does(perennial, file):
    lines = "".join(ANNA.replace("1,", f"{n},", 1) for n in range(2, 200))
    outcome = perennial("sources", "preview", file("households_2017-10-02.csv", f'{CLIENTS}1,"Anna,B,,,,\n{lines}'))
    assert outcome.code == 4
    assert "households_2017-10-02.csv:2: a quotation mark is opened here that swallows 198 lines" in outcome.err


def test_definition_prints_a_ready_definition_as_it_is_shipped_and_their_names(perennial):
    names = perennial("sources", "definition").out.split()
    assert "hubspot" in names
    for name in names:
        assert perennial("sources", "definition", name).out == (DEFINITIONS / f"{name}.yml").read_text()
    unknown = perennial("sources", "definition", "hubspto")
    assert (unknown.code, "did you mean hubspot?" in unknown.err) == (2, True)


def test_preview_of_a_file_that_nobody_takes_says_what_to_name(perennial, file):
    outcome = perennial("sources", "preview", file("x.csv", "a\n1\n"))
    assert outcome.code == 2
    assert "no entity takes this file name -> name one of shop.sales, shop.products" in outcome.err


def test_infer_of_a_file_that_is_not_there_is_told(perennial, tmp_path):
    outcome = perennial("sources", "infer", tmp_path / "none.csv")
    assert (outcome.code, outcome.out) == (4, "")
    assert "there is no such file" in outcome.err


def test_check_tells_the_sources_and_where_files_lie_and_wait(perennial, settings):
    folder = settings.landing / "shop"
    folder.mkdir(parents=True)
    (folder / "sales_2017-10-02.csv.gz").write_bytes(b"x")
    outcome = perennial("sources", "check", "shop")
    assert outcome.code == 0
    assert "landing/shop/sales_{date}.csv.gz: 0 ready, 1 not whole yet (shop/sales_2017-10-02.csv.gz)" in outcome.out
    assert "crm" not in outcome.out


def test_check_tells_each_mistake_with_its_line(perennial, settings):
    path = settings.config_dir / "sources.yml"
    path.write_text(path.read_text().replace("cadence: daily", "cadence: dayly", 1))
    outcome = perennial("sources", "check")
    assert outcome.code == 2
    assert "sources.yml:" in outcome.err
    assert "did you mean daily?" in outcome.err


def _with_database(settings) -> None:
    path = settings.config_dir / "sources.yml"
    document = yaml.safe_load(path.read_text())
    document["sources"]["erp"] = {
        "description": "orders of the ERP",
        "owner": "x",
        "dag": "ingest_sales",
        "namespace": "erp",
        "connection": {"kind": "database", "id": "erp_db"},
        "entities": {
            "products": {
                "entity": "products",
                "path": "erp/products_*.parquet",
                "business_date": "{date}",
                "format": {"type": "parquet"},
                "columns": {"product_key": "id"},
                "database": {"table": "products", "mode": "snapshot", "key": ["id"]},
            }
        },
    }
    document["sources"]["erp"]["entities"]["products"]["path"] = "erp/products_{date}.parquet"
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def test_check_asks_each_outside_system_and_a_missing_connection_is_told(perennial, settings):
    _with_database(settings)
    outcome = perennial("sources", "check", "erp", "--json")
    assert outcome.code == 2
    wrong = [line["message"] for line in outcome.json["lines"] if not line["ok"]]
    assert any("AIRFLOW_CONN_ERP_DB" in message for message in wrong), outcome.out


def test_fetch_prints_a_report_for_each_entity_and_its_exit_code_says_what_failed(perennial, settings):
    _with_database(settings)
    outcome = perennial("sources", "fetch", "erp", "--json")
    assert outcome.code == 2
    assert outcome.json == [
        {
            "source": "erp",
            "entity": "products",
            "files": [],
            "rows": 0,
            "notes": [],
            "problems": outcome.json[0]["problems"],
        }
    ]
    assert "AIRFLOW_CONN_ERP_DB" in outcome.err


def test_fetch_of_a_source_that_is_not_known_is_told(perennial):
    outcome = perennial("sources", "fetch", "shopp")
    assert outcome.code == 2
    assert "there is no source 'shopp'" in outcome.err


def test_fetch_with_nothing_to_ask_is_done(perennial):
    outcome = perennial("sources", "fetch", "--json")
    assert (outcome.code, json.loads(outcome.out)) == (0, [])
