"""A home folder whose source `partner` fetches its files from another machine."""

from __future__ import annotations

import copy
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

from factories.landing_zone import Zone, sale, sales
from perennial.contracts.records import BatchReport
from perennial.core.connections import EnvironmentConnections
from perennial.ledger.batches import BatchFile, next_seq, record_batch
from perennial.ledger.engine import open_ledger
from perennial.pipeline.fetch import FetchReport, fetch
from perennial.sources.config import load_sources
from perennial.sources.fetching import Request

SOURCE = "partner"
CONNECTION = "partner_files"


class RemoteHome(Zone):
    """A zone with one fetched source: sales in many files, dated by their rows."""

    def __init__(
        self, folder: Path, url: str, *, glob: str = "sales_*.csv", path: str = "partner/sales_*.csv", **more: Any
    ) -> None:
        source_keys = {name: more.pop(name) for name in ("ready", "settle_seconds", "entities") if name in more}
        self.environ: dict[str, str] = {}

        def change(sources: dict[str, Any]) -> None:
            entity = copy.deepcopy(sources["shop"]["entities"]["sales"])
            entity |= {"path": path, "remote": {"glob": glob}, "references": [], "volume": {"warn": None}}
            entity |= {"format": {"type": "csv"}, "business_date": "ordered_at"}
            entities = {"sales": entity}
            for name, changes in source_keys.pop("entities", {}).items():
                entities[name] = entity | changes
            connection = {"kind": "files", "url": url, **more}
            shop = sources.pop("shop")
            sources.clear()
            sources[SOURCE] = {**shop, "connection": connection, "entities": entities, **source_keys}

        super().__init__(folder, change)

    def connect(self, text: str) -> None:
        """The connection as Airflow's environment variable would hold it."""
        self.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = text

    @property
    def connections(self) -> EnvironmentConnections:
        return EnvironmentConnections(self.environ)

    def fetch_all(self) -> list[FetchReport]:
        return fetch(self.settings, SOURCE, connections=self.connections)

    def fetch(self) -> FetchReport:
        """Fetch the one entity; asserts that it came to its end."""
        [report] = self.fetch_all()
        assert report.problem is None, report.problem
        return report

    def fails(self) -> FetchReport:
        """Fetch the one entity; asserts that it did not come to its end."""
        [report] = self.fetch_all()
        assert report.problem is not None
        return report

    def request(self) -> Request:
        """What the fetcher of the one entity would be asked for."""
        scratch = self.home / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        source = load_sources(self.settings).sources[SOURCE]
        entity = source.entities["sales"]
        state, today = self.home / "state", date(2017, 10, 2)
        state.mkdir(exist_ok=True)
        return Request(SOURCE, source, "sales", entity, {}, scratch, state, today, self.connections)

    def pretend_committed(self) -> None:
        """Write every landed file down as a committed batch and take it away, as an ingestion would."""
        engine = open_ledger(self.settings)
        for name, data in self.landed().items():
            sha256 = hashlib.sha256(data).hexdigest()
            report = BatchReport(sha256[:16], SOURCE, "sales", None, "committed", (name,), 1, 1, 0, 0, 0)
            files, number = [BatchFile(name, sha256, len(data), 1)], next_seq(engine)
            with engine.begin() as connection:
                record_batch(connection, report, entity="order_lines", files=files, batch_seq=number)
            (self.settings.landing / name).unlink()

    def landed(self) -> dict[str, bytes]:
        """What lies in the landing zone, hidden files too."""
        return {name: (self.settings.landing / name).read_bytes() for name in self.names("landing")}


def content(number: int, rows: int = 3) -> str:
    """A good file of its own baskets."""
    return sales(*(sale(10_000 + 100 * number + i) for i in range(rows)))
