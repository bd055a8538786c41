"""Quarantined rows whose file was landed again: they came back with it, and wait no longer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from perennial.contracts.sources import SourceEntity
from perennial.core.settings import Settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.quarantine import Key, batches_with, record_actions, set_aside
from perennial.pipeline.quarantine import waiting_rows

_NOTE = "its file was landed again"


def superseded_rows(
    settings: Settings, name: str, contract: SourceEntity, files: Collection[str]
) -> dict[str, list[Key]]:
    """By batch the waiting rows of source.entity that stood in a former content of one of the files.

    Only where names have a date: elsewhere a name that comes again is a new file, and not the same one corrected.
    """
    if "{date}" not in contract.path:
        return {}
    engine = open_ledger(settings)
    same, found = batches_with(engine, files), dict[str, list[Key]]()
    for one in set_aside(engine):
        if one.name == name and one.waiting and (one.is_replay or one.batch_id in same):
            with waiting_rows(settings, one) as connection:
                query = "select _file, _line from waiting where list_contains($1, _file) order by all"
                keys = connection.execute(query, [sorted(files)]).fetchall()
            if keys:
                found[one.batch_id] = [(str(file), int(line)) for file, line in keys]
    return found


def settle(connection: sa.Connection, rows: Mapping[str, Sequence[Key]], batch_id: str) -> None:
    """Write it down, within the transaction that writes the batch which brought the files again."""
    for origin, keys in rows.items():
        record_actions(connection, origin, keys, "replayed", to_batch_id=batch_id, done_by="perennial", note=_NOTE)
