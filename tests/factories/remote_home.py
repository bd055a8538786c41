"""A home folder whose source `partner` fetches its files from another machine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from factories.landing_zone import Zone, sale, sales
from perennial.core.connections import EnvironmentConnections
from perennial.pipeline.fetch import FetchReport, fetch

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

    def landed(self) -> dict[str, bytes]:
        """What lies in the landing zone, hidden files too."""
        return {name: (self.settings.landing / name).read_bytes() for name in self.names("landing")}


def content(number: int, rows: int = 3) -> str:
    """A good file of its own baskets."""
    return sales(*(sale(10_000 + 100 * number + i) for i in range(rows)))
