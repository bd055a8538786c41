"""The one typed Settings object: config/perennial.yml, then the environment over it.

Environment (all optional): `PERENNIAL_CONFIG` (the folder config/), `PERENNIAL_HOME` (state; default `.perennial/` of
the repository, or a folder in it for another config folder), `PERENNIAL_ASSIGNMENT_SALT`, `PERENNIAL_LEDGER_URL`,
`PERENNIAL_WAREHOUSE_URL` (PostgreSQL as the warehouse; without it the embedded one).
Nothing else of Perennial reads the environment, but for the operational clock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from perennial.core.errors import ConfigError, Problem
from perennial.core.ids import digest_of
from perennial.core.yamlfile import read_yaml, validate

REPOSITORY = Path(__file__).resolve().parents[3]


class Frozen(BaseModel):
    """A pydantic model that refuses unknown keys and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def known_zone(name: str) -> str:
    """The name itself. Raises ValueError when it names no time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"no time zone is called {name!r}; use a name such as Europe/London") from None
    return name


class Company(Frozen):
    """Who the marketing is for: name, business time zone (IANA), currency (ISO 4217), fiscal year and tax.

    `prices_include_tax`: whether amounts as delivered hold the tax of their line (`tax_amount`).
    `revenue_includes_tax`: whether what is counted does; as delivered when absent.
    """

    name: str
    zone: Annotated[str, AfterValidator(known_zone)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    currency_minor_digits: Annotated[int, Field(ge=0, le=4)] = 2
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None  # ISO 3166-1: of phones without a country code
    fiscal_year_starts: Annotated[int, Field(ge=1, le=12)] = 1  # its first month; a year is named by the one it ends in
    prices_include_tax: bool = True
    revenue_includes_tax: bool | None = None

    @property
    def counts_tax(self) -> bool:
        """Whether revenue is with tax."""
        return self.prices_include_tax if self.revenue_includes_tax is None else self.revenue_includes_tax


class Identity(Frozen):
    """Which client records are one client: the largest group, how many may share a value, further role addresses."""

    max_group: Annotated[int, Field(ge=2, le=100)] = 20
    max_shared: Annotated[int, Field(ge=2, le=100)] = 12
    role_words: tuple[Annotated[str, Field(pattern=r"^[a-z]+$")], ...] = ()


class Drift(Frozen):
    """Limits of the daily watch on what scores stand on: above `warn` people are told, above `stop` no score is given.

    `warn`, `stop`: population stability index of a feature or of the score itself, against the training day.
    `unseen_warn`, `unseen_stop`: share of clients with a value outside the range that training saw.
    """

    warn: Annotated[float, Field(gt=0)] = 0.25
    stop: Annotated[float, Field(gt=0)] = 2.0
    unseen_warn: Annotated[float, Field(ge=0, le=1)] = 0.05
    unseen_stop: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _warns_before_it_stops(self) -> Drift:
        if self.stop < self.warn or self.unseen_stop < self.unseen_warn:
            raise ValueError("a limit that stops is below the one that warns; raise stop, or lower warn")
        return self


class Scoring(Frozen):
    """Horizons and the training calendar of the scores, all in days; who promotes a model; what stops a score.

    `promotion`: by the rule (as good as the champion and better than simple rules), or by a person's approval.
    """

    churn_horizon_days: Annotated[int, Field(ge=1, le=730)] = 28
    value_horizon_days: Annotated[int, Field(ge=1, le=730)] = 90
    further_value_days: tuple[Annotated[int, Field(ge=1, le=730)], ...] = (182, 365)  # value over longer horizons
    budget_share: Annotated[float, Field(gt=0, le=1)] | None = None  # of value: what a client may cost in that time
    train_every_days: Annotated[int, Field(ge=1, le=365)] = 7
    training_cuts: Annotated[int, Field(ge=2, le=60)] = 6
    cut_step_days: Annotated[int, Field(ge=1, le=365)] = 14
    promotion: Literal["rule", "approval"] = "rule"
    stop_after_days: Annotated[int, Field(ge=1, le=3660)] = 180  # L6: no score from an older model
    drift: Drift = Drift()
    next_product_level: Literal["product", "category"] = "product"  # what the next product is: products, or categories
    seed: int = 20171001

    @property
    def all_value_days(self) -> tuple[int, ...]:
        """Every horizon of value, the main one first, each once."""
        return tuple(dict.fromkeys((self.value_horizon_days, *self.further_value_days)))


class Windows(Frozen):
    """Trailing windows in days: of people's metrics, and of the features that models see beside them."""

    metrics: tuple[Annotated[int, Field(ge=1)], ...] = (30, 90, 180, 365)
    features: tuple[Annotated[int, Field(ge=1)], ...] = (7, 14, 28, 56, 91)


class Warehouse(Frozen):
    """How long published versions stay, in days, and how long a statement of people may run, in seconds."""

    keep_days: Annotated[int, Field(ge=1, le=3660)] = 14
    statement_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120


Severity = Literal["info", "warning", "error"]


class AlertChannel(Frozen):
    """Whom to tell, and how: by a connection of Airflow's (SMTP, Slack webhook, or any URL); e-mail needs `to`."""

    kind: Literal["email", "slack", "webhook"]
    connection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
    to: tuple[str, ...] = ()
    min_severity: Severity = "warning"

    @model_validator(mode="after")
    def _mail_goes_to_someone(self) -> AlertChannel:
        if (self.kind == "email") != bool(self.to):
            raise ValueError("email needs to: a list of addresses; slack and webhook have none")
        return self


