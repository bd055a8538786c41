"""Consent as it is now: read again from the ledger just before a list is pushed (L9)."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from perennial.delivery.rows import CONSENT
from perennial.ledger.consents import consent_state
from perennial.ledger.tables import consent_events
from perennial.warehouse.reader import Published


class ConsentNow:
    """Keeps the relation `d_consent` of a published version as new as the ledger.

    Grants count when they were known on the list's date; withdrawals of a list that is pushed (`live`) count from the
    moment when the ledger has them. Events are only ever appended: as long as there are as many, nothing is read.
    """

    def __init__(self, engine: sa.Engine, published: Published, as_of: date, *, live: bool) -> None:
        self._engine = engine
        self._published = published
        self._as_of = as_of
        self._live = live
        self._seen = -1

    def refresh(self) -> None:
        """Read the ledger's consents, if there are new ones since the last time."""
        with self._engine.connect() as connection:
            events = connection.execute(sa.select(sa.func.count()).select_from(consent_events)).scalar_one()
        if events == self._seen:
            return
        state = consent_state(self._engine, self._as_of)
        if self._live and self._has_later_news():
            newest = consent_state(self._engine, date.max)
            state = pa.concat_tables([state, newest.filter(pc.equal(newest.column("status"), "withdrawn"))])
        # For now the client is the source's record; a later issue resolves several records to one client.
        names = ["client_id" if name == "client_ref" else name for name in state.column_names]
        self._published.register(CONSENT, state.rename_columns(names))
        self._seen = events

    def _has_later_news(self) -> bool:
        with self._engine.connect() as connection:
            newest = connection.execute(sa.select(sa.func.max(consent_events.c.known_on))).scalar()
        return newest is not None and newest > self._as_of
