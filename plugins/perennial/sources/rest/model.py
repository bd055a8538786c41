"""What a definition of an API says: sources/definitions/<name>.yml, or `connection.api` and `rest.endpoint` in place.

Strings of `base_url` and `headers` may name what the connection holds: `{host}`, `{address}` (host and port),
`{login}`, `{password}`, `{schema}`, `{extra_<name>}`. Strings of `path`, `params` and `body` may name `{since}`,
`{cursor}`, `{page}`, `{offset}`, `{limit}`, `{last}` and `{parent}`; what is one such name alone keeps its type, and a
key whose value is not known yet (the cursor of the first page) is left out.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perennial.contracts.entities import EntityName
from perennial.core.settings import Frozen
from perennial.sources.rest.paths import JsonPath

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class NoAuth(Frozen):
    """Nobody asks who we are."""

    kind: Literal["none"]


class BearerAuth(Frozen):
    """`Authorization: Bearer <the connection's password>`."""

    kind: Literal["bearer"]
    prefix: str = "Bearer"


class KeyAuth(Frozen):
    """The connection's password as a header or as a parameter of the query."""

    kind: Literal["api_key"]
    place: Literal["header", "query"] = "header"
    name: str


class BasicAuth(Frozen):
    """HTTP Basic with the connection's login and password."""

    kind: Literal["basic"]


class PathAuth(Frozen):
    """A secret within the address: `base_url` names `{password}`."""

    kind: Literal["address"]


class ClientCredentials(Frozen):
    """OAuth2 client credentials: login and password of the connection are the client's id and secret."""

    kind: Literal["oauth2_client_credentials"]
    token_url: str
    scope: str | None = None
    send: Literal["form", "json"] = "form"
    token_header: str = "Authorization"  # noqa: S105 - a header's name
    token_prefix: str = "Bearer"  # noqa: S105


class RefreshToken(Frozen):
    """OAuth2 with a refresh token (the connection's extra `refresh_token`), which the vendor may replace each time."""

    kind: Literal["oauth2_refresh_token"]
    token_url: str
    send: Literal["form", "json"] = "form"
    redirect_uri: bool = False  # send the connection's extra `redirect_uri` too
    token_header: str = "Authorization"  # noqa: S105
    token_prefix: str = "Bearer"  # noqa: S105


Auth = Annotated[
    NoAuth | BearerAuth | KeyAuth | BasicAuth | PathAuth | ClientCredentials | RefreshToken,
    Field(discriminator="kind"),
]


class SinglePage(Frozen):
    """Everything comes in one answer."""

    kind: Literal["single"]


class JsonLink(Frozen):
    """The answer holds the address of the next page."""

    kind: Literal["json_link"]
    next: JsonPath


class HeaderLink(Frozen):
    """The `Link` header (RFC 8288) holds the address of the next page."""

    kind: Literal["header_link"]
    rel: str = "next"


class OffsetPages(Frozen):
    """`{offset}` grows by the records read, until a page is empty, or `total` is reached.

    A record that vanishes meanwhile moves the others up, so that one is not seen: a `total` that shrinks tells it.
    """

    kind: Literal["offset"]
    limit: Count = 100
    total: JsonPath | None = None


class NumberedPages(Frozen):
    """`{page}` counts up, until a page is empty or `total_pages_header` is reached."""

    kind: Literal["page"]
    limit: Count = 100
    first: Annotated[int, Field(ge=0, le=1)] = 1
    total_pages_header: str | None = None
    total_header: str | None = None


class CursorPages(Frozen):
    """The answer holds the next `{cursor}`; without one, or where `more` is false, it was the last page."""

    kind: Literal["cursor"]
    next: JsonPath
    more: JsonPath | None = None
    limit: Count = 100


class SinceIdPages(Frozen):
    """`{last}` is the greatest key so far (records come in its order) and first `start`, until a page is empty."""

    kind: Literal["since_id"]
    field: JsonPath = "id"
    start: int | str | None = None
    limit: Count = 100


Paginator = Annotated[
    SinglePage | JsonLink | HeaderLink | OffsetPages | NumberedPages | CursorPages | SinceIdPages,
    Field(discriminator="kind"),
]


class Incremental(Frozen):
    """Only what changed since the last time: `field` of a record, sent back as `{since}`.

    `reads` says how the field is written, `writes` how `{since}` is (a strftime pattern, UTC, or one of the same
    words). Where the records come in the order of the field (`ascending`), a fetch that stops half-way goes on there.
    """

    field: JsonPath
    reads: Literal["iso", "epoch", "epoch_ms", "number"] = "iso"
    writes: str = "iso"
    look_back_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 60
    start: str | int | None = None  # sent as {since} at the first time; left out when absent
    ascending: bool = False

    @model_validator(mode="after")
    def _known_words(self) -> Incremental:
        if "%" not in self.writes and self.writes not in {"iso", "epoch", "epoch_ms", "number"}:
            raise ValueError("writes is one of iso, epoch, epoch_ms, number, or a strftime pattern")
        return self


