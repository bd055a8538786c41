"""Who must not be addressed, whatever she consented to: append-only, with the date on which we learned of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import Literal

import pyarrow as pa
import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.contact_history import read_arrow
from perennial.ledger.tables import suppressions

_AT_ONCE = 10_000
SUPPRESSED = pa.schema([("client_id", pa.string()), ("channel", pa.string())])


def record(
    engine: sa.Engine,
    pairs: Iterable[tuple[str, str]],
    *,
    action: Literal["suppress", "lift"],
    reason: str,
    known_on: date,
    source: str,
) -> int:
    """Suppress, or lift, client records (client_ref) in a channel or in `all`; gives how many entries were made."""
    with engine.begin() as connection:
        return add(connection, pairs, action=action, reason=reason, known_on=known_on, source=source)


def add(
    connection: sa.Connection,
    pairs: Iterable[tuple[str, str]],
    *,
    action: Literal["suppress", "lift"],
    reason: str,
    known_on: date,
    source: str,
) -> int:
    """`record` within the caller's transaction."""
    shared = {"action": action, "reason": reason, "known_on": known_on, "source": source}
    moment = clock.now().replace(tzinfo=None)
    rows = [{"client_ref": ref, "channel": channel, "recorded_at": moment, **shared} for ref, channel in pairs]
    if rows:
        connection.execute(sa.insert(suppressions), rows)
    return len(rows)


def suppressed(engine: sa.Engine, as_of: date) -> pa.Table:
    """Who is suppressed by what was known on the date: client_id (the record's), channel or `all`."""
    s = suppressions.c
    last = (
        sa.select(sa.func.max(s.suppression_id)).where(s.known_on <= as_of).group_by(s.client_ref, s.channel).subquery()
    )
    query = sa.select(s.client_ref, s.channel).where(s.suppression_id.in_(sa.select(last)), s.action == "suppress")
    return read_arrow(engine, query.order_by(s.client_ref, s.channel), SUPPRESSED)


def suppressed_among(engine: sa.Engine, refs: Collection[str], channel: str) -> list[str]:
    """Which of these records must not be addressed in the channel, by all that is known at this moment."""
    s, found, wanted = suppressions.c, set[str](), sorted(refs)
    with engine.connect().execution_options(reading=True) as connection:
        for start in range(0, len(wanted), _AT_ONCE):
            mine = sa.and_(s.client_ref.in_(wanted[start : start + _AT_ONCE]), s.channel.in_([channel, "all"]))
            last = sa.select(sa.func.max(s.suppression_id)).where(mine).group_by(s.client_ref, s.channel)
            query = sa.select(s.client_ref).where(s.suppression_id.in_(last), s.action == "suppress")
            found.update(connection.execute(query).scalars())
    return sorted(found)


def active(engine: sa.Engine, reason: str) -> set[tuple[str, str]]:
    """Who is suppressed for this reason (client_ref, channel), by the newest word about her in the channel."""
    s = suppressions.c
    last = sa.select(sa.func.max(s.suppression_id)).group_by(s.client_ref, s.channel)
    query = sa.select(s.client_ref, s.channel).where(
        s.suppression_id.in_(last), s.action == "suppress", s.reason == reason
    )
    with engine.connect() as connection:
        return {(row.client_ref, row.channel) for row in connection.execute(query)}
