"""Rows that were handed to a tool and have no outcome yet: kept in private files, so that a crash loses nobody.

`private/in_flight/<chunk_id>.arrow`, mode 600 in a folder of mode 700; it is written before the call and removed once
the outcome is in the ledger.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from perennial.core import clock
from perennial.core.files import sync
from perennial.delivery.engine.rows import Piece, RowMap
from perennial.delivery.records import Action, ListKey

_SECONDS_KEPT = 3_600
_MAP = b"perennial.row_map"


class InFlight:
    """The rows in flight below a home folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "private" / "in_flight"

    def keep(self, chunk_id: str, piece: Piece) -> None:
        """Write the rows of a chunk; they are on the disk when it returns."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, making = self._path(chunk_id), self._folder / f"{chunk_id}.making"
        rows = piece.rows.replace_schema_metadata({_MAP: piece.map.as_json().encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sink.getvalue())
            file.flush()
            os.fsync(file.fileno())
        making.rename(path)
        sync(self._folder)

    def read(self, chunk_id: str, key: ListKey, action: Action) -> Piece | None:
        """The rows of a chunk as they were sent; None when the file is gone or cannot be read."""
        try:
            with pa.OSFile(str(self._path(chunk_id))) as file, pa.ipc.open_stream(file) as reader:
                table = reader.read_all()
        except (OSError, pa.ArrowInvalid):
            return None
        text = table.schema.metadata[_MAP].decode()
        rows = table.combine_chunks().replace_schema_metadata(None).to_batches()
        return Piece(key, action, rows[0], RowMap.of_json(text)) if rows else None

    def forget(self, chunk_id: str) -> None:
        """The outcome is written: nobody needs the rows any more."""
        for path in (self._path(chunk_id), self._folder / f"{chunk_id}.making"):
            with suppress(FileNotFoundError):
                path.unlink()

    def sweep(self, still_open: set[str]) -> None:
        """Remove rows that no chunk on its way stands for, once they are an hour old: a crash lay between the two."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another push has ended meanwhile
                age = clock.now().timestamp() - path.stat().st_mtime
                if path.stem not in still_open and age > _SECONDS_KEPT:
                    path.unlink()

    def _path(self, chunk_id: str) -> Path:
        return self._folder / f"{chunk_id}.arrow"
