"""`perennial run` with an outside system: asked before ingestion; down, it does not keep back a day that is complete."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest
import yaml

from factories.remote_home import content
from factories.small_shop import UNTIL, land_one_more_day
from integration.running import REPOSITORY, perennial, perennial_json

pytestmark = [pytest.mark.integration, pytest.mark.slow]

OLD = 1_500_000_000


def test_a_run_fetches_first_and_a_system_that_is_down_is_told_and_stops_only_itself(small_home, tmp_path):
    home, config, far = tmp_path / "home", tmp_path / "config", tmp_path / "far"
    shutil.copytree(small_home.path, home)
    shutil.copytree(REPOSITORY / "config", config, ignore=shutil.ignore_patterns("examples"))
    far.mkdir()
    sources = yaml.safe_load((config / "sources.yml").read_text())
    entity = sources["sources"]["shop"]["entities"]["sales"] | {"business_date": "ordered_at", "cadence": "on_change"}
    entity |= {"format": {"type": "csv"}, "volume": {"warn": None}}
    for name, place in (("near", far), ("down", tmp_path / "absent")):
        own = entity | {"path": f"{name}/sales_*.csv", "remote": {"glob": "*.csv"}}
        connection = {"kind": "files", "url": f"file://{place}"}
        sources["sources"][name] = sources["sources"]["shop"] | {"connection": connection, "entities": {"sales": own}}
    (config / "sources.yml").write_text(yaml.safe_dump(sources))
    (far / "extra.csv").write_text(content(1))
    os.utime(far / "extra.csv", (OLD, OLD))
    land_one_more_day(home / "landing", UNTIL + timedelta(days=2))
    done = perennial(home, "run", PERENNIAL_CONFIG=str(config))
    assert "could not be asked" in done.stdout
    assert "absent" in done.stdout
    query = "select source, sum(loaded) as n from ledger_batches where source in ('near', 'down') group by source"
    assert perennial_json(home, "sql", query, PERENNIAL_CONFIG=str(config)) == [{"source": "near", "n": 3}]
    again = perennial(home, "run", PERENNIAL_CONFIG=str(config), fails=True)
    assert "absent" in again.stderr
