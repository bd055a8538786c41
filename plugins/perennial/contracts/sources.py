"""The model of config/sources.yml: which outside files become which canonical entity, and what is legal in them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perennial.contracts.connections import ARRIVAL, Connection, DatabaseRead, EventRead, RemoteFiles, RestRead
from perennial.contracts.entities import ENTITIES, EntityName, LineKind
from perennial.core.settings import Frozen

Share = Annotated[float, Field(ge=0, le=1)]


class FileFormat(Frozen):
    """How the file is written. A file that differs from it (delimiter, encoding) is refused with what was found.

    `.gz`, `.zst` and `.zip` (of one file) at the end of a name say how it is packed. In nested formats (jsonl, xml) the
    `source` of a column is a path from the row: `customer.email` in JSON, `customer/email` or `@id` in XML; `../id` and
    `../@id` lead to what holds the row.
    """

    type: Literal["csv", "excel", "jsonl", "xml", "parquet"] = "csv"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'", "_"] | None = None  # between groups of three digits
    sheet: str | None = None  # Excel: the first sheet when absent
    header_row: Annotated[int, Field(ge=1, le=1_000)] = 1  # Excel: the row of the column names
    row: str | None = None  # XML: the path of the element that is a row; JSON: of the list whose items are rows
    max_unpacked_bytes: Annotated[int, Field(ge=1_000_000)] = 20_000_000_000  # of a packed file: more is a bomb
    timestamp_format: str | None = None  # strptime codes; ISO 8601 when absent
    date_format: str | None = None
    timestamps_in: str = "UTC"  # the zone that times without an offset are in


class SourceColumn(Frozen):
    """Where a canonical column comes from and what is legal in it."""

    source: str  # the column's name in the file
    required: bool | None = None  # None: as the canonical entity says
    min: float | str | None = None
    max: float | str | None = None
    allowed: tuple[str, ...] | None = None
    pattern: str | None = None  # RE2; the whole value must match
    transform: Literal["none", "strip", "upper", "lower"] = "strip"
    map: dict[str, str] = Field(default_factory=dict)  # other words for a value, found after the transform

    @model_validator(mode="after")
    def _map_is_met(self) -> SourceColumn:
        """A key that the transform never gives would silently do nothing."""
        change: dict[str, Callable[[str], str]] = {"strip": str.strip, "upper": str.upper, "lower": str.lower}
        for key in self.map:
            seen = change[self.transform](key).strip() if self.transform in change else key
            if seen != key or not key:
                raise ValueError(f"map: the transform {self.transform} turns {key!r} into {seen!r}; write that one")
        return self


class LineKindRule(Frozen):
    """The first rule that matches decides the kind of an order line."""

    kind: LineKind
    column: str  # a canonical column
    starts_with: str | None = None
    one_of: tuple[str, ...] | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_test(self) -> LineKindRule:
        if sum(test is not None for test in (self.starts_with, self.one_of, self.below)) != 1:
            raise ValueError("give exactly one of starts_with, one_of, below")
        return self


class Reference(Frozen):
    """A column that names a row of another entity. `warn` loads and counts, `quarantine` sets the row aside."""

    column: str
    entity: EntityName
    on_missing: Literal["warn", "quarantine"] = "warn"


class Limits(Frozen):
    """Shares of bad rows in a batch: above `warn` someone is told, above `stop` the batch is refused (L6)."""

    warn: Share = 0.001
    stop: Share = 0.05


class Volume(Frozen):
    """A batch's rows against those of the batches before it (median of the last `window`, same weekday when `weekly`).

    Outside `warn` (a ratio, e.g. [0.5, 2]) someone is told; outside `stop` the batch is refused. None: not checked.
    """

    warn: tuple[float, float] | None = (0.3, 3.0)
    stop: tuple[float, float] | None = None
    window: Annotated[int, Field(ge=3, le=400)] = 14
    weekly: bool = False
    least: Annotated[int, Field(ge=0)] = 100  # smaller medians say nothing


class Freshness(Frozen):
    """After how many hours without a committed batch a source entity counts as silent: someone is told (or also L6)."""

    warn_hours: Annotated[float, Field(gt=0)]
    stop_hours: Annotated[float, Field(gt=0)] | None = None


class QuarantineLimits(Frozen):
    """When someone is told of the rows of a source entity that wait in quarantine: too many, or for too long."""

    warn_rows: Annotated[int, Field(ge=0)] = 1_000
    warn_days: Annotated[float, Field(gt=0)] = 7


class Deleted(Frozen):
    """Which rows say that the entity or document of their key is gone (a tombstone): `column` is the file's."""

    column: str
    values: tuple[str, ...] = ("true", "1", "yes", "deleted")


class Readiness(Frozen):
    """When a landed file is whole: it stands still, a marker lies beside it, or it only ever appears by a rename."""

    by: Literal["stable", "marker", "rename"] = "stable"
    marker: str = "{name}.done"  # the marker's name, from the file's


