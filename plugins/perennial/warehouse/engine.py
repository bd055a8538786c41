"""Which engine holds the warehouse: the one place that asks. Every other room calls these functions.

Without `PERENNIAL_WAREHOUSE_URL` it is the embedded one (DuckDB and Parquet parts, `warehouse.embedded`), with it
PostgreSQL (`warehouse.postgres`). Both are modules with the functions of `_Engine`, and they give equal tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from perennial.contracts.builds import FULL, BuildChange, BuildRecord
from perennial.contracts.entities import EntityName
from perennial.contracts.records import DayRun
from perennial.core.errors import Problem
from perennial.core.settings import Settings
from perennial.warehouse.build_db import TableSpec

Params = Sequence[Any] | Mapping[str, Any]


class Published(Protocol):
    """One published version, opened for reading; temporary tables end with it. SQL is DuckDB's, on either engine."""

    @property
    def manifest(self) -> dict[str, Any]:
        """The version's manifest: id, run_id, as_of, step, and per table its rows and columns."""

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """Name and SQL type of the columns of each published table."""

    def query(self, sql: str, params: Params = ()) -> pa.Table:
        """The whole result: for what is small, or grows with clients and was asked for by columns."""

    def batches(self, sql: str, params: Params = (), rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """The result in batches, while it is computed (L26); end it before the next query."""

    def register(self, name: str, data: pa.Table) -> None:
        """Make an Arrow table a temporary relation to join with."""

    def register_parquet(self, name: str, path: Path) -> None:
        """Make one Parquet file a temporary relation to join with."""

    def execute(self, sql: str, params: Params = ()) -> None:
        """Run a statement without a result: temporary tables."""


class _Engine(Protocol):
    """What an engine can do. Errors are those of the functions of this module."""

    def prepare_build(
        self,
        settings: Settings,
        run: DayRun,
        *,
        raw_files: Mapping[EntityName, Sequence[Path]],
        ledger: Iterable[tuple[str, pa.RecordBatchReader]],
        change: BuildChange = FULL,
    ) -> object: ...

    def last_record(self, settings: Settings, run: DayRun) -> BuildRecord | None: ...

    def write_identity_map(self, settings: Settings, run: DayRun, rows: pa.RecordBatchReader) -> None: ...

    def raw_connection(self, settings: Settings, run: DayRun) -> AbstractContextManager[Any]: ...

    def dbt_environment(self, settings: Settings, run: DayRun) -> dict[str, str]: ...

    def build_name(self, settings: Settings, run: DayRun) -> str: ...

    def failing_rows(self, settings: Settings, run: DayRun, sql: str, limit: int) -> list[dict[str, Any]]: ...

    def mark_built(self, settings: Settings, run: DayRun, tables: Sequence[TableSpec]) -> dict[str, int]: ...

    def require_built(self, settings: Settings, run: DayRun) -> None: ...

    def take_training(self, settings: Settings, run: DayRun, max_clients: int | None) -> pa.Table: ...

    def publish_marts(
        self, settings: Settings, run: DayRun, *, built_from: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, int]]: ...

    def publish_table(
        self, settings: Settings, run: DayRun, name: str, data: pa.Table | pa.RecordBatchReader, *, step: str
    ) -> str: ...

    def open_published(
        self, settings: Settings, version_id: str | None = None
    ) -> AbstractContextManager[Published]: ...

    def register_contacts(self, settings: Settings, published: Any, run: DayRun, name: str) -> None: ...

    def run_sql(self, settings: Settings, sql: str, *, version_id: str | None = None) -> pa.RecordBatchReader: ...

    def current_id(self, settings: Settings) -> str | None: ...

    def clear_out(self, settings: Settings, *, keep: Collection[str]) -> None: ...

    def published_state(self, settings: Settings) -> dict[str, Any]: ...

    def known_versions(self, settings: Settings) -> list[dict[str, Any]]: ...

    def damages(self, settings: Settings, version_id: str | None = None) -> tuple[str, int, list[Problem]]: ...

    def initialise(self, settings: Settings) -> list[str]: ...


def _engine(settings: Settings) -> _Engine:
    """The engine that the settings choose."""
    if settings.warehouse_url is None:
        from perennial.warehouse import embedded

        return embedded
    from perennial.warehouse import postgres

    return postgres


def prepare_build(
    settings: Settings,
    run: DayRun,
    *,
    raw_files: Mapping[EntityName, Sequence[Path]],
    ledger: Iterable[tuple[str, pa.RecordBatchReader]],
    change: BuildChange = FULL,
) -> None:
    """Open the run's build: schema `raw` over exactly `raw_files`, the copy of the ledger, a map that joins nobody.

    What `change` says is kept beside it: raw.<entity>_changed, raw.batches_changed, and the record of the build, which
    `mark_built` finishes. Raises ContractViolation when a raw file is missing.
    """
    _engine(settings).prepare_build(settings, run, raw_files=raw_files, ledger=ledger, change=change)


