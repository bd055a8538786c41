"""Consent as it is now: read again from the ledger just before a list is pushed (L9)."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from perennial.contracts.identity import MEMBERS
from perennial.delivery.rows import CONSENT
from perennial.ledger.consents import client_consents
from perennial.ledger.tables import consent_events
from perennial.warehouse.engine import Published


class ConsentNow:
    """Keeps the relation `d_consent` of a published version as new as the ledger; `aliases` (client_ref, client_id).

    Grants count when they were known on the list's date; withdrawals of a list that is pushed (`live`) count from the
    moment when the ledger has them. Events are only ever appended: as long as there are as many, nothing is read.
    """

    def __init__(
        self, engine: sa.Engine, published: Published, as_of: date, aliases: pa.Table | None = None, *, live: bool
    ) -> None:
        self._engine = engine
        self._published = published
        self._as_of = as_of
        self._aliases = MEMBERS.empty_table() if aliases is None else aliases
        self._live = live
        self._seen = -1

    def refresh(self) -> None:
        """Read the ledger's consents, if there are new ones since the last time."""
        with self._engine.connect() as connection:
            events = connection.execute(sa.select(sa.func.count()).select_from(consent_events)).scalar_one()
        if events == self._seen:
            return
        state = client_consents(self._engine, self._as_of, self._aliases)
        if self._live and self._has_later_news():
            newest = client_consents(self._engine, date.max, self._aliases)
            state = pa.concat_tables([state, newest.filter(pc.equal(newest.column("status"), "withdrawn"))])
        self._published.register(CONSENT, self._also_by_old_ids(state))
        self._seen = events

    def _also_by_old_ids(self, state: pa.Table) -> pa.Table:
        """An audience list may still hold a client under an id from before a merge: the same word counts for it."""
        if not self._aliases.num_rows:
            return state
        joined = state.join(self._aliases, keys="client_id", join_type="inner")
        old = joined.drop_columns("client_id").rename_columns({"client_ref": "client_id"})
        return pa.concat_tables([state, old.select(state.column_names)])

    def _has_later_news(self) -> bool:
        with self._engine.connect() as connection:
            newest = connection.execute(sa.select(sa.func.max(consent_events.c.known_on))).scalar()
        return newest is not None and newest > self._as_of
