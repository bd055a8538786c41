"""Opening DuckDB, and naming files and tables in its SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from perennial.core.errors import ContractViolation, Problem, RetryableError
from perennial.core.settings import Settings
from perennial.core.sqltext import literal

Connection = Any  # duckdb.DuckDBPyConnection: the package has no types that mypy may follow

_CONFIG: dict[str, Any] = {
    "memory_limit": "60%",  # of the machine: Airflow and the web server live beside us
    "python_enable_replacements": False,  # a name in SQL is a table, never a variable of the caller
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,62}")


def slug(name: str) -> str:
    """The name, if it can be part of a path and of SQL as it is. Raises ContractViolation otherwise (L23)."""
    if not _SLUG.fullmatch(name):
        problem = f"{name[:80]!r} is not a name"
        raise ContractViolation(Problem("warehouse", problem, "use lower-case letters, digits and _, a letter first"))
    return name


def parquet_list(paths: Iterable[Path], *, union_by_name: bool = False) -> str:
    """SQL of a relation over exactly these Parquet files (never a glob, no columns from folder names)."""
    files = ", ".join(literal(str(_no_pattern(path))) for path in paths)
    union = ", union_by_name = true" if union_by_name else ""
    return f"read_parquet([{files}], hive_partitioning = false{union})"


def _no_pattern(path: Path) -> Path:
    if set("*?[") & set(str(path)):
        raise ContractViolation(
            Problem(str(path), "DuckDB would read *, ? or [ in a path as a pattern", "move PERENNIAL_HOME elsewhere")
        )
    return path


def connect(settings: Settings, path: Path | None = None, *, read_only: bool = False) -> Connection:
    """A connection to the file at `path`, or to memory; it spills into the home folder, never into the working one.

    Raises RetryableError while another process writes the file.
    """
    config: dict[str, Any] = {**_CONFIG}
    if path is None:
        config["temp_directory"] = str(settings.warehouse_dir / "tmp")
    try:
        return duckdb.connect(str(path) if path else ":memory:", read_only=read_only, config=config)
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        raise RetryableError(Problem(str(path), "another process is writing this file", "wait for it")) from error


def first_value(connection: Connection, sql: str, params: Sequence[Any] = ()) -> Any:
    """The first column of the first row; None when there is none."""
    # Not `fetchone`: it leaves a result open, and duckdb 2.0 then refuses the connection's next query.
    rows = connection.execute(sql, list(params)).fetchall()
    return rows[0][0] if rows else None


def columns_of(connection: Connection, relation: str) -> list[tuple[str, str]]:
    """Name and SQL type of each column of a relation, which is SQL that the caller has quoted."""
    rows = connection.execute(f"describe select * from {relation}").fetchall()
    return [(row[0], row[1]) for row in rows]
