"""Landing one file of any format for the demo shop's products, and reading what came of it, short of the gate."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factories.landing_zone import DAY, Zone
from perennial.core.errors import Problem
from perennial.quality.rules import structure_message
from perennial.sources.config import load_sources
from perennial.sources.inspection import Inspected, inspect
from perennial.sources.landing import look
from perennial.sources.staging import arrive, open_scratch, settle

PRODUCT_COLUMNS = {"product_key": "id", "product_name": "name", "department": "dep", "package_size": "size"}


@dataclass
class Read:
    """What was read: rows [(line, *canonical columns)], rejected [(line, what is said)], extra as JSON by row."""

    problem: Problem | None
    rows: list[tuple[Any, ...]]
    rejected: list[tuple[int, str]]
    extra: list[str | None]
    found: Inspected

    @property
    def keys(self) -> list[tuple[int, str]]:
        return [(line, key) for line, key, *_rest in self.rows]


def products_zone(
    folder: Path, suffix: str, form: dict[str, Any], columns: dict[str, Any] | None = None, **more: Any
) -> Zone:
    """A zone whose products arrive as `shop/products_<day><suffix>`."""

    def change(sources: dict[str, Any]) -> None:
        entity = sources["shop"]["entities"]["products"]
        entity.update(path=f"shop/products_{{date}}{suffix}", format=form, columns=columns or PRODUCT_COLUMNS, **more)
        entity["limits"] = {"warn": 1.0, "stop": 1.0}

    return Zone(folder, change)


def read(zone: Zone, suffix: str, content: str | bytes) -> Read:
    """Land the file, inspect and stage it; each row that landed is in `rows` or in `rejected`."""
    name = f"shop/products_{DAY}{suffix}"
    zone.land(name, content, pack=False)
    contract = load_sources(zone.settings).sources["shop"].entities["products"]
    scratch = zone.home / "scratch"
    scratch.mkdir(exist_ok=True)
    [file] = look(zone.settings, "shop").ready["products"]
    found = inspect(zone.settings.landing / name, file, contract, scratch)
    if found.problem is not None:
        return Read(found.problem, [], [], [], found)
    with open_scratch(scratch) as connection:
        arrive(connection, [found], contract)
        connection.execute("create table judged as select * from arriving")
        [counted] = settle(connection, [found], contract)
        columns = ", ".join(contract.columns)
        rows = connection.execute(f"select line, {columns}, extra from checked order by line").fetchall()
        said = structure_message("kind")
        rejected = connection.execute(f"select line, {said} from rejected order by line").fetchall()
    assert counted.landed == len(rows) + len(rejected)
    return Read(None, [row[:-1] for row in rows], rejected, [row[-1] for row in rows], found)


def workbook(rows: list[list[Any]], *, sheet: str = "Sheet", merged: tuple[str, ...] = ()) -> bytes:
    """An .xlsx of these rows."""
    import openpyxl

    book = openpyxl.Workbook()
    page = book.active
    page.title = sheet
    for row in rows:
        page.append(row)
    for cells in merged:
        page.merge_cells(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
