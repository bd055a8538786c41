"""The model of a backtest's data set (config/backtests/*.yml): which files, what their columns are, what is judged."""

from __future__ import annotations

import difflib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Frozen
from perennial.core.yamlfile import read_yaml, validate

TaskName = Literal["churn", "value", "purchases", "next_purchase", "next_product", "response"]
TimeUnit = Literal["nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month"]

TRANSACTION_TASKS: tuple[TaskName, ...] = ("churn", "value", "purchases", "next_purchase", "next_product")
LABELLED_TASKS: tuple[TaskName, ...] = ("churn", "response")
DEFAULT_HORIZON = 90

# Other words that people have for the same.
_TASK_WORDS = {
    "churn_risk": "churn", "lapse": "churn", "label": "churn", "classification": "churn", "retention": "churn",
    "clv": "value", "ltv": "value", "spend": "value", "lifetime_value": "value",
    "btyd": "purchases", "purchase_count": "purchases", "expected_purchases": "purchases",
    "uplift": "response", "campaign_response": "response", "qini": "response", "conversion": "response",
    "next_purchase_days": "next_purchase", "next_purchase_date": "next_purchase", "recommendation": "next_product",
}  # fmt: skip
_UNIT_WORDS = {
    "ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second", "sec": "second", "min": "minute",
    "h": "hour", "d": "day", "w": "week", "m": "month",
}  # fmt: skip
_COLUMN_WORDS = {
    "id": "client", "user_id": "client",
    "client_id": "client", "customer": "client", "customer_id": "client", "timestamp": "time", "date": "time",
    "order_id": "order", "invoice": "order", "unit_price": "price", "revenue": "amount", "product_id": "product",
    "target": "label", "outcome": "label", "arm": "treatment", "group": "treatment",
}  # fmt: skip
_FORMAT_KEYS = (
    "delimiter",
    "sep",
    "header",
    "encoding",
    "quote",
    "decimal",
    "thousands",
    "time_format",
    "timestamps_in",
    "names",
)
_FORMAT_TYPES = {"tsv": "csv", "txt": "csv", "text": "csv", "pq": "parquet", "ndjson": "jsonl", "json": "jsonl"}


class DataFormat(Frozen):
    """How the files are written; what is not given is found out. `.gz` (and `.zst`) at the end of a name is unpacked.

    `delimiter: whitespace` is any run of blanks and tabs. `header: false` with `names` (or without: column1, column2
    ...) is for files without a line of names.
    """

    type: Literal["csv", "parquet", "jsonl"] | None = None  # None: by the name
    delimiter: Annotated[str, Field(min_length=1, max_length=10)] | None = None
    header: bool | None = None
    names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'", "_"] | None = None
    time_format: str | None = None  # strptime codes
    timestamps_in: str | None = None  # the zone of stamps without an offset; the company's when absent

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        value = {"tab": "\t", "\\t": "\t", "blanks": "whitespace"}.get(value or "", value)
        if value is not None and value != "whitespace" and len(value) != 1:
            raise ValueError(f"{value!r} is not one character; write one, tab, or whitespace")
        return value


class DataFile(Frozen):
    """One file or glob pattern, relative to --data, and the condition by which its rows are taken."""

    path: Annotated[str, Field(min_length=1)]
    where: str | None = None