class Deletes(Frozen):
    """Records that a complete listing no longer has are deleted.

    `confirm` is the path of one record (`{key}`): only what answers 404 or 410 there is gone. Without it a record must
    be missing from two listings. More than `max_share` at once is held back (L11). Where reading is incremental, the
    whole is listed every `every_days`.
    """

    confirm: str | None = None
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    least: Annotated[int, Field(ge=1)] = 20  # so many are always plausible
    every_days: Annotated[int, Field(ge=1, le=366)] = 7


class Parent(Frozen):
    """The endpoint is read once for each record of another: `{parent}` is that record's `field`."""

    resource: str
    field: JsonPath = "id"


class MadeField(Frozen):
    """A value under a new name: a moment as a UTC date or time, without the words that mean nothing, with a prefix.

    `reads` says how a moment is written (ISO 8601, seconds or milliseconds since 1970). `prefix` keeps apart the keys
    of people and companies that are counted each on their own.
    """

    path: JsonPath
    reads: Literal["as it is", "iso", "epoch", "epoch_ms"] = "as it is"
    lands: Literal["date", "timestamp"] = "date"
    empty: tuple[str, ...] = ()
    prefix: str = ""


class Endpoint(Frozen):
    """One list of records; each lands as one line of JSON, as the vendor wrote it. `key` identifies a record.

    `fields` adds values under new names, for what lies in lists where the path of a column does not reach.
    """

    path: str
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, Any] = Field(default_factory=dict)
    body: dict[str, Any] | None = None
    records: JsonPath = ""
    records_optional: bool = False  # an answer without the list means none (a misspelt path is then not noticed)
    key: Annotated[tuple[JsonPath, ...], Field(min_length=1)] = ("id",)
    fields: dict[str, JsonPath | MadeField] = Field(default_factory=dict)
    paginator: Paginator | None = None
    incremental: Incremental | None = None
    ignore: tuple[str, ...] = ()  # names of a record that change without news, such as signed addresses
    deletes: Deletes | None = None
    parent: Parent | None = None
    max_pages: Count = 100_000


class RateLimit(Frozen):
    """What the vendor allows one account, and how it says that it was too much."""

    per_second: Annotated[float, Field(gt=0, le=1_000)] = 5
    burst: Annotated[int, Field(ge=1, le=1_000)] = 1
    per_day: Count | None = None
    statuses: tuple[int, ...] = (429,)
    reset_header: str | None = None  # seconds since 1970 at which we may go on, where Retry-After is not sent


class Retry(Frozen):
    """Time-outs, dropped connections and 5xx: attempts with a growing wait. Waits that the vendor names cost none."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    first_wait_seconds: Seconds = 1
    longest_wait_seconds: Seconds = 60
    longest_asked_wait_seconds: Seconds = 900  # in sum, for one request; a longer one ends the fetch, to go on later
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60


class BodyError(Frozen):
    """An answer 200 that is an error: there is something at `path`; `busy` are values of `code` that mean: later."""

    path: JsonPath
    code: JsonPath
    busy: tuple[str, ...] = ()


class Mapping(Frozen):
    """A ready mapping of a resource to one of our entities, for config/sources.yml."""

    resource: str
    entity: EntityName
    business_date: str = "{date}"
    version: str | None = None
    format: dict[str, Any] = Field(default_factory=dict)
    columns: dict[str, Any]
    deleted: dict[str, Any] | None = None
    default_line_kind: str | None = None
    constants: dict[str, str] = Field(default_factory=dict)
    note: str | None = None


class Definition(Frozen):
    """An API: where it is, who we are there, its manners, its resources, and how they become our entities."""

    version: Literal[1]
    title: str
    documentation: tuple[str, ...] = ()
    read_on: date | None = None
    verified: Literal["not tried", "specification", "real server"] = "not tried"
    connection: str = ""  # what a person has to put into the connection
    notes: tuple[str, ...] = ()
    base_url: str
    insecure_http: bool = False  # plain http beyond this machine
    hosts: tuple[str, ...] = ()  # where links may lead beside the host of base_url
    auth: Auth
    headers: dict[str, str] = Field(default_factory=dict)
    rate_limit: RateLimit = RateLimit()
    retry: Retry = Retry()
    error: BodyError | None = None
    paginator: Paginator = SinglePage(kind="single")
    max_response_bytes: Annotated[int, Field(ge=1_000, le=2_000_000_000)] = 64_000_000
    resources: dict[str, Endpoint] = Field(default_factory=dict)
    entities: dict[str, Mapping] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_hold_together(self) -> Definition:
        for name, endpoint in self.resources.items():
            if endpoint.parent and endpoint.parent.resource not in self.resources:
                raise ValueError(f"resource {name}: there is no resource {endpoint.parent.resource!r} to be its parent")
        for name, mapping in self.entities.items():
            if mapping.resource not in self.resources:
                raise ValueError(f"entity {name}: there is no resource {mapping.resource!r}")
        return self
