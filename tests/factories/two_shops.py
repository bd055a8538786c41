"""A till with a CRM, and a web shop with ids of its own: some of their clients are one. Small enough to build often."""

from __future__ import annotations

import gzip
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from perennial.contracts.records import DayRun
from perennial.core.ids import client_ref
from perennial.core.settings import REPOSITORY, Settings, load_settings
from perennial.pipeline.build import build, publish
from perennial.pipeline.day import open_day
from perennial.pipeline.ingest import ingest

DAY = date(2017, 10, 1)
ANN, BOB, CARL = (client_ref("household", key) for key in ("1", "2", "3"))
WEB_ANN, WEB_BOB = (client_ref("web", key) for key in ("W1", "W2"))
CAMPAIGN = "everyone"
_HOUSEHOLDS = """household_id,first_name,last_name,email,phone,birth_date,signed_up_on
1,Ann,Miller,ann@example.com,+12025550101,1980-05-17,2016-01-01
2,Robert,Stone,bob@example.com,+12025550102,,2016-01-02
3,Carl,Berg,carl@example.com,+12025550103,,2016-01-03
"""
_WEB_CLIENTS = """id,first,last,mail,phone,since
W1,ANN,MILLER,Ann@Example.com,,2015-06-01
W2,Bob,Stone,stone@example.org,,2017-02-02
"""
_SALES = "basket_id,household_id,product_id,sold_at,quantity,sales_value,discount,store_id\n"
_CONSENTS = "household_id,channel,purpose,status,changed_at\n"


def two_shops(folder: Path) -> Settings:
    """Their config: the repository's, with the web shop, one campaign to everyone and nothing else."""
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config", config, ignore=shutil.ignore_patterns("examples", "backtests"))
    sources = yaml.safe_load((config / "sources.yml").read_text(encoding="utf-8"))
    sources["sources"]["crm"]["entities"]["households"].pop("constants", None)  # these clients are persons
    sources["sources"]["web"] = _web(sources["sources"]["shop"]["entities"]["sales"])
    for source in sources["sources"].values():
        source["settle_seconds"] = 0
    (config / "sources.yml").write_text(yaml.safe_dump(sources, sort_keys=False), encoding="utf-8")
    for card in (config / "campaigns").glob("*.yml"):
        card.unlink()
    (config / "campaigns" / f"{CAMPAIGN}.yml").write_text(yaml.safe_dump(_CARD, sort_keys=False), encoding="utf-8")
    return load_settings({"PERENNIAL_HOME": str(folder / "home"), "PERENNIAL_CONFIG": str(config)})


def _web(sales: dict[str, Any]) -> dict[str, Any]:
    entities = {
        "sales": {**sales, "path": "web/sales_{date}.csv.gz"},
        "clients": {
            "entity": "clients",
            "path": "web/clients_{date}.csv",
            "precedence": 200,
            "columns": {
                "client_key": "id", "first_name": "first", "last_name": "last", "email": "mail", "phone": "phone",
                "signed_up_on": "since",
            },
        },
        "consents": {
            "entity": "consents",
            "path": "web/consents_{date}.csv",
            "columns": {
                "client_key": "household_id", "channel": "channel", "purpose": "purpose", "status": "status",
                "changed_at": "changed_at",
            },
        },
    }  # fmt: skip
    return {
        "description": "The web shop",
        "owner": "web",
        "dag": "ingest_crm",
        "namespace": "web",
        "entities": entities,
    }


_CARD = {
    "version": 1,
    "id": CAMPAIGN,
    "name": "To everyone",
    "owner": "marketing",
    "goal": "Something",
    "kind": "development",
    "nature": "informational",
    "audience": "true",
    "channels": ["email"],
    "message": "hello",
    "offer": {"text": "nothing"},
    "control_share": 0.0,
    "expected_value": {
        "basis": "revenue_365d_daily_x_90", "prior_effect": 0.5, "prior_source": "assumed", "margin_share": 0.5,
    },
    "success_metric": "revenue",
    "success_window_days": 28,
}  # fmt: skip


def land(settings: Settings, day: date = DAY) -> None:
    """One day: Ann spends 10 at the till and 100 in the web shop, Bob 20 and 200, Carl 30."""
    noon = f"{day}T16:00:00Z"
    till = [("1", 10), ("2", 20), ("3", 30)]
    web = [("W1", 100), ("W2", 200)]
    for number, (folder, rows) in enumerate((("shop", till), ("web", web)), start=1):
        lines = [f"{number}{day:%y%m%d}{n},{who},p1,{noon},1,{spent},0,s1" for n, (who, spent) in enumerate(rows)]
        _write(settings, f"{folder}/sales_{day}.csv.gz", _SALES + "\n".join(lines) + "\n")
    _write(settings, f"crm/households_{day}.csv", _HOUSEHOLDS)
    _write(settings, f"web/clients_{day}.csv", _WEB_CLIENTS)
    said = [f"{n},email,marketing,granted,2017-03-01T10:00:00Z" for n in (1, 2, 3)]
    _write(settings, f"crm/consents_{day}.csv", _CONSENTS + "\n".join(said) + "\n")
    later = "W1,email,marketing,withdrawn,2017-05-01T10:00:00Z\nW2,email,marketing,granted,2017-05-01T10:00:00Z\n"
    _write(settings, f"web/consents_{day}.csv", _CONSENTS + later)


def _write(settings: Settings, name: str, text: str) -> None:
    path = settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())


def published_run(settings: Settings) -> DayRun:
    """The newest day, ingested, built and published."""
    ingest(settings)
    run = open_day(settings)
    assert run is not None
    build(settings, run)
    publish(settings, run)
    return run
