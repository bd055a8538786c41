"""The empty home of a backtest: its config, the lines that were landed, ingested and built by the product's chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from perennial.contracts.backtests import DataSet
from perennial.contracts.records import DayRun
from perennial.core.errors import BatchRefused, ContractViolation, Problem
from perennial.core.settings import Settings, load_settings

LINES, PRODUCTS = "landing/backtest/lines.parquet", "landing/backtest/products_{}.parquet"
_SALT = "backtest-of-past-data"


def settings_of(dataset: DataSet, home: Path, *, currency: str, with_products: bool) -> Settings:
    """Settings of the home, its config folder written into it. Nothing of the caller's environment is in them."""
    config = home / "config"
    config.mkdir(parents=True, exist_ok=True)
    _write(config / "perennial.yml", _company(dataset, currency))
    _write(config / "sources.yml", {"version": 1, "sources": {"backtest": _source(with_products=with_products)}})
    return load_settings({"PERENNIAL_HOME": str(home), "PERENNIAL_CONFIG": str(config)})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _company(dataset: DataSet, currency: str) -> dict[str, Any]:
    """The moments of the lines are local ones: the company's zone is UTC here, so that no day is moved."""
    windows = {"windows": {"features": list(dataset.windows)}} if dataset.windows else {}
    company = {"name": dataset.name, "zone": "UTC", "currency": currency}
    return {"version": 1, "company": company, "assignment_salt": _SALT, **windows}


def _source(*, with_products: bool) -> dict[str, Any]:
    names = ("order_key", "client_key", "product_key", "quantity", "amount", "product_name")
    columns = {name: {"source": name, "transform": "none"} for name in names}
    entities: dict[str, Any] = {
        "lines": {
            "entity": "order_lines",
            "path": "backtest/lines.parquet",
            "business_date": "ordered_at",
            "format": {"type": "parquet", "timestamps_in": "UTC"},
            "columns": {**columns, "ordered_at": "ordered_at"},
            "line_kinds": [{"kind": "return", "column": "quantity", "below": 0}],
            "negative_quantity_kinds": ["return"],
        }
    }
    if with_products:
        entities["products"] = {
            "entity": "products",
            "path": "backtest/products_{date}.parquet",
            "cadence": "on_change",
            "format": {"type": "parquet"},
            "columns": {n: n for n in ("product_key", "product_name", "category", "department", "brand")},
        }
    about = {"description": "a data set that is backtested", "owner": "backtest", "dag": "ingest_sales"}
    return {**about, "namespace": "client", "settle_seconds": 0, "entities": entities}


def build_home(settings: Settings) -> DayRun:
    """Ingest what lies in the landing zone and build the last day. Raises BatchRefused when the gate refuses."""
    from perennial.pipeline.build import build
    from perennial.pipeline.day import open_day
    from perennial.pipeline.ingest import ingest

    reports = ingest(settings)
    refused = [report for report in reports if report.state != "committed"]
    if refused:
        one = refused[0]
        said = f"{one.entity}: {one.state}, {one.quarantined:,} of {one.landed:,} rows are wrong"
        raise BatchRefused(Problem("backtest", said, "mend the data, or leave rows out by a filter"))
    run = open_day(settings)
    if run is None:
        raise ContractViolation(Problem("backtest", "no day is complete", "see that the data have purchases"))
    build(settings, run)
    return run


def with_horizon(settings: Settings, horizon_days: int) -> Settings:
    """The settings with this horizon for every label."""
    scoring = settings.scoring.model_copy(
        update={"churn_horizon_days": horizon_days, "value_horizon_days": horizon_days}
    )
    return settings.model_copy(update={"file": settings.file.model_copy(update={"scoring": scoring})})
