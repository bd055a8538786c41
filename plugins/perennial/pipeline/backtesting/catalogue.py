"""The products of a data set: from a file of their own, or from the lines, as canonical products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perennial.contracts.backtests import DataProducts, DataSet
from perennial.core.errors import ConfigError, Problem
from perennial.core.sqltext import identifier, literal
from perennial.pipeline.backtesting.reading import Given, Place, actual, paths_of, scan_of

_ROLES = ("product_name", "category", "department", "brand")


def write_products(given: Given, dataset: DataSet, where: Place, data: Path, *, target: Path) -> None:
    """Write one row per product: key, name, category, department, brand; of several rows of one the first by text.

    Raises ConfigError for a column that the file does not have.
    """
    if dataset.products is None:
        lines = dataset.columns
        columns = {"product": str(lines.product), "product_name": lines.product_name, "category": lines.category}
        source, known = "given", given.columns
    else:
        columns = dataset.products.columns.model_dump()
        source, known = _file(given.connection, dataset.products, dataset, where, data)
    missing = [name for name in columns.values() if name and name.lower() not in {n.lower() for n in known}]
    if missing:
        fix = f"it has {', '.join(list(known)[:30])}"
        raise ConfigError(Problem(where("products"), f"the products have no column {missing[0]!r}", fix))
    key = f"nullif(trim(cast({identifier(actual(known, str(columns['product'])))} as varchar)), '')"
    parts = [f"{_text(known, columns.get(role) or _instead(columns, role))} as {role}" for role in _ROLES]
    given.connection.execute(f"""
        copy (
            select {key} as product_key, {", ".join(parts)}
            from {source} where {key} is not null group by 1 order by 1
        ) to {literal(str(target))} (format parquet, compression zstd)
    """)


def _instead(columns: dict[str, Any], role: str) -> str | None:
    """A shop with one level of groups has it as category and as department."""
    other = {"category": "department", "department": "category"}.get(role)
    return columns.get(other) if other else None


def _text(known: dict[str, str], name: str | None) -> str:
    return (
        f"min(nullif(trim(cast({identifier(actual(known, name))} as varchar)), ''))"
        if name
        else "cast(null as varchar)"
    )


def _file(
    connection: Any, products: DataProducts, dataset: DataSet, where: Place, data: Path
) -> tuple[str, dict[str, str]]:
    paths = [path for file in products.files for path in paths_of(file, data, where("products"))]
    written = products.format or dataset.format.model_copy(update={"type": None, "names": ()})
    found = [scan_of(connection, path, written, where("products")) for path in paths]
    scans = " union all by name ".join(f"select * from {scan}" for scan, _ in found)
    connection.execute(f"create temp view catalogue as {scans}")
    return "catalogue", {name: kind for _, own in found for name, kind in own.items()}
