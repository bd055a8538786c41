"""What a day's plan stands on beside the published tables: the ledger's word, as Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

CONTACTS = pa.schema(
    [("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string()), ("contacted_on", pa.date32())]
)
KEPT = pa.schema(
    [("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string()), ("arm", pa.string())]
)
MEMBERS = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string())])
ARMS = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("arm", pa.string())])
CONSENTS = pa.schema(
    [("client_id", pa.string()), ("channel", pa.string()), ("purpose", pa.string()), ("status", pa.string())]
)


@dataclass(frozen=True)
class DayFacts:
    """The day, the salt of the hash, and what the ledger knows, by today's client ids.

    `consents`: the state on the day. `contacts`: accepted before it. `kept`: accepted (target), or held back (control),
    on it by an earlier revision of the day. `members`: who is on an `audience` list now. `arms`: drawn until the day.
    """

    as_of: date
    salt: str
    consents: pa.Table
    contacts: pa.Table
    kept: pa.Table
    members: pa.Table
    arms: pa.Table
