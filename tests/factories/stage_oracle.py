"""Stages and history of clients looked up day by day, the slow and plain way: what the SQL is compared with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

HORIZON, PERCENT, LEAST = 28, 25, 2
FIFTHS = {"rfm_recency": "last_order_on", "rfm_frequency": "orders_365d", "rfm_monetary": "revenue_365d"}
WATCHED = ("lifecycle_stage", "concentration_class", *FIFTHS)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class ClientDay:
    """A row of int_client_days."""

    on: date
    orders: int
    revenue: Decimal
    voided_on: date | None = None

    def stands(self, day: date) -> bool:
        """Whether an order of the row counts on the day."""
        return self.orders > 0 and self.on <= day and (self.voided_on is None or self.voided_on > day)


def stage_of(rows: Sequence[ClientDay], day: date) -> str:
    """The stage on the day, as docs/warehouse.md says it."""
    standing = [row for row in rows if row.stands(day)]

    def orders(least_age: int, below_age: int) -> int:
        return sum(row.orders for row in standing if least_age <= (day - row.on).days < below_age)

    total, recent, before = sum(row.orders for row in standing), orders(0, 90), orders(90, 180)
    if not total or not orders(0, HORIZON):
        return "lead" if not total else "at_risk" if orders(0, 3 * HORIZON) else "lost"
    if orders(0, HORIZON) == total:
        return "new"
    days = sorted({row.on for row in standing})
    pairs = pairwise(days)
    if any((day - later).days < HORIZON and (later - earlier).days > 3 * HORIZON for earlier, later in pairs):
        return "won_back"
    if total == recent + before or not before:
        return "active"
    if recent - before >= LEAST and 100 * recent >= (100 + PERCENT) * before:
        return "growing"
    return "cooling" if before - recent >= LEAST and 100 * recent <= (100 - PERCENT) * before else "active"


def events_of(rows: Sequence[ClientDay], known_since: date, as_of: date) -> list[tuple[date, str | None, str]]:
    """(changed_on, stage_before, stage) of every change up to the date."""
    found: list[tuple[date, str | None, str]] = []
    day, last = known_since, None
    while day <= as_of:
        stage = stage_of(rows, day)
        if stage != last:
            found.append((day, last, stage))
        day, last = day + DAY, stage
    return found


def figures_of(rows: Sequence[ClientDay], events: Sequence[tuple[date, str | None, str]], day: date) -> dict[str, Any]:
    """What client_metrics_history says of the day but for class and fifths."""
    reached = [row for row in rows if row.on <= day]
    days = [row.on for row in rows if row.stands(day)]
    changed_on, _, stage = [event for event in events if event[0] <= day][-1]
    figures: dict[str, Any] = {"last_order_on": max(days, default=None), "lifecycle_stage": stage}
    for span, length in (("90d", 90), ("365d", 365), ("total", 10**6)):
        inside = [row for row in reached if (day - row.on).days < length]
        figures[f"orders_{span}"] = sum(row.orders for row in inside if row.stands(day))
        figures[f"revenue_{span}"] = sum((row.revenue for row in inside), Decimal(0))
    return {**figures, "stage_entered_on": changed_on, "known_since": events[0][0]}


def history_of(
    facts: Mapping[str, Sequence[ClientDay]], known: Mapping[str, date], as_of: date
) -> list[dict[str, Any]]:
    """Every row of client_metrics_history."""
    events = {client: events_of(facts.get(client, ()), since, as_of) for client, since in known.items()}
    day, ends, before, rows = min(known.values()).replace(day=1), {}, {}, []
    while day <= as_of:
        now = {c: figures_of(facts.get(c, ()), events[c], day) for c, since in known.items() if since <= day}
        is_end = (day + DAY).day == 1
        places = _ranked(now) if is_end else {c: _placed(ends, c, row) for c, row in now.items()}
        now = {client: {**row, **places[client]} for client, row in now.items()}
        for client, figures in now.items():
            watched = tuple(figures[name] for name in WATCHED)
            if is_end or before.get(client) != watched:
                kind = "month_end" if is_end else "change"
                rows.append({"client_id": client, "as_of_date": day, "row_kind": kind, **figures})
            before[client] = watched
        ends, day = now if is_end else ends, day + DAY
    return rows


def _buyers(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [client for client, row in figures.items() if row["orders_total"]]


def _ranked(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Class and fifths of a month end, from the whole order of the clients."""
    buyers = _buyers(figures)
    ranked: dict[str, dict[str, Any]] = {c: {**dict.fromkeys(FIFTHS), "concentration_class": "C"} for c in figures}
    for fifth, column in FIFTHS.items():
        values = sorted(figures[c][column] for c in buyers)
        for client in buyers:
            ranked[client][fifth] = 5 * bisect_left(values, figures[client][column]) // len(buyers) + 1
    larger = Decimal(0)
    whole = sum(max(figures[c]["revenue_total"], 0) for c in buyers)
    for client in sorted(buyers, key=lambda c: (-figures[c]["revenue_total"], c)):
        revenue = figures[client]["revenue_total"]
        if revenue > 0 and 100 * larger < 95 * whole:
            ranked[client]["concentration_class"] = "A" if 100 * larger < 80 * whole else "B"
        larger += max(revenue, Decimal(0))
    return ranked


def _placed(ends: Mapping[str, Mapping[str, Any]], client: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Class and fifths of a day between month ends, by the boundaries of the one before."""
    buyers = [ends[c] for c in _buyers(ends)]
    if not row["orders_total"]:
        return {**dict.fromkeys(FIFTHS), "concentration_class": "C"}
    if not buyers:
        return {**dict.fromkeys(FIFTHS), "concentration_class": None}
    placed: dict[str, Any] = {
        fifth: max([1, *(b[fifth] for b in buyers if b[column] <= row[column])]) for fifth, column in FIFTHS.items()
    }
    own = ends.get(client)
    if own and own["orders_total"] and own["revenue_total"] == row["revenue_total"]:
        return {**placed, "concentration_class": own["concentration_class"]}
    reached = _classes(b for b in buyers if b["revenue_total"] <= row["revenue_total"])
    named = [name for name in "AB" if name in reached and row["revenue_total"] > 0]
    return {**placed, "concentration_class": ("A" if "A" in named else "B") if named else "C"}


def _classes(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(row["concentration_class"]) for row in rows}