def last_record(settings: Settings, run: DayRun) -> BuildRecord | None:
    """What the run's build database remembers of the last complete build and of one begun; None when of none."""
    return _engine(settings).last_record(settings, run)


def write_identity_map(settings: Settings, run: DayRun, rows: pa.RecordBatchReader) -> None:
    """Write `raw.identity_map` (contracts.identity.IDENTITY_MAP) of the run's prepared build."""
    _engine(settings).write_identity_map(settings, run, rows)


def raw_connection(settings: Settings, run: DayRun) -> AbstractContextManager[Any]:
    """A DuckDB connection in which `raw.<entity>` are the run's raw rows; temporary tables may be made in it.

    Raises ContractViolation when the run's build was not prepared.
    """
    return _engine(settings).raw_connection(settings, run)


def dbt_environment(settings: Settings, run: DayRun) -> dict[str, str]:
    """The variables that dbt_project/profiles.yml reads for the run's build: its target and how to reach it."""
    return _engine(settings).dbt_environment(settings, run)


def build_name(settings: Settings, run: DayRun) -> str:
    """A name for what dbt keeps of the run's kind of build between days (`latest`, `past`)."""
    return _engine(settings).build_name(settings, run)


def failing_rows(settings: Settings, run: DayRun, sql: str, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` rows of a query on the run's build, in the order of all columns."""
    return _engine(settings).failing_rows(settings, run, sql, limit)


def mark_built(settings: Settings, run: DayRun, tables: Sequence[TableSpec]) -> dict[str, int]:
    """Write that the run's tables are built and tested; gives their rows, counted here.

    Raises ContractViolation when a table that would be published holds personal data (L22).
    """
    return _engine(settings).mark_built(settings, run, tables)


def require_built(settings: Settings, run: DayRun) -> None:
    """Raise ContractViolation unless the build is this run's and has passed its tests (L5)."""
    _engine(settings).require_built(settings, run)


def take_training(settings: Settings, run: DayRun, max_clients: int | None) -> pa.Table:
    """The schema `training` as one table, ordered by client and date, and the schema is gone."""
    return _engine(settings).take_training(settings, run, max_clients)


def publish_marts(
    settings: Settings, run: DayRun, *, built_from: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, int]]:
    """Publish the run's tested tables: (version id, rows by table); readers see all of before or all of now (L5).

    `built_from` is what the build tells of itself; it stays with the version, for `perennial warehouse status`.
    """
    return _engine(settings).publish_marts(settings, run, built_from=built_from)


def publish_table(
    settings: Settings, run: DayRun, name: str, data: pa.Table | pa.RecordBatchReader, *, step: str
) -> str:
    """Publish `data` as the run's date of the periodic table `name`; gives the new version's id."""
    return _engine(settings).publish_table(settings, run, name, data, step=step)


def open_published(settings: Settings, version_id: str | None = None) -> AbstractContextManager[Published]:
    """The version by its id, or the current one; it stays readable until closed, whatever is published meanwhile.

    Raises ContractViolation when nothing is published, or the version is gone.
    """
    return _engine(settings).open_published(settings, version_id)


def register_contacts(settings: Settings, published: Published, run: DayRun, name: str) -> None:
    """Make the addresses of the run's people a temporary relation of `published`: for delivery alone (L22).

    Raises ContractViolation when the run has published none.
    """
    _engine(settings).register_contacts(settings, published, run, name)


def run_sql(settings: Settings, sql: str, *, version_id: str | None = None) -> pa.RecordBatchReader:
    """The result of one reading statement of people on the published tables, in batches, in the engine's own SQL.

    Raises PermanentError for a statement that is wrong or does more than read.
    """
    return _engine(settings).run_sql(settings, sql, version_id=version_id)


def current_id(settings: Settings) -> str | None:
    """The id of the version that readers open; None before the first publication."""
    return _engine(settings).current_id(settings)


def clear_out(settings: Settings, *, keep: Collection[str]) -> None:
    """Remove versions (but those in `keep`) and addresses that nobody needs any more."""
    _engine(settings).clear_out(settings, keep=keep)


def published_state(settings: Settings) -> dict[str, Any]:
    """The version that readers open: what it was built from, and its tables beside the day before's."""
    return _engine(settings).published_state(settings)


def known_versions(settings: Settings) -> list[dict[str, Any]]:
    """Every version that is known, newest first, and which of them readers open."""
    return _engine(settings).known_versions(settings)


def damages(settings: Settings, version_id: str | None = None) -> tuple[str, int, list[Problem]]:
    """(version, files or tables looked at, what is wrong with them)."""
    return _engine(settings).damages(settings, version_id)


def initialise(settings: Settings) -> list[str]:
    """Make what the warehouse needs beforehand (schemas, roles, rights); gives a sentence each, and may be run again.

    Raises ContractViolation with the statements that someone with more rights must run.
    """
    return _engine(settings).initialise(settings)
