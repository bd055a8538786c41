"""config/sources.yml: what the model alone does not see."""

from __future__ import annotations

import pytest
import yaml

from factories.landing_zone import Zone
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.sources.config import load_sources


@pytest.mark.parametrize(
    "folder",
    ["config", *(f"config/examples/{name}" for name in ("online_retail", "northwind", "chinook", "crm_opportunities"))],
)
def test_the_sources_in_the_repository_have_no_mistake(folder, tmp_path):
    settings = load_settings({"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_CONFIG": str(REPOSITORY / folder)})
    assert load_sources(settings).sources


def _set(path: str, value):
    """A change of the demo's sources at a path such as shop.entities.sales.path."""

    def change(sources):
        *parents, last = path.split("/")
        place = sources
        for key in parents:
            place = place[key]
        place[last] = value

    return change


MISTAKES = [
    ("shop/entities/sales/path", "shop/products_{date}.csv.gz", "takes the same files"),
    ("shop/entities/sales/path", "sales_{date}.csv.gz", "not a folder and a file name"),
    ("shop/entities/sales/path", "../shop/sales_{date}.csv.gz", "not a folder and a file name"),
    ("shop/entities/sales/path", "/shop/sales_{date}.csv.gz", "not a folder and a file name"),
    ("shop/entities/sales/path", "*/sales_{date}.csv.gz", "not a folder and a file name"),
    ("shop/entities/sales/path", "shop/sales_{day}.csv.gz", "the only placeholder is {date}"),
    ("shop/entities/sales/path", "shop/sales_*.csv.gz", "the path has no {date}"),
    ("shop/entities/sales/business_date", "store_key", "neither {date} nor a mapped date or timestamp column"),
    ("shop/entities/sales/limits", {"warn": 0.5, "stop": 0.1}, "warn lies above stop"),
    ("shop/entities/sales/format/encoding", "utf-eight", "no encoding is called 'utf-eight'"),
    ("shop/entities/sales/format/timestamps_in", "Mars/Base", "no time zone is called 'Mars/Base'"),
    ("shop/entities/sales/format/delimiter", '"', "the same character"),
    ("shop/entities/sales/format/timestamp_format", "%Q", "cannot be read back by strptime"),
    (
        "shop/entities/sales/columns/order_key",
        {"source": "basket_id", "pattern": "("},
        "not a regular expression of RE2",
    ),
    ("shop/entities/sales/columns/order_key", {"source": "b", "pattern": r"(a)\1"}, "back-references"),
    (
        "shop/entities/sales/columns/quantity",
        {"source": "quantity", "pattern": "a"},
        "pattern and allowed are for text",
    ),
    ("shop/entities/sales/columns/quantity", {"source": "quantity", "min": "low"}, "'low' is not a bound of a decimal"),
    ("shop/entities/sales/columns/ordered_at", {"source": "sold_at", "max": 2020}, "not a bound of a timestamp"),
    ("shop/entities/products/negative_quantity_kinds", ["sale"], "products has no order lines"),
    ("shop/entities/sales/line_kinds", [{"kind": "fee", "column": "quantity", "starts_with": "A"}], "does not fit"),
    ("shop/entities/sales/line_kinds", [{"kind": "fee", "column": "price", "below": 0}], "'price' is not mapped here"),
    ("shop/entities/sales/references", [{"column": "client_key", "entity": "consents"}], "has no key of one column"),
]


@pytest.mark.parametrize(("path", "value", "told"), MISTAKES)
def test_a_mistake_is_told_at_its_line(tmp_path, path, value, told):
    zone = Zone(tmp_path, _set(path, value))
    with pytest.raises(ConfigError) as caught:
        load_sources(zone.settings)
    problem = next(p for p in caught.value.problems if told in str(p))
    file, line, _field = problem.where.split(":", 2)
    lines = (zone.settings.config_dir / "sources.yml").read_text(encoding="utf-8").splitlines()
    assert file == str(zone.settings.config_dir / "sources.yml")
    assert lines[int(line) - 1].strip()
    assert problem.fix


def test_a_reference_to_what_no_source_supplies_is_a_mistake(tmp_path):
    def without_clients(sources):
        del sources["crm"]["entities"]["households"]

    with pytest.raises(ConfigError, match="no source supplies clients") as caught:
        load_sources(Zone(tmp_path, without_clients).settings)
    assert caught.value.problems[0].where.endswith(":sources.shop.entities.sales.references.0")


def test_a_changed_file_is_read_again(tmp_path):
    zone = Zone(tmp_path)
    assert load_sources(zone.settings) is load_sources(zone.settings)
    path = zone.settings.config_dir / "sources.yml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    del data["sources"]["crm"]["entities"]["redemptions"]
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    assert "redemptions" not in load_sources(zone.settings).sources["crm"].entities


def test_a_missing_file_is_told(tmp_path):
    zone = Zone(tmp_path)
    (zone.settings.config_dir / "sources.yml").unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        load_sources(zone.settings)
