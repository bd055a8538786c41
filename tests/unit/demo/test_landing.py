from __future__ import annotations

import pytest

from perennial.core.errors import PermanentError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.demo.landing import land_folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def example(tmp_path):
    config = REPOSITORY / "config" / "examples" / "online_retail"
    return load_settings({"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_CONFIG": str(config)})


@pytest.fixture
def shop(tmp_path):
    return load_settings({"PERENNIAL_HOME": str(tmp_path / "home")})


def test_files_that_lie_flat_are_put_where_the_sources_expect_them(data, example):
    for year in ("2009_2010", "2010_2011"):
        (data / f"year_{year}.parquet").write_bytes(year.encode())
    (data / "README.md").write_text("about")
    result = land_folder(example, data)
    assert result.landed == ("online_retail/year_2009_2010.parquet", "online_retail/year_2010_2011.parquet")
    assert len(result) == 2
    assert result.unknown == ("README.md",)
    assert (example.landing / "online_retail/year_2010_2011.parquet").read_bytes() == b"2010_2011"


def test_files_that_lie_as_the_sources_expect_keep_their_paths(data, shop):
    for name in ("shop/sales_2017-10-02.csv.gz", "crm/consents_2017-10-02.csv"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("x")
    assert land_folder(shop, data).landed == ("crm/consents_2017-10-02.csv", "shop/sales_2017-10-02.csv.gz")


def test_hidden_and_temporary_files_are_not_taken_and_none_is_left(data, example):
    (data / ".year_2009.parquet").write_text("half")
    (data / "year_2010.parquet").write_text("whole")
    land_folder(example, data)
    assert [path.name for path in example.landing.rglob("*") if path.is_file()] == ["year_2010.parquet"]


def test_a_file_that_was_landed_or_archived_before_is_not_landed_again(data, example):
    for name in ("year_1.parquet", "year_2.parquet", "year_3.parquet"):
        (data / name).write_text("x")
    for folder, name in ((example.landing, "year_1.parquet"), (example.archive, "year_2.parquet")):
        (folder / "online_retail").mkdir(parents=True)
        (folder / "online_retail" / name).write_text("x")
    result = land_folder(example, data)
    assert result.landed == ("online_retail/year_3.parquet",)
    assert result.already == ("online_retail/year_1.parquet", "online_retail/year_2.parquet")


def test_a_pattern_does_not_reach_into_deeper_folders(data, example):
    (data / "online_retail" / "year_old").mkdir(parents=True)
    (data / "online_retail" / "year_old" / "x.parquet").write_text("x")
    with pytest.raises(PermanentError, match="no file here has a name"):
        land_folder(example, data)


def test_a_folder_that_is_missing_or_holds_nothing_known_is_told_with_what_is_known(data, example):
    with pytest.raises(PermanentError, match="online_retail/year_"):
        land_folder(example, data)
    with pytest.raises(PermanentError, match="does not exist"):
        land_folder(example, data / "nowhere")
