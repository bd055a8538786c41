"""Which database, which table, and how people call both in a message."""

from __future__ import annotations

from dataclasses import dataclass

from perennial.contracts.connections import DatabaseConnection, DatabaseRead
from perennial.contracts.sources import SourceEntity
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem
from perennial.sources.fetching import Request

DELETED = "_deleted"  # the column of a snapshot's files that marks the keys that went


@dataclass(frozen=True)
class Place:
    """What one source entity reads. `where` stands in front of every message about it."""

    where: str
    entity: SourceEntity
    options: DatabaseConnection
    read: DatabaseRead
    connection: Connection

    def error(self, message: str, fix: str = "") -> ConfigError:
        """A mistake in sources.yml or in the connection."""
        return ConfigError(Problem(self.where, message, fix))


def place_of(request: Request) -> Place:
    """The place that the request means. Raises ConfigError for what sources.yml or the connection says wrongly."""
    options, read = request.source.connection, request.entity.database
    where = f"sources.yml: {request.source_name}.{request.entity_name}"
    if not isinstance(options, DatabaseConnection) or read is None:
        raise ConfigError(Problem(where, "the source is no database", "connection: {kind: database, ...}"))
    place = Place(where, request.entity, options, read, request.connections.get(options.id))
    _refuse_wrong_files(place)
    return place


def _refuse_wrong_files(place: Place) -> None:
    path, form = place.entity.path, place.entity.format.type
    if form != "parquet" or not path.endswith(".parquet"):
        raise place.error(f"{path!r} of type {form} cannot hold a table", "format: {type: parquet}, path: ....parquet")
    if "*" not in path or ("{date}" in path and "{date}*" not in path):
        raise place.error(
            f"{path!r} gives two fetches of one day the same name", "write * (or {date}*, if the files are dated)"
        )
    deleted = place.entity.deleted
    if place.read.mode == "snapshot" and (deleted is None or deleted.column != DELETED):
        raise place.error(
            "a snapshot tells deleted rows, and the contract does not say how", f"deleted: {{column: {DELETED}}}"
        )
