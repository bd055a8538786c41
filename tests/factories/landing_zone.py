"""A landing zone with the demo shop's contracts, for tests that drop files into it and look at what becomes of them."""

from __future__ import annotations

import copy
import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
import yaml

from perennial.contracts.records import BatchReport
from perennial.core.settings import REPOSITORY, Settings, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import batch_files, batches
from perennial.pipeline.ingest import ingest

SALES = "basket_id,household_id,product_id,sold_at,quantity,sales_value,discount,store_id"
PRODUCTS = "product_id,product_type,department,product_category,brand,manufacturer_id,package_size"
HOUSEHOLDS = "household_id,first_name,last_name,email,phone,birth_date,signed_up_on"
CONSENTS = "household_id,channel,purpose,status,changed_at"
CAMPAIGNS = "campaign_id,campaign_type,start_date,end_date"
CONTACTS = "campaign_id,household_id,contacted_on,channel"

DAY = date(2017, 10, 2)
SALES_FILE = f"shop/sales_{DAY}.csv.gz"

_BASE = yaml.safe_load((REPOSITORY / "config/sources.yml").read_text(encoding="utf-8"))
# What only the demo's generated parts need; the rows that tests land are the shop's own.
del _BASE["sources"]["shop"]["entities"]["products"]["columns"]["term_days"]


class Zone:
    """A home folder with its own sources.yml. Files count as settled at once, unless a test says otherwise."""

    def __init__(self, folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        config = folder / "config"
        config.mkdir(parents=True)
        sources = copy.deepcopy(_BASE)
        for source in sources["sources"].values():
            source["settle_seconds"] = 0
        if change is not None:
            change(sources["sources"])
        (config / "sources.yml").write_text(yaml.safe_dump(sources, sort_keys=False), encoding="utf-8")
        (config / "perennial.yml").write_text(
            (REPOSITORY / "config/perennial.yml").read_text(encoding="utf-8"), encoding="utf-8"
        )
        self.home = folder / "home"
        self.settings: Settings = load_settings({"PERENNIAL_HOME": str(self.home), "PERENNIAL_CONFIG": str(config)})

    def land(self, name: str, content: str | bytes, *, pack: bool = True) -> Path:
        """Drop a file; text is UTF-8, and packed when its name ends in .gz."""
        data = content.encode() if isinstance(content, str) else content
        path = self.settings.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if pack and name.endswith(".gz") else data)
        return path

    def ingest(self, source: str | None = None, **more: Any) -> list[BatchReport]:
        return ingest(self.settings, source, **more)

    def only(self, source: str | None = None) -> BatchReport:
        """Ingest what is exactly one batch."""
        reports = self.ingest(source)
        assert len(reports) == 1, reports
        return reports[0]

    def raw(self, entity: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """The rows of all committed batches, in the order of batch, file and line."""
        return self._query("raw_path", entity, columns, "_batch_seq, _file, _line")

    def quarantined(self, entity: str, columns: str = "_file, _line, rules, reasons") -> list[tuple[Any, ...]]:
        return self._query("quarantine_path", entity, columns, "_file, _line")

    def _query(self, path: str, entity: str, columns: str, order: str) -> list[tuple[Any, ...]]:
        with open_ledger(self.settings).connect() as connection:
            query = sa.select(batches.c[path]).where(batches.c.entity == entity, batches.c[path].is_not(None))
            paths = [
                str(self.home / name) for name in connection.execute(query.order_by(batches.c.batch_seq)).scalars()
            ]
        if not paths:
            return []
        with duckdb.connect() as connection:
            return connection.execute(f"select {columns} from read_parquet(?) order by {order}", [paths]).fetchall()

    def ledger(self, *columns: str) -> list[tuple[Any, ...]]:
        """Those columns of all batches in their order."""
        with open_ledger(self.settings).connect() as connection:
            query = sa.select(*(batches.c[name] for name in columns)).order_by(batches.c.batch_seq)
            return [tuple(row) for row in connection.execute(query)]

    def ledger_files(self) -> list[tuple[Any, ...]]:
        with open_ledger(self.settings).connect() as connection:
            query = sa.select(batch_files.c.name, batch_files.c.landed).order_by(
                batch_files.c.batch_id, batch_files.c.name
            )
            return [tuple(row) for row in connection.execute(query)]

    def names(self, shelf: str) -> list[str]:
        """The files below `landing`, `archive` or `refused`, by their names relative to it."""
        folder = self.home / shelf
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())

    def reason(self, name: str) -> str:
        """What stands beside a refused file."""
        return (self.settings.refused / f"{name}.reason.txt").read_text(encoding="utf-8")


def sale(
    basket: int | str = 10001,
    household: object = 1,
    product: str = "p1",
    *,
    at: str = "2017-10-02T12:00:00Z",
    quantity: object = 1,
    value: object = "2.50",
    discount: object = "0",
    store: str = "s1",
) -> str:
    """One line of a sales file."""
    return f"{basket},{household},{product},{at},{quantity},{value},{discount},{store}"


def sales(*lines: str) -> str:
    """A sales file of these lines."""
    return "\n".join([SALES, *lines]) + "\n"


def many_sales(count: int = 100, *, first: int = 20000) -> list[str]:
    """Good lines, one basket each: a bad one among them stays below the limit that refuses a batch."""
    return [sale(first + i) for i in range(count)]
