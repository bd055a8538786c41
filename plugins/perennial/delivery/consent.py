"""Consent as it is now: read again from the ledger just before a list is pushed (L9)."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from perennial.contracts.identity import MEMBERS
from perennial.delivery.rows import CONSENT
from perennial.ledger.consents import client_consents
from perennial.ledger.suppressions import suppressed
from perennial.ledger.tables import consent_events, suppressions
from perennial.warehouse.engine import Published


class ConsentNow:
    """Keeps the relation `d_consent` of a published version as new as the ledger; `aliases` (client_ref, client_id).

    Grants count when they were known on the list's date; withdrawals and suppressions of a list that is pushed (`live`)
    count from the moment when the ledger has them. Who is suppressed in a channel has a row of the status `suppressed`
    there. Events are only ever appended: as long as there are as many, nothing is read.
    """

    def __init__(
        self, engine: sa.Engine, published: Published, as_of: date, aliases: pa.Table | None = None, *, live: bool
    ) -> None:
        self._engine = engine
        self._published = published
        self._as_of = as_of
        self._aliases = MEMBERS.empty_table() if aliases is None else aliases
        self._live = live
        self._seen = (-1, -1)

    def refresh(self) -> None:
        """Read the ledger's consents and suppressions, if there are new ones since the last time."""
        news = self._news()
        if news == self._seen:
            return
        state = client_consents(self._engine, self._as_of, self._aliases)
        if self._live and self._has_later_news():
            newest = client_consents(self._engine, date.max, self._aliases)
            state = pa.concat_tables([state, newest.filter(pc.equal(newest.column("status"), "withdrawn"))])
        state = pa.concat_tables([state, self._suppressed(state.schema)])
        self._published.register(CONSENT, self._also_by_old_ids(state))
        self._seen = news

    def _news(self) -> tuple[int, int]:
        with self._engine.connect() as connection:
            events = connection.execute(sa.select(sa.func.count()).select_from(consent_events)).scalar_one()
            newest = connection.execute(sa.select(sa.func.max(suppressions.c.suppression_id))).scalar()
        return events, newest or 0

    def _suppressed(self, schema: pa.Schema) -> pa.Table:
        """A row for each client and channel, whatever the purpose; of joined records what one has counts for all."""
        found = suppressed(self._engine, date.max if self._live else self._as_of)
        ids = found.column("client_id")
        if self._aliases.num_rows:
            index = pc.index_in(ids, value_set=self._aliases.column("client_ref"))
            ids = pc.coalesce(self._aliases.column("client_id").take(index), ids)
        rows = found.num_rows
        columns = {
            "client_id": ids,
            "channel": found.column("channel"),
            "purpose": pa.array(["all"] * rows, pa.string()),
        }
        columns["status"] = pa.array(["suppressed"] * rows, pa.string())
        return pa.table(columns).select(schema.names).cast(schema)

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
