"""Why is this client in, or out? Metrics, scores, segments, consents, contacts and each campaign's outcome (L7)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from perennial.contracts.next_steps import NEXT_PRODUCTS_TABLE, NEXT_PURCHASES_TABLE
from perennial.contracts.records import DayRun
from perennial.core.errors import PermanentError, Problem
from perennial.core.settings import Settings
from perennial.ledger.consents import client_consents
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, published_version
from perennial.pipeline.models import why_no_scores
from perennial.pipeline.plan import day_facts
from perennial.pipeline.rekey import ALIASES_TABLE, aliases_of
from perennial.pipeline.watching import FEATURES
from perennial.targeting.catalogue import SCORES_TABLE
from perennial.targeting.config import load_targeting
from perennial.targeting.explain import explain_campaigns, explain_segments
from perennial.targeting.history import OUTCOMES_TABLE, read_history
from perennial.targeting.planning import first_day_of_contacts
from perennial.targeting.scan import known_of, published_catalogue, scan_clients
from perennial.warehouse.engine import Published, open_published

_OWN_COLUMNS = ("as_of_date", "campaign_id", "client_id")


def explain(settings: Settings, client: str, run: DayRun) -> dict[str, Any]:
    """All that decided about one client on the run's day; `client` is our id or the source's key.

    Gives JSON-able data without personal data: `client_id`, `client_key`, `as_of`, `run_id`, `metrics`, `scores` (with
    reasons), `no_score` (why one is not there), `segments`, `consents`, `contacts` (that caps and cool-downs count),
    `campaigns` (in or out, the rule, the terms of the audience). Raises PermanentError for a client that the day does
    not know, ContractViolation when the run has published nothing.
    """
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        aliases = aliases_of(published)
        who = identify(published, client)
        client_id = str(who["client_id"])
        tables = published.tables()
        targeting = load_targeting(settings, published_catalogue(published, tables))
        known = known_of(published, tables, run.as_of, targeting)
        scan_clients(published, targeting, known)
        told = {
            **who,
            "as_of": run.as_of,
            "run_id": run.run_id,
            "metrics": _metrics(published, client_id),
            "scores": _scores(published, client_id, run.as_of),
            "next_products": _next(published, NEXT_PRODUCTS_TABLE, "rank", client_id, run.as_of),
            "next_purchases": _next(published, NEXT_PURCHASES_TABLE, "days, category", client_id, run.as_of),
            "no_score": _no_score(settings, published, client_id, run.as_of),
            "segments": explain_segments(published, targeting, known, client_id),
            "consents": _consents(engine, client_id, run.as_of, aliases),
            "campaigns": explain_campaigns(
                published, targeting, known, client_id, _outcomes(published, client_id, run)
            ),
        }
        since = first_day_of_contacts(targeting, run.as_of)
        facts, _mixed = day_facts(settings, engine, run, targeting, aliases)
        read_history(published, known.tables, facts, since)
        told["contacts"] = _rows(
            published,
            "select campaign_id, channel, contacted_on from t_contacts where client_id = $id order by 3, 1, 2",
            {"id": client_id},
        )
    return {key: _plain(value) for key, value in told.items()}


def identify(published: Published, client: str) -> dict[str, Any]:
    """The one client that an id, the id of one of her records, or a source's key names: client_id, client_key, source.

    Raises PermanentError when there is none, or several.
    """
    columns = [name for name, _ in published.tables()["dim_clients"] if name in ("client_id", "client_key", "source")]
    own = "client_id = $client or client_key = $client"
    if ALIASES_TABLE in published.tables():
        own += f" or client_id in (select client_id from {ALIASES_TABLE} where $client in (client_ref, client_key))"
    found = _rows(published, f"select {', '.join(columns)} from dim_clients where {own} order by 1", {"client": client})
    if not found:
        raise PermanentError(
            Problem("client", f"no client has the id or key {client!r}", 'see `perennial sql "from dim_clients"`')
        )
    if len(found) > 1:
        ids = ", ".join(str(row["client_id"]) for row in found)
        raise PermanentError(Problem("client", f"{len(found)} clients have the key {client!r}", f"name one id: {ids}"))
    return found[0]


def _metrics(published: Published, client_id: str) -> dict[str, Any]:
    rows = _rows(published, "select * from client_metrics where client_id = $id", {"id": client_id})
    if not rows:
        raise PermanentError(Problem("client", f"{client_id} has no metrics on this day", "choose a later day"))
    return {name: value for name, value in rows[0].items() if name not in ("client_id", "as_of_date")}


def _scores(published: Published, client_id: str, as_of: date) -> list[dict[str, Any]]:
    if SCORES_TABLE not in published.tables():
        return []
    rows = _rows(
        published,
        "select score, value, low, high, model_version, reasons from client_scores "
        "where client_id = $id and as_of_date = cast($as_of as date) order by score",
        {"id": client_id, "as_of": as_of},
    )
    return [{**row, "reasons": json.loads(row["reasons"]) if row["reasons"] else []} for row in rows]


def _no_score(settings: Settings, published: Published, client_id: str, as_of: date) -> dict[str, str]:
    """For each score that has a model or was refused one, and that the client has not: why."""
    had = {row["score"] for row in _scores(published, client_id, as_of)}
    reasons = {score: why for score, why in why_no_scores(settings, as_of).items() if score not in had}
    if not reasons or FEATURES not in published.tables():
        return reasons
    query = f"select count(*) as n from {FEATURES} where client_id = $id and recency_days is not null"
    if _rows(published, query, {"id": client_id})[0]["n"]:
        return reasons
    nothing = f"no order that counts until {as_of}: there is no behaviour to read"
    return {score: why or nothing for score, why in reasons.items()}


def _outcomes(published: Published, client_id: str, run: DayRun) -> dict[str, dict[str, Any]] | None:
    if OUTCOMES_TABLE not in published.tables() or run.state not in ("planned", "done"):
        return None
    rows = _rows(
        published,
        f"select * from {OUTCOMES_TABLE} where client_id = $id and as_of_date = cast($as_of as date)",
        {"id": client_id, "as_of": run.as_of},
    )
    return {row["campaign_id"]: {k: v for k, v in row.items() if k not in _OWN_COLUMNS} for row in rows}


def _next(published: Published, table: str, order: str, client_id: str, as_of: date) -> list[dict[str, Any]]:
    """The client's rows of the day in a table of what comes next, without the keys."""
    if table not in published.tables():
        return []
    rows = _rows(
        published,
        f"select * from {table} where client_id = $id and as_of_date = cast($as_of as date) order by {order}",
        {"id": client_id, "as_of": as_of},
    )
    return [{name: value for name, value in row.items() if name not in _OWN_COLUMNS} for row in rows]


def _consents(engine: Any, client_id: str, as_of: date, aliases: Any) -> list[dict[str, Any]]:
    own = client_consents(engine, as_of, aliases, client_id=client_id)
    rows: list[dict[str, Any]] = own.select(["channel", "purpose", "status"]).to_pylist()
    return rows


def _rows(published: Published, sql: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = published.query(sql, params).to_pylist()
    return rows


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value
