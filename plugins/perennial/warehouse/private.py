"""Addresses of people: a store of its own that only delivery opens (L22).

private/                          mode 700
private/contacts-<run_id>.parquet mode 600: client_id, first_name, last_name, email, phone, birth_date
private/current                   the newest day's run id
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.warehouse.duck import Connection, first_value
from perennial.warehouse.versions import replace_text

_RUN_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.r[0-9]+")


def contacts_file(settings: Settings, run_id: str) -> Path:
    """Where the run's addresses lie, if it has published any."""
    return settings.private_dir / f"contacts-{run_id}.parquet"


def private_contacts_path(settings: Settings, run: DayRun) -> Path:
    """The Parquet file of the run's addresses. Raises ContractViolation when the run has published none."""
    path = contacts_file(settings, run.run_id)
    if not path.exists():
        raise ContractViolation(
            Problem(path.name, f"run {run.run_id} has no private contacts", "publish the run again")
        )
    return path


def publish_contacts(settings: Settings, run: DayRun, connection: Connection) -> None:
    """Write `private.contacts` of the build database, if there is such a model; the caller has checked the run."""
    known = "select 1 from information_schema.tables where table_schema = 'private' and table_name = 'contacts'"
    if first_value(connection, known) is None:
        return
    settings.private_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.private_dir.chmod(0o700)
    target = contacts_file(settings, run.run_id)
    being_made = target.with_name(f".{target.name}.tmp")
    being_made.unlink(missing_ok=True)
    being_made.touch(mode=0o600)
    query = "select * from private.contacts order by client_id"
    connection.execute(
        f"copy ({query}) to {literal(str(being_made))} (format parquet, compression zstd, use_tmp_file false)"
    )
    sync(being_made)
    being_made.replace(target)
    if run.is_latest:
        replace_text(settings.private_dir / "current", run.run_id, mode=0o600)


def prune_contacts(settings: Settings, *, keep: Collection[str]) -> None:
    """Remove the addresses of every run but those in `keep` (run ids) and the current one: no copy without a use."""
    pointer = settings.private_dir / "current"
    kept = {*keep, pointer.read_text(encoding="utf-8").strip() if pointer.exists() else ""}
    for path in settings.private_dir.glob("*contacts-*"):
        run_id = _RUN_ID.search(path.name)
        if run_id is None or run_id.group() not in kept or path.name.startswith("."):
            path.unlink()
