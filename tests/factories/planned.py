"""Deciding a day in memory: clients and cards in, outcomes out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from factories.published import AS_OF, MemorySession, facts, granted, policy, scores, shop_tables, write_config
from perennial.targeting.catalogue import catalogue_of
from perennial.targeting.config import load_targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.planning import OUTCOMES, decide


@dataclass(frozen=True)
class Decided:
    """The outcomes of a day, its notes, and the session with the temporary tables."""

    rows: list[dict[str, Any]]
    notes: tuple[str, ...]
    session: MemorySession

    def of(self, campaign_id: str, key: str = "rule") -> dict[str, Any]:
        """One column of a campaign's outcomes by client."""
        return {row["client_id"]: row[key] for row in self.rows if row["campaign_id"] == campaign_id}

    def of_client(self, client_id: str, key: str = "rule") -> dict[str, Any]:
        """One column of a client's outcomes by campaign."""
        return {row["campaign_id"]: row[key] for row in self.rows if row["client_id"] == client_id}


def decide_day(
    clients: Sequence[Mapping[str, Any]],
    campaigns: Iterable[Mapping[str, Any]],
    *,
    as_of: date = AS_OF,
    ledger: DayFacts | None = None,
    rules: Mapping[str, str] | None = None,
    others: Sequence[Mapping[str, Any]] = (),
    extra: Mapping[str, pa.Table | None] | None = None,
    **policy_values: Any,
) -> Decided:
    """One day: by default everyone has granted everything, nobody was contacted, and all scores are there.

    `extra` adds published tables, or takes one away by None.
    """
    tables = {
        **shop_tables(clients, as_of=as_of, others=others),
        "client_scores": scores(clients, as_of),
        **(extra or {}),
    }
    session = MemorySession({name: table for name, table in tables.items() if table is not None})
    with tempfile.TemporaryDirectory() as folder:
        settings = write_config(Path(folder), campaigns=campaigns, segments=rules, policy=policy(**policy_values))
        targeting = load_targeting(settings, catalogue_of(session.tables()))
    ledger = ledger or facts(as_of=as_of, consents=granted(*(str(c["client_id"]) for c in clients)))
    notes = decide(session, targeting, session.tables(), ledger)
    return Decided(session.query(OUTCOMES).to_pylist(), notes, session)
