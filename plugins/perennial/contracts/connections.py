"""How a source is reached when its files do not simply appear in the landing zone.

Whatever the way, what comes lands as files below `landing/`, so that there is one way in (`pipeline.fetch`). Where a
system is and who we are there is said by a connection of Airflow (or `AIRFLOW_CONN_<ID>`), never here (L22): `id` names
it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perennial.core.settings import Frozen

ConnectionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
Minutes = Annotated[float, Field(gt=0, le=43_200)]


class FilesConnection(Frozen):
    """Files on another machine: S3-compatible storage, SFTP, or any file system that fsspec knows.

    `url` is the folder (`s3://bucket/prefix`, `sftp://host/folder`); keys and passwords stand in the connection.
    """

    kind: Literal["files"]
    url: str
    id: ConnectionId | None = None
    every_minutes: Minutes = 5
    after: Literal["keep", "delete", "move"] = "keep"  # of a file that is landed and committed
    move_to: str = "done"  # folder below `url`, for `after: move`


class DatabaseConnection(Frozen):
    """Any SQLAlchemy URL, read-only; by ADBC where there is a driver."""

    kind: Literal["database"]
    id: ConnectionId
    every_minutes: Minutes = 60
    statement_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    chunk_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000


class RestConnection(Frozen):
    """A CRM's or shop's REST API. `definition` names a ready one (sources/definitions/<name>.yml)."""

    kind: Literal["rest"]
    id: ConnectionId
    every_minutes: Minutes = 60
    definition: str | None = None
    api: dict[str, Any] = Field(
        default_factory=dict
    )  # over the definition's own: base_url, auth, paginator, rate limit (sources/rest)


class WebhookConnection(Frozen):
    """Events that another system posts to us, signed."""

    kind: Literal["webhook"]
    id: ConnectionId  # its password is the shared secret
    signature: Literal["hmac_sha256_hex", "hmac_sha256_base64", "timestamped_hmac_sha256"] = "hmac_sha256_hex"
    header: str = "X-Signature"
    timestamp_header: str | None = None
    tolerance_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300  # against replays, where there is a timestamp
    max_bytes: Annotated[int, Field(ge=1_000, le=50_000_000)] = 1_000_000


class QueueConnection(Frozen):
    """Events on a durable queue (Redis or Valkey streams), acknowledged to its group once they are on our disk."""

    kind: Literal["queue"]
    id: ConnectionId
    group: str = "perennial"
    max_events: Annotated[int, Field(ge=1, le=100_000)] = 1_000  # in one landed file


Connection = Annotated[
    FilesConnection | DatabaseConnection | RestConnection | WebhookConnection | QueueConnection,
    Field(discriminator="kind"),
]


class RemoteFiles(Frozen):
    """An entity's files at a `files` connection: a glob below its url."""

    glob: str


class DatabaseRead(Frozen):
    """What an entity reads from a database: a table, or a query without a semicolon that is only ever wrapped."""

    table: str | None = None
    query: str | None = None
    mode: Literal["incremental", "snapshot"] = "incremental"
    watermark: str | None = None  # a column that only grows for changed rows: a time or a number
    look_back_minutes: Annotated[float, Field(ge=0)] = 0  # rows that commit late are read again
    look_back: Annotated[float, Field(ge=0)] = 0  # the same for a number
    key: tuple[str, ...] = ()  # columns of the source that identify a row; needed to find deleted ones
    max_deleted_share: Annotated[float, Field(ge=0, le=1)] = 0.5  # of a snapshot's keys; more is implausible (L11)

    @model_validator(mode="after")
    def _whole(self) -> DatabaseRead:
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table, query")
        if self.mode == "incremental" and self.watermark is None:
            raise ValueError(
                "incremental needs a watermark: a column that grows when a row changes; else use mode: snapshot"
            )
        if self.mode == "snapshot" and not self.key:
            raise ValueError("snapshot needs the key, to tell which rows were deleted")
        return self


class RestRead(Frozen):
    """What an entity reads from a REST API: `resource` names one of the definition, the keys are sources/rest's."""

    resource: str | None = None
    endpoint: dict[str, Any] = Field(
        default_factory=dict
    )  # over the definition's: path, params, records, paginator, cursor


# The field that orders the events of a key by their arrival, where the contract names no version of the sender's.
ARRIVAL = "_sequence"


class EventRead(Frozen):
    """Which events of a webhook or a queue are rows of the entity."""

    stream: str | None = None  # queue: the stream's name
    match: dict[str, str] = Field(
        default_factory=dict
    )  # fields (dotted) that must have these values, e.g. {topic: orders/create}
    records: str | None = None  # dotted path of the list of rows within an event; the event itself when absent
    wakes_within_seconds: Annotated[float, Field(gt=0, le=3_600)] = 10  # how long events are gathered into one file
