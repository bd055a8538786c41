"""What `perennial check` looks at: the configuration, the connections and the environment."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perennial.core.errors import PerennialError, Problem

if TYPE_CHECKING:
    from perennial.core.settings import Settings

Level = Literal["ok", "warning", "error"]

_GIB = 1024**3
_DISK_NEEDED, _DISK_ADVISED = 1 * _GIB, 5 * _GIB
_PYTHONS = ((3, 11), (3, 13))
_AIRFLOW_PORT = 8080


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: an error stops Perennial, a warning does not."""

    level: Level
    part: str
    where: str
    message: str
    fix: str = ""


def check_config(settings: Settings) -> Iterator[Finding]:
    """Every file below config/, by the loaders of the steps of a day; names of metrics by the dbt contracts."""
    from perennial.core.settings import config_files
    from perennial.delivery.destinations import load_destinations
    from perennial.sources.config import load_sources
    from perennial.targeting.catalogue import catalogue_of, contracted_tables
    from perennial.targeting.config import load_targeting

    loaders: list[Callable[[], Any]] = [
        lambda: load_sources(settings),
        lambda: load_targeting(settings, catalogue_of(contracted_tables(settings.dbt_project_dir))),
        lambda: load_destinations(settings),
    ]
    wrong = [problem for load in loaders for problem in problems_of(load)]
    yield from (_error("config", problem) for problem in wrong)
    if not wrong:
        files = config_files(settings.config_dir)
        yield Finding("ok", "config", str(settings.config_dir), f"{len(files)} files are right")


def check_connections(settings: Settings) -> Iterator[Finding]:
    """The ledger, the warehouse and the destinations; what the first run makes may be missing."""
    yield from _check_ledger(settings)
    yield from _check_warehouse(settings)
    yield from _check_destinations(settings)


def _check_ledger(settings: Settings) -> Iterator[Finding]:
    import sqlalchemy as sa

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.tables import batches

    url = sa.make_url(settings.ledger_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        yield Finding("ok", "connections", "ledger", "none yet; the first run makes it")
        return
    try:
        with open_ledger(settings).connect() as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(batches)).scalar()
    except (sa.exc.SQLAlchemyError, sa.exc.NoSuchModuleError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        fix = "see that the address in PERENNIAL_LEDGER_URL is right and the database answers"
        yield Finding("error", "connections", url.render_as_string(hide_password=True), reason, fix)
        return
    yield Finding("ok", "connections", "ledger", f"{count} batches recorded")


def _check_warehouse(settings: Settings) -> Iterator[Finding]:
    from perennial.warehouse.engine import current_id, open_published

    version_id = current_id(settings)
    if version_id is None:
        yield Finding("ok", "connections", "warehouse", "nothing is published yet")
        return
    wrong = 0
    try:
        with open_published(settings, version_id) as published:
            tables = list(published.tables())
        for table in tables:
            problems = problems_of(partial(_read_one, settings, table))
            wrong += len(problems)
            for problem in problems:
                fix = "publish the day again: perennial run"
                yield Finding("error", "connections", f"warehouse/{version_id}/{table}", problem.message, fix)
    except (PerennialError, OSError) as error:
        wrong += 1
        yield Finding("error", "connections", f"warehouse/{version_id}", str(error), "publish the day again")
    if not wrong:
        yield Finding("ok", "connections", "warehouse", f"version {version_id} with {len(tables)} tables")


def _read_one(settings: Settings, table: str) -> None:
    from perennial.warehouse.engine import run_sql

    run_sql(settings, f'select 1 from "{table}" limit 1').read_all()


def _check_destinations(settings: Settings) -> Iterator[Finding]:
    from perennial.delivery.destinations import check
    from perennial.targeting.config import load_targeting

    try:
        campaigns = load_targeting(settings).campaigns
    except PerennialError:
        campaigns = ()  # told by the part `config`
    for name, step in check(settings, campaigns):
        level: Level = "error" if step.state == "failed" else "ok"
        yield Finding(level, "connections", f"{name}: {step.name}", step.message, step.fix)


def check_environment(settings: Settings) -> Iterator[Finding]:
    """Python, disk, ports, and whether what is installed is what the lock file says."""
    yield _python()
    yield _disk(settings.home)
    yield _installed()
    yield _port()


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return Finding("ok", "environment", "python", found)
    return Finding("error", "environment", "python", found, "install Python 3.11, 3.12 or 3.13 and start again")


def _disk(home: Path) -> Finding:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    level: Level = "error" if free < _DISK_NEEDED else "warning" if free < _DISK_ADVISED else "ok"
    fix = "" if level == "ok" else f"make room: {_DISK_ADVISED // _GIB} GiB are advised"
    return Finding(level, "environment", str(folder), f"{free / _GIB:.1f} GiB free", fix)


def _installed() -> Finding:
    """The launcher's stamp in the environment against the lock file."""
    from perennial.commands.locks import LOCK, digest_of_file

    stamp = Path(sys.prefix) / "lock.stamp"
    if not stamp.is_file():
        message = "not made by the launcher, so it is not known what is installed"
        return Finding("warning", "environment", sys.prefix, message, "start through ./perennial")
    if stamp.read_text(encoding="utf-8").split()[:1] != [digest_of_file(LOCK)]:
        message = f"{LOCK.name} has changed since the installation"
        return Finding("error", "environment", sys.prefix, message, "start through ./perennial, which installs anew")
    return Finding("ok", "environment", sys.prefix, f"installed from {LOCK.name}")


def _port() -> Finding:
    where = f"port {_AIRFLOW_PORT}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _AIRFLOW_PORT))
        except OSError:
            return Finding(
                "warning", "environment", where, "in use", "nothing to do: demo takes the next one that is free"
            )
    return Finding("ok", "environment", where, "free")


def problems_of(load: Callable[[], Any]) -> tuple[Problem, ...]:
    """What a loader complains of; nothing when it loads."""
    try:
        load()
    except PerennialError as error:
        return error.problems
    return ()


def _error(part: str, problem: Problem) -> Finding:
    return Finding("error", part, problem.where, problem.message, problem.fix)
