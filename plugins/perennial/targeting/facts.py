"""What a day's plan stands on beside the published tables: the ledger's word, as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

CONTACTS = pa.schema(
    [("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string()), ("contacted_on", pa.date32())]
)
TAKEN = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("contacted_on", pa.date32())])
KEPT = pa.schema(
    [("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string()), ("arm", pa.string())]
)
MEMBERS = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string())])
ARMS = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("arm", pa.string())])
CONSENTS = pa.schema(
    [("client_id", pa.string()), ("channel", pa.string()), ("purpose", pa.string()), ("status", pa.string())]
)
SUPPRESSED = pa.schema([("client_id", pa.string()), ("channel", pa.string())])
YOUNG = pa.schema([("client_id", pa.string()), ("channel", pa.string()), ("purpose", pa.string())])
HELD = pa.schema([("client_id", pa.string()), ("arm", pa.string())])


@dataclass(frozen=True)
class Effect:
    """What was measured of a campaign, known since a day: an interval of the margin per client against control."""

    known_on: date
    low: float
    high: float


@dataclass(frozen=True)
class DayFacts:
    """The day, the salt of the hash, and what the ledger knows, by today's client ids.

    `consents`: the state on the day. `contacts`: accepted before it; `taken`: of series, since they began. `kept`:
    accepted (target), or held back (control), on it by an earlier revision of the day. `members`: who is on an
    `audience` list now. `arms`: drawn until the day. `suppressed`: barred from a channel, or `all`. `young`: grants
    that are younger than the policy asks. `held`: drawn for the global hold-out (held or open). `spent`: contacts of
    the term so far by (campaign, channel). `effects`: what was measured by campaign. `begun`: the first day of a
    campaign's arms. `zone`: the company's.
    """

    as_of: date
    salt: str
    consents: pa.Table
    contacts: pa.Table
    kept: pa.Table
    members: pa.Table
    arms: pa.Table
    suppressed: pa.Table = field(default_factory=SUPPRESSED.empty_table)
    young: pa.Table = field(default_factory=YOUNG.empty_table)
    held: pa.Table = field(default_factory=HELD.empty_table)
    spent: Mapping[tuple[str, str], int] = field(default_factory=dict)
    effects: Mapping[str, tuple[Effect, ...]] = field(default_factory=dict)
    begun: Mapping[str, date] = field(default_factory=dict)
    zone: str = "UTC"
    taken: pa.Table = field(default_factory=TAKEN.empty_table)