class SourceEntity(Frozen):
    """One file pattern of a source and its contract."""

    entity: EntityName
    path: str  # below landing/, with {date} (YYYY-MM-DD) once or a * glob
    business_date: str = "{date}"  # "{date}": the file name's; else a canonical date or timestamp column
    cadence: Literal["daily", "on_change"] = "daily"
    max_age_days: int | None = None  # on_change only: older than this at as_of means stop (L6)
    format: FileFormat = FileFormat()
    columns: dict[str, SourceColumn]
    constants: dict[str, str] = Field(default_factory=dict)  # text columns that are the same in every row
    line_kinds: tuple[LineKindRule, ...] = ()
    default_line_kind: LineKind = "sale"
    negative_quantity_kinds: tuple[LineKind, ...] = ()  # kinds in which a negative quantity is legal
    references: tuple[Reference, ...] = ()
    limits: Limits = Limits()
    volume: Volume = Volume()
    freshness: Freshness | None = None
    quarantine: QuarantineLimits = QuarantineLimits()
    version: str | None = None  # the file's column by which versions of a key are ordered within a business date
    deleted: Deleted | None = None
    precedence: Annotated[int, Field(ge=0, le=1_000)] = 100  # of two sources for one key the smaller number is believed
    remote: RemoteFiles | None = None
    database: DatabaseRead | None = None
    rest: RestRead | None = None
    events: EventRead | None = None

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The file's columns that the contract names, each once; all others are extras."""
        named = [column.source for column in self.columns.values()]
        named += [self.version] if self.version else []
        named += [self.deleted.column] if self.deleted else []
        return tuple(dict.fromkeys(named))

    @model_validator(mode="before")
    @classmethod
    def _short_columns(cls, data: Any) -> Any:
        """`order_key: basket_id` is short for `order_key: {source: basket_id}`."""
        if isinstance(data, dict) and isinstance(data.get("columns"), dict):
            columns = {k: {"source": v} if isinstance(v, str) else v for k, v in data["columns"].items()}
            return {**data, "columns": columns}
        return data

    @model_validator(mode="before")
    @classmethod
    def _events_have_an_order(cls, data: Any) -> Any:
        """Two events of one key may land in one file: the later one holds, by the sender's version or by arrival."""
        if isinstance(data, dict) and data.get("events") is not None and data.get("version") is None:
            return {**data, "version": ARRIVAL}
        return data

    @model_validator(mode="after")
    def _columns_are_canonical(self) -> SourceEntity:
        canonical = ENTITIES[self.entity].columns
        unknown = sorted(set(self.columns) - set(canonical))
        if unknown:
            near = difflib.get_close_matches(unknown[0], canonical, n=1, cutoff=0.6)
            fix = f"did you mean {near[0]}?" if near else f"it has {', '.join(canonical)}"
            raise ValueError(f"{self.entity} has no column {', '.join(unknown)}; {fix}")
        given = {*self.columns, *self.constants, "line_kind"}
        missing = [n for n, c in canonical.items() if c.required and n not in given]
        if missing:
            raise ValueError(f"{self.entity} needs the column {', '.join(missing)}; add it under columns")
        if self.entity == "order_lines" and not {"amount", "unit_price"} & set(self.columns):
            raise ValueError(
                "order_lines has no amount; map amount, or unit_price (amount is then quantity x unit_price)"
            )
        return self

    @model_validator(mode="after")
    def _constants_are_plain_texts(self) -> SourceEntity:
        entity = ENTITIES[self.entity]
        for name, value in self.constants.items():
            if name not in entity.columns or entity.columns[name].type != "text":
                texts = ", ".join(n for n, c in entity.columns.items() if c.type == "text")
                raise ValueError(f"constants: {name} is no text column of {self.entity}; there are {texts}")
            if name in {*entity.key, *self.columns, "client_key", "line_kind"} or not value.strip():
                raise ValueError(f"constants: {name} cannot be one: it is a key, mapped under columns, or empty")
        return self


class Source(Frozen):
    """One outside system. `namespace` is shared by sources that use the same client keys."""

    description: str
    owner: str
    dag: Literal["ingest_sales", "ingest_crm"]
    namespace: str
    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = (
        2.0  # a file that changed later than this is still being written
    )
    ready: Readiness = Readiness()
    connection: Connection | None = None  # None: files are put into the landing zone by others
    entities: dict[str, SourceEntity]

    @model_validator(mode="after")
    def _entities_fit_the_connection(self) -> Source:
        kind = self.connection.kind if self.connection else None
        wanted = {
            "files": "remote",
            "database": "database",
            "rest": "rest",
            "webhook": "events",
            "queue": "events",
        }.get(kind or "")
        for name, entity in self.entities.items():
            given = [way for way in ("remote", "database", "rest", "events") if getattr(entity, way) is not None]
            if given != ([wanted] if wanted else []):
                what = (
                    f"exactly one of remote, database, rest, events: {wanted}"
                    if wanted
                    else "none of remote, database, rest, events"
                )
                raise ValueError(f"entity {name} must have {what}, since the connection is {kind or 'absent'}")
        return self


class SourcesFile(Frozen):
    """config/sources.yml."""

    version: Literal[1]
    sources: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source]
