"""Where things lie in the warehouse's database.

| schema | what | who reads |
|---|---|---|
| `raw_store` | rows of committed batches, each loaded once | the builder |
| `raw`, `staging`, `intermediate`, `private`, `build` | the newest day's build | the builder |
| `past_...` | the same for a day of the past, and what it published: `past_marts` | the builder |
| `marts` | what is published | `bi_reader` |
| `delivery` | addresses of people, by run | `perennial_delivery` |
| `marketing` | the same, masked | `marketing` |
"""

from __future__ import annotations

from dataclasses import dataclass

from perennial.contracts.records import DayRun
from perennial.core.sqltext import identifier

STORE, DELIVERY, MARKETING, ASKING = "raw_store", "delivery", "marketing", "asking"
BUILT = ("raw", "staging", "intermediate", "private", "build")
BI_READER, MARKETING_ROLE, DELIVERY_ROLE = "bi_reader", "marketing", "perennial_delivery"


@dataclass(frozen=True)
class Places:
    """The schemas of the newest day's build and publication, or (`past_...`) of a past one's."""

    prefix: str

    @property
    def raw(self) -> str:
        """Views over the run's batches, and the copy of the ledger."""
        return f"{self.prefix}raw"

    @property
    def marts(self) -> str:
        """What is published."""
        return f"{self.prefix}marts"

    def built(self, schema: str, table: str) -> str:
        """A table of the build, quoted; dbt's schema `marts` is built in `build` and published from there."""
        return relation(self.prefix + ("build" if schema == "marts" else schema), table)


LATEST, PAST = Places(""), Places("past_")


def places_of(run: DayRun) -> Places:
    """Where the run is built and published."""
    return LATEST if run.is_latest else PAST


def relation(schema: str, table: str) -> str:
    """The table's name, quoted."""
    return f"{identifier(schema)}.{identifier(table)}"
