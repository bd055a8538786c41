"""Records that cross rooms: small, frozen, JSON-able by `dataclasses.asdict`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

BatchState = Literal["committed", "refused"]
AlertKind = Literal["stop", "quarantine", "silence", "fetch", "drift"]
RunState = Literal["open", "built", "published", "scored", "planned", "done"]
RUN_STATES: tuple[RunState, ...] = ("open", "built", "published", "scored", "planned", "done")


@dataclass(frozen=True)
class RuleResult:
    """What the gate said of one rule of one batch. `bad` of `rows` rows; shares above `warn` or `stop` were limits."""

    rule: str
    rows: int
    bad: int
    warn: float | None
    stop: float | None
    verdict: Literal["passed", "warned", "stopped"]


@dataclass(frozen=True)
class BatchReport:
    """The fate of one batch: landed = loaded + quarantined + duplicate (L1), in rows."""

    batch_id: str
    source: str
    entity: str
    as_of: date | None
    state: BatchState
    files: tuple[str, ...]
    landed: int = 0
    loaded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    guests: int = 0
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    replays_batch_id: str | None = None  # of rows that were in quarantine: the batch that had set them aside


@dataclass(frozen=True)
class DayRun:
    """A day that is being computed: the business date, and the exact set of batches it is a function of (L2)."""

    run_id: str
    as_of: date
    revision: int
    state: RunState
    batch_ids: tuple[str, ...]
    config_digest: str
    is_latest: bool  # False: a past day; nothing of it is pushed
    decision_id: int | None = None  # the last identity decision that it knows of


@dataclass(frozen=True)
class StepReport:
    """What a step of the day did: rows by table (our own count), seconds and notes for people."""

    run_id: str
    as_of: date
    step: str
    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListReport:
    """One list of one campaign and channel: sent + rejected + skipped + pending = size (L15)."""

    list_id: str
    campaign_id: str
    channel: str
    as_of: date
    size: int
    sent: int
    rejected: int
    skipped: int
    pending: int
    path: str | None
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """What someone must be told, once: a trouble, and later that it is over (`ended`).

    `alert_id` is `<kind>:<subject>`; `message` says what happened and what to do, without personal data (L22); `link`
    is a path of this installation's pages, such as `/perennial/quarantine?batch=...`.
    """

    alert_id: str
    kind: AlertKind
    subject: str
    message: str
    link: str
    ended: bool = False