class SettingsFile(Frozen):
    """What config/perennial.yml holds."""

    version: Literal[1]
    company: Company
    windows: Windows = Windows()
    scoring: Scoring = Scoring()
    identity: Identity = Identity()
    assignment_salt: Annotated[str, Field(min_length=8)]
    keep_versions: Annotated[int, Field(ge=2)] = 6
    warehouse: Warehouse = Warehouse()
    alerts: tuple[AlertChannel, ...] = ()


class Settings(Frozen):
    """Everything a run needs to know beside its date: the file's settings and the places of state and config."""

    file: SettingsFile
    home: Path
    config_dir: Path
    dbt_project_dir: Path = REPOSITORY / "dbt_project"
    ledger_override: str | None = Field(default=None, repr=False)  # it may hold a password
    warehouse_url: str | None = Field(default=None, repr=False)  # of PostgreSQL; None: the embedded warehouse

    @property
    def company(self) -> Company:
        """The company's name, zone and currency."""
        return self.file.company

    @property
    def scoring(self) -> Scoring:
        """Horizons and the training calendar."""
        return self.file.scoring

    @property
    def windows(self) -> Windows:
        """Trailing windows in days."""
        return self.file.windows

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone."""
        return ZoneInfo(self.company.zone)

    @property
    def salt(self) -> str:
        """The salt of the hash that draws control groups (L8)."""
        return self.file.assignment_salt

    # Places of state, all below `home`.
    @property
    def landing(self) -> Path:
        """Where sources drop files: `landing/<source>/...`."""
        return self.home / "landing"

    @property
    def archive(self) -> Path:
        """Where landed files are kept once their batch is committed."""
        return self.home / "archive"

    @property
    def refused(self) -> Path:
        """Where files that cannot be read are set aside, each with a `.reason.txt` beside it."""
        return self.home / "refused"

    @property
    def raw(self) -> Path:
        """Parquet of committed batches: `raw/<entity>/<batch_id>.parquet`."""
        return self.home / "raw"

    @property
    def quarantine(self) -> Path:
        """Parquet of quarantined rows: `quarantine/<entity>/<batch_id>.parquet`."""
        return self.home / "quarantine"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger_override or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def warehouse_dir(self) -> Path:
        """The embedded warehouse: `build/`, `parts/`, `versions/` and the pointer `current`."""
        return self.home / "warehouse"

    @property
    def private_dir(self) -> Path:
        """Addresses of people, mode 700; only delivery opens it."""
        return self.home / "private"

    @property
    def models_dir(self) -> Path:
        """Artefacts of trained models, by content."""
        return self.home / "models"

    @property
    def outbox(self) -> Path:
        """Lists that were handed over as files: `outbox/<as_of>/<campaign>__<channel>/`."""
        return self.home / "outbox"

    @property
    def data_docs(self) -> Path:
        """great-expectations' project and its Data Docs."""
        return self.home / "gx"

    def config_digest(self) -> str:
        """A digest of every YAML file under the config folder: part of what a run is a function of (L2)."""
        parts: list[str] = []
        for path in config_files(self.config_dir):
            parts += [path.relative_to(self.config_dir).as_posix(), path.read_text(encoding="utf-8", errors="replace")]
        return digest_of([*parts, self.salt])


def config_files(config_dir: Path) -> list[Path]:
    """The YAML files that a run reads, in a fixed order (examples and backtests apart)."""
    tops = ("perennial", "sources", "policy", "destinations")
    files = [config_dir / f"{name}.yml" for name in tops]
    files += sorted((config_dir / "segments").glob("*.yml")) + sorted((config_dir / "campaigns").glob("*.yml"))
    return [path for path in files if path.exists()]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read config/perennial.yml and the environment. Raises ConfigError with file, line, field and fix."""
    env = os.environ if environ is None else environ
    config_dir = Path(env.get("PERENNIAL_CONFIG") or REPOSITORY / "config").resolve()
    home = Path(env.get("PERENNIAL_HOME") or _default_home(config_dir)).resolve()
    file = validate(read_yaml(config_dir / "perennial.yml"), SettingsFile)
    salt = env.get("PERENNIAL_ASSIGNMENT_SALT")
    if salt:
        file = SettingsFile.model_validate({**file.model_dump(), "assignment_salt": salt})
    return Settings(
        file=file,
        home=home,
        config_dir=config_dir,
        ledger_override=env.get("PERENNIAL_LEDGER_URL"),
        warehouse_url=_warehouse_url(env.get("PERENNIAL_WAREHOUSE_URL")),
    )


def _warehouse_url(text: str | None) -> str | None:
    if text and not text.startswith(("postgresql://", "postgres://")):
        message = "this is no address of a PostgreSQL database"  # which is not shown: it may hold a password
        fix = "give postgresql://user:password@host/database, or leave it out for the embedded warehouse"
        raise ConfigError(Problem("PERENNIAL_WAREHOUSE_URL", message, fix))
    return text or None


def _default_home(config_dir: Path) -> Path:
    """Another company's config has a home of its own, so that two companies never share a ledger."""
    state = REPOSITORY / ".perennial"
    return state if config_dir == REPOSITORY / "config" else state / "homes" / config_dir.name


def parse_date(text: str) -> date:
    """A date as YYYY-MM-DD. Raises ValueError otherwise."""
    return date.fromisoformat(text)
