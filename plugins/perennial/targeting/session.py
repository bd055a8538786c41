"""What targeting needs of the warehouse: a connection that can query, keep temporary tables and join with Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

Params = Mapping[str, object]


class Session(Protocol):
    """`warehouse.reader.Published` is one; the SQL sent through it holds only checked names and bound values."""

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """The result as an Arrow table."""

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> object:
        """Run a statement for its effect: temporary tables."""

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable under a name."""


class Binder:
    """Collects values as named parameters, so that no value is ever written into SQL text (L23)."""

    def __init__(self, prefix: str = "p") -> None:
        self.prefix = prefix
        self.values: dict[str, object] = {}

    def bind(self, value: object, sql_type: str) -> str:
        """A typed placeholder for the value; PostgreSQL cannot guess the type of a bare one."""
        name = f"{self.prefix}_{len(self.values)}"
        self.values[name] = value
        return f"cast(${name} as {sql_type})"


def make_table(session: Session, name: str, select: str, params: Params | None = None) -> None:
    """A temporary table from a query; an older one of that name goes."""
    session.execute(f"drop table if exists {name}")
    session.execute(f"create temporary table {name} as {select}", params or {})


def count(session: Session, relation: str) -> int:
    """The number of rows."""
    return int(session.query(f"select count(*) as n from {relation}").column("n")[0].as_py())