class DataColumns(Frozen):
    """What the columns of the files are called there. A cost may also be a number, the same for every client.

    `cost_tp` is the cost of a client with label 1 who is contacted, `cost_fp` of one with 0 who is, `cost_fn` and
    `cost_tn` of those who are not; a gain is a negative cost. `treatment` is the arm of a randomised campaign.
    """

    client: str | None = None
    time: str | None = None
    order: str | None = None
    amount: str | None = None
    quantity: str | None = None
    price: str | None = None
    product: str | None = None
    product_name: str | None = None
    category: str | None = None
    label: str | None = None
    treatment: str | None = None
    cost_tp: str | float | None = None
    cost_fp: str | float | None = None
    cost_fn: str | float | None = None
    cost_tn: str | float | None = None

    @model_validator(mode="before")
    @classmethod
    def _other_words(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {(_COLUMN_WORDS.get(k, k) if _COLUMN_WORDS.get(k) not in data else k): v for k, v in data.items()}

    @property
    def costs(self) -> dict[str, str | float]:
        """The costs that are given, by name."""
        names = ("cost_tp", "cost_fp", "cost_fn", "cost_tn")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class ProductColumns(Frozen):
    """What the columns of a file of products are called."""

    product: str
    product_name: str | None = None
    category: str | None = None
    department: str | None = None
    brand: str | None = None


class DataProducts(Frozen):
    """A file that describes the products of the lines."""

    files: Annotated[tuple[DataFile, ...], Field(min_length=1, validation_alias=AliasChoices("files", "file"))]
    format: DataFormat | None = None
    columns: ProductColumns

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        return _with_short_lists(dict(data)) if isinstance(data, dict) else data


class Benefit(Frozen):
    """What expected maximum profit is computed with: Verbraken, Verbeke and Baesens (2013), the defaults theirs."""

    client_value: Annotated[float, Field(gt=0)] = 200.0
    offer_cost: Annotated[float, Field(ge=0)] = 10.0
    contact_cost: Annotated[float, Field(ge=0)] = 1.0
    accept_alpha: Annotated[float, Field(gt=0)] = 6.0
    accept_beta: Annotated[float, Field(gt=0)] = 14.0


class Outcome(Frozen):
    """A column that tells what a randomised campaign did: `visit: event` or `spend: amount`."""

    column: str
    kind: Literal["event", "amount"] = "event"


class DataSet(Frozen):
    """A data set to backtest on. `transactions`: a row is a purchase or a line of one. `labelled`: a row is a client.

    `filters` are conditions on the files' columns in SQL; all must hold. `time_unit` is what the numbers of the time
    column count (since 1970-01-01, or since `time_origin`); where it holds dates, the unit in which purchase models
    count. `horizons` are days, for all tasks or by task. A cut is the first day of a label; its features end on the day
    before it.
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]
    title: str | None = None
    source: str | None = None  # where the data are from, for the report
    kind: Literal["transactions", "labelled"]
    files: Annotated[
        tuple[DataFile, ...], Field(min_length=1, validation_alias=AliasChoices("files", "file", "file(s)"))
    ]
    format: DataFormat = DataFormat()
    columns: DataColumns
    products: DataProducts | None = None
    filters: tuple[str, ...] = ()
    drop_exact_duplicates: bool = False
    time_unit: TimeUnit | None = None
    time_origin: date | None = None
    zone: str = "UTC"  # the company's: stamps with an offset are read as its local time, others as they stand
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    grain: Literal["day"] = "day"
    horizons: dict[TaskName, tuple[Annotated[int, Field(ge=1, le=730)], ...]] = Field(default_factory=dict)
    cuts: tuple[date | int, ...] = ()  # numbers where the time column counts
    tasks: tuple[TaskName, ...] = ()
    windows: tuple[Annotated[int, Field(ge=1, le=730)], ...] = ()  # trailing windows of features; empty: config's
    # labelled only
    positive: str | float | bool | None = None  # the label's value that is the event; found when it is plain
    leave_out: Annotated[
        tuple[str, ...], Field(validation_alias=AliasChoices("leave_out", "drop", "exclude", "ignore"))
    ] = ()
    categorical: tuple[str, ...] = ()  # columns of numbers that are names
    missing: tuple[str, ...] = ()  # words that mean "not known", beside an empty field
    split: Literal["folds", "time"] = "folds"
    train_share: Annotated[float, Field(gt=0, lt=1)] = 0.7
    benefit: Benefit | None = None
    outcomes: tuple[Outcome, ...] = ()  # of a randomised campaign, beside `label`
    control: str | None = None  # the arm that got nothing
    seed: Annotated[int, Field(ge=0)] = 42

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        """One file for a list of one, a word for a format, a number for a list of horizons, and so on."""
        if not isinstance(data, dict):
            return data
        return _with_short_horizons(_with_short_format(_with_short_lists(dict(data))))

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"no time zone is called {value!r}; use a name such as Europe/London") from None
        return value

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> DataSet:
        wanted = ("client", "time") if self.kind == "transactions" else ()
        missing = [name for name in wanted if getattr(self.columns, name) is None]
        if missing:
            raise ValueError(f"columns has no {' and no '.join(missing)}; name the files' column for it")
        if self.kind == "labelled" and self.columns.label is None and not self.outcomes:
            raise ValueError("columns has no label; name the column that holds what happened")
        wrong = [t for t in self.tasks if t not in (TRANSACTION_TASKS if self.is_transactions else LABELLED_TASKS)]
        if wrong:
            known = ", ".join(TRANSACTION_TASKS if self.is_transactions else LABELLED_TASKS)
            raise ValueError(f"{wrong[0]} is no task of {self.kind} data; there are {known}")
        return self

    @property
    def is_transactions(self) -> bool:
        """Whether a row is a purchase or a line of one."""
        return self.kind == "transactions"

    @property
    def is_randomised(self) -> bool:
        """Whether the rows are clients of a campaign with arms."""
        return self.columns.treatment is not None

    @property
    def wanted_tasks(self) -> tuple[TaskName, ...]:
        """The tasks as given, or all that the data allow."""
        if self.tasks:
            return tuple(dict.fromkeys(self.tasks))
        if not self.is_transactions:
            return ("response",) if self.is_randomised else ("churn",)
        with_products = self.columns.product is not None
        return tuple(task for task in TRANSACTION_TASKS if with_products or task != "next_product")

    def horizons_of(self, task: TaskName) -> tuple[int, ...]:
        """The horizons of a task, in days."""
        return self.horizons.get(task, (DEFAULT_HORIZON,))


def read_dataset(path: Path) -> DataSet:
    """The data set of one YAML file. Raises ConfigError with one problem per mistake: file, line, field and fix."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(Problem(f"{path}:1", "this is no data set", "see config/backtests/ for examples"))
    return validate(document, DataSet)


def dataset_schema() -> dict[str, Any]:
    """The JSON Schema of a data set's YAML."""
    return DataSet.model_json_schema()


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _with_short_lists(data: dict[str, Any]) -> dict[str, Any]:
    for key in ("files", "file", "file(s)"):
        if key in data:
            items = _as_list(data[key])
            data[key] = [{"path": item} if isinstance(item, str) else item for item in items or ()]
    for key in ("filters", "cuts", "tasks", "windows", "leave_out", "drop", "exclude", "ignore", "missing", "outcomes"):
        if key in data:
            data[key] = _as_list(data[key]) or []
    if isinstance(data.get("tasks"), list):
        data["tasks"] = [_TASK_WORDS.get(task, task) if isinstance(task, str) else task for task in data["tasks"]]
    if isinstance(data.get("outcomes"), list):
        data["outcomes"] = [{"column": item} if isinstance(item, str) else item for item in data["outcomes"]]
    if isinstance(data.get("time_unit"), str):
        unit = data["time_unit"].lower()
        data["time_unit"] = _UNIT_WORDS.get(unit, unit.removesuffix("s"))
    return data


def _with_short_format(data: dict[str, Any]) -> dict[str, Any]:
    found = data.get("format")
    given = {"type": found} if isinstance(found, str) else found
    if not isinstance(given, dict | None):
        return data
    given = dict(given or {})
    for key in _FORMAT_KEYS:  # at the top, as many write them
        if key in data:
            given[key] = data.pop(key)
    if "sep" in given:
        given["delimiter"] = given.pop("sep")
    if isinstance(given.get("type"), str):
        kind = given["type"].lower().removesuffix(".gz")
        if kind == "tsv":
            given.setdefault("delimiter", "\t")
        given["type"] = _FORMAT_TYPES.get(kind, kind)
    return {**data, "format": given}


def _with_short_horizons(data: dict[str, Any]) -> dict[str, Any]:
    found = data.pop("horizon", None) if "horizons" not in data else data.get("horizons")
    if found is None:
        data.pop("horizons", None)
        return data
    if isinstance(found, dict):
        by_task = {_TASK_WORDS.get(str(task), task): _as_list(days) for task, days in found.items()}
    else:
        by_task = {task: _as_list(found) for task in TRANSACTION_TASKS}
    return {**data, "horizons": by_task}


def nearest_task(word: str) -> TaskName:
    """The task of a word on the command line. Raises ConfigError with the nearest names."""
    known: list[str] = [*dict.fromkeys((*TRANSACTION_TASKS, *LABELLED_TASKS))]
    found = _TASK_WORDS.get(word, word)
    if found not in known:
        near = difflib.get_close_matches(found, known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(Problem("--task", f"{word!r} is no task", fix))
    return found  # type: ignore[return-value]
