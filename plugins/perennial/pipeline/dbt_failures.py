"""What failed in a build: each model or test with its message, its SQL and its failing rows, without personal data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.contracts.records import DayRun
from perennial.core.errors import Problem
from perennial.core.settings import Settings
from perennial.warehouse.build_db import PERSONAL_COLUMNS
from perennial.warehouse.engine import failing_rows

_ROWS_SHOWN = 5
_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+|\+\d[\d ()-]{5,}\d")
_QUOTED = re.compile(r"'[^']*'")


@dataclass(frozen=True)
class Failure:
    """One model or test that failed; `sql` is its compiled SQL, `rows` are some of a test's failing rows, masked."""

    name: str
    kind: str
    where: str
    message: str
    compiled: str
    sql: str
    rows: tuple[dict[str, str], ...]

    @property
    def problem(self) -> Problem:
        """The failure as a person reads it in one line."""
        shown = "; ".join(", ".join(f"{name}={value}" for name, value in row.items()) for row in self.rows)
        message = f"{self.name}: {self.message}" + (f"; such as {shown}" if self.rows else "")
        return Problem(self.where, message, f"run its SQL: {self.compiled}")


def failure_of(settings: Settings, run: DayRun, manifest: Any, result: Any) -> Failure:
    """What failed, from dbt's result. A test's SQL is run again on the run's build, for up to five of its rows."""
    node = result.node
    is_personal = _touches_personal(manifest, node)
    message = masked(" ".join((result.message or str(result.status)).split()))
    rows: tuple[dict[str, str], ...] = ()
    if str(node.resource_type) == "test" and result.failures:
        rows = _failing_rows(settings, run, node.compiled_code, show_text=not is_personal)
    compiled = Path(node.compiled_path or node.original_file_path)
    inside = compiled.relative_to(settings.home) if compiled.is_relative_to(settings.home) else compiled
    return Failure(
        name=node.name,
        kind=str(node.resource_type),
        where=f"{settings.dbt_project_dir.name}/{node.original_file_path}",
        message=_QUOTED.sub("'***'", message) if is_personal else message,
        compiled=inside.as_posix(),
        sql=masked(node.compiled_code or ""),
        rows=rows,
    )


def _failing_rows(settings: Settings, run: DayRun, sql: str, *, show_text: bool) -> tuple[dict[str, str], ...]:
    """Up to five rows of a test's SQL; no column of personal data, and no text at all where there may be some."""
    return tuple(
        {
            name: masked(str(value))
            for name, value in row.items()
            if name not in PERSONAL_COLUMNS and (show_text or not isinstance(value, str))
        }
        for row in failing_rows(settings, run, sql, _ROWS_SHOWN)
    )


def _touches_personal(manifest: Any, node: Any) -> bool:
    """Whether the node, or what it reads directly, holds personal data."""
    known = {**manifest.nodes, **manifest.sources}
    near = [node, *(known[name] for name in node.depends_on.nodes if name in known)]
    return any(each.schema.endswith("private") or each.name == "clients" or personal_columns(each) for each in near)


def personal_columns(node: Any) -> list[str]:
    """The columns of a model or source that are personal: by the canonical name, by `meta: {personal: true}` or tag."""

    def is_personal(name: str, column: Any) -> bool:
        configured = getattr(getattr(column, "config", None), "meta", None) or {}
        said = {**(column.meta or {}), **configured}.get("personal")
        return bool(said) or "personal" in (column.tags or []) or name in PERSONAL_COLUMNS

    return [name for name, column in (getattr(node, "columns", None) or {}).items() if is_personal(name, column)]


def masked(text: str) -> str:
    """The text without what looks like an e-mail address or a phone number."""
    return _ADDRESS.sub("***", text)
