from __future__ import annotations


def test_land_a_day_of_the_demo_shop_tells_what_is_generated_and_lands_nothing_twice(perennial, settings):
    first = perennial("land", "--day", "2017-10-02", "--json")
    assert first.code == 0
    assert "example.com" in first.err
    assert "shop/sales_2017-10-02.csv.gz" in first.json["landed"]
    assert (settings.landing / "shop/sales_2017-10-02.csv.gz").is_file()
    second = perennial("land", "--day", "2017-10-02", "--json").json
    assert second["landed"] == []
    assert second["already"] == first.json["landed"]


def test_land_history_until_a_date(perennial, settings):
    outcome = perennial("land", "--until", "2017-01-03")
    assert outcome.code == 0
    assert outcome.out.startswith("11 files landed in ")
    assert len(list(settings.landing.glob("shop/sales_*.csv.gz"))) == 3


def test_land_a_folder_names_the_files_that_nobody_knows(perennial, settings, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "consents_2017-10-02.csv").write_text("x")
    (data / "notes.txt").write_text("x")
    outcome = perennial("land", "--data", data)
    assert outcome.code == 0
    assert "1 not known to sources.yml: notes.txt" in outcome.out
    assert (settings.landing / "crm/consents_2017-10-02.csv").is_file()
    assert "example.com" not in outcome.err  # nothing of it is generated


def test_a_date_without_data_and_a_missing_folder_fail_with_a_line(perennial):
    assert "no data of 2019-01-01" in perennial("land", "--day", "2019-01-01").err
    outcome = perennial("land", "--data", "/nowhere")
    assert (outcome.code, outcome.out) == (1, "")
    assert "/nowhere: this folder does not exist" in outcome.err


def test_only_one_thing_is_landed_at_a_time(perennial):
    assert perennial("land", "--day", "2017-10-02", "--until", "2017-10-01").code == 2
