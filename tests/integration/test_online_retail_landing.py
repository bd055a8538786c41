"""Online Retail II through the gate: two files that overlap by nine days, cancellations, guests (issue 2)."""

from __future__ import annotations

import shutil
from datetime import date

import duckdb
import pytest

from perennial.core.settings import REPOSITORY, load_settings
from perennial.ledger.batches import committed
from perennial.ledger.engine import open_ledger
from perennial.pipeline.ingest import ingest
from reference import reference

FILES = ("year_2009_2010.parquet", "year_2010_2011.parquet")


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """The report, the settings and the path of raw after one ingestion of both files."""
    folder = reference("data/online_retail_ii")
    config = tmp_path_factory.mktemp("config")
    shutil.copytree(REPOSITORY / "config/examples/online_retail", config, dirs_exist_ok=True)
    sources = config / "sources.yml"
    sources.write_text(
        sources.read_text(encoding="utf-8").replace("settle_seconds: 2", "settle_seconds: 0"), encoding="utf-8"
    )
    settings = load_settings({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home")), "PERENNIAL_CONFIG": str(config)})
    (settings.landing / "online_retail").mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(folder / name, settings.landing / "online_retail" / name)
    [report] = ingest(settings)
    [batch] = committed(open_ledger(settings))
    return report, settings, str(settings.home / batch.raw_path)


def test_L1_every_line_of_both_files_is_accounted_for_and_the_overlap_is_duplicate(landed):
    report, _settings, path = landed
    assert report.landed == 1_067_370
    assert report.duplicate == 22_523
    assert report.loaded + report.quarantined == 1_044_847
    assert report.quarantined < 100
    assert (report.state, report.as_of) == ("committed", date(2011, 12, 9))
    [(rows,)] = duckdb.sql(f"select count(*) from read_parquet('{path}')").fetchall()
    assert rows == report.loaded


def test_client_keys_are_whole_numbers_and_lines_without_one_are_guests(landed):
    report, _settings, path = landed
    [(strange, guests)] = duckdb.sql(
        f"select count(*) filter (where not regexp_full_match(client_key, '[0-9]{{5}}')), count(*) filter (where client_ref is null) from read_parquet('{path}')"
    ).fetchall()
    assert strange == 0
    assert guests == report.guests > 200_000


def test_the_negative_prices_are_adjustments_and_negative_quantities_have_their_kind(landed):
    _report, _settings, path = landed
    negative = f"select line_kind, count(*) from read_parquet('{path}') where unit_price < 0 group by all"
    assert duckdb.sql(negative).fetchall() == [("adjustment", 5)]
    [(illegal,)] = duckdb.sql(
        f"select count(*) from read_parquet('{path}') where quantity < 0 and line_kind not in ('cancellation', 'write_off', 'fee', 'adjustment')"
    ).fetchall()
    assert illegal == 0


def test_times_of_the_shop_are_london_s(landed):
    _report, _settings, path = landed
    [(first, day)] = duckdb.sql(f"select min(ordered_at), min(_business_date) from read_parquet('{path}')").fetchall()
    assert (str(first), day) == ("2009-12-01 07:45:00", date(2009, 12, 1))
    [(summer,)] = duckdb.sql(
        f"select min(ordered_at) from read_parquet('{path}') where _business_date = date '2010-07-01'"
    ).fetchall()
    assert summer.hour < 8  # the shop opens at eight in summer time
