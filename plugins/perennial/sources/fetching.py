"""What every way of fetching has in common: it writes whole files, says how far it came, and lands nothing itself.

A fetcher reads one source entity at an outside system. `pipeline.fetch` gives it a scratch folder and the cursor of the
last time, moves each file that it yields into the landing zone, and only then writes the cursor: what was fetched twice
is a duplicate, what was fetched never is lost (L1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from perennial.contracts.sources import Source, SourceEntity
from perennial.core.connections import ConnectionStore

Cursor = Mapping[str, Any]  # JSON; empty at the first fetch


@dataclass(frozen=True)
class FetchedFile:
    """A whole file in the scratch folder, and the cursor that holds once it is in the landing zone.

    `suffix` becomes part of its name below landing/: it stands for the `*` or `{date}` of the entity's path, and is a
    function of what was fetched, so that the same range gives the same name. `rows` is for people. `remote` names the
    outside file (name and version), where it is one; `sha256` is of its bytes, where the fetcher knows it.
    """

    path: Path
    suffix: str
    cursor: Cursor
    rows: int | None = None
    remote: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class Request:
    """What a fetcher is asked for. `known` are the remote files (name, version) that were landed already.

    Those whose bytes are in a committed batch are `committed`. What people should know is appended to `notes`, also
    where no file is yielded.

    `today` is the business date of what is asked now. `state` is a folder (mode 700) of the source's own that is kept
    between fetches, for what a cursor is too small for: hashes of rows, snapshots of keys; each entity names its files.
    """

    source_name: str
    source: Source
    entity_name: str
    entity: SourceEntity
    cursor: Cursor
    scratch: Path
    state: Path
    today: date
    connections: ConnectionStore = field(repr=False)
    known: frozenset[tuple[str, str]] = frozenset()
    committed: frozenset[tuple[str, str]] = frozenset()
    notes: list[str] = field(default_factory=list)


class Fetcher(Protocol):
    """One module per kind of connection has these two functions."""

    def fetch(self, request: Request) -> Iterator[FetchedFile]:
        """Yield whole files until everything that is there now was read. Nothing new yields nothing.

        Raises RetryableError (outside busy, time-out, dropped), PermanentError or ConfigError (who is to mend what).
        """
        ...

    def check(self, request: Request) -> list[tuple[str, str]]:
        """Named steps (`connect`, `sign in`, `read a row`, `columns`) with `ok` or what is wrong and how to mend it."""
        ...
