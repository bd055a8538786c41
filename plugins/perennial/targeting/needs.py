"""What rules read beside the columns of a client: categories bought, the change of stage, what segments held before.

Each need is a left join of one row per client to the scan, made once however many rules have it. The values that a
person wrote are bound, and the columns are named by a hash of them, so nothing of them stands in the SQL (L23).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import ALIASES, LINES, STAGES, Tables
from perennial.targeting.session import Binder

MEMBERS, EPISODES = "client_segments", "client_segments_history"


@dataclass(frozen=True, order=True)
class Need:
    """What the scan joins for a rule.

    `category`: whether `value` was bought in the window of the column `of`; `stage`: the latest change of stage;
    `segment`: since when the client was in the segment `of` before today, and when she left it.
    """

    kind: str
    of: str = ""
    value: str = ""

    def column(self, part: str = "") -> str:
        """The quoted name of a column of the need."""
        digest = sha256(f"{self.kind}\0{self.of}\0{self.value}".encode()).hexdigest()[:16]
        return identifier(f"n__{digest}{'_' + part if part else ''}")


STAGE = Need("stage")


@dataclass(frozen=True)
class Watched:
    """A segment before today: the last day on which it was decided, the version of its rule, who was in it."""

    day: date
    version: str
    clients: int = 0


def joins(
    needs: Iterable[Need], tables: Tables, watched: Mapping[str, Watched], same: frozenset[str], binder: Binder
) -> tuple[list[str], list[str]]:
    """Terms of the select list and joins to `m` (client_metrics) that give the needs' columns.

    `same`: segments whose rule is today what it was on their last day. `$as_of` is the day.
    """
    found = sorted(set(needs))
    columns: list[str] = []
    joined: list[str] = []
    for kind, make in (("category", _categories), ("stage", _stages)):
        wanted = [need for need in found if need.kind == kind]
        if wanted:
            terms, source = make(wanted, binder)
            columns += terms
            joined.append(source)
    wanted = [need for need in found if need.kind == "segment"]
    if wanted:
        terms, sources = _segments(wanted, tables, watched, same, binder)
        columns += terms
        joined += sources
    return columns, joined


def _categories(needs: Sequence[Need], binder: Binder) -> tuple[list[str], str]:
    names = {value: binder.bind(value, "varchar") for value in sorted({need.value for need in needs})}
    held = ", ".join(
        f"bool_or(product_line = {names[need.value]} and {identifier(need.of)} > 0) as {need.column()}"
        for need in needs
    )
    source = (
        f"left join (select client_id, {held} from {LINES} where product_line in ({', '.join(names.values())}) "
        "group by client_id) as c on c.client_id = m.client_id"
    )
    return [f"coalesce(c.{need.column()}, false) as {need.column()}" for need in needs], source


def _stages(_needs: Sequence[Need], _binder: Binder) -> tuple[list[str], str]:
    parts = {"now": "stage", "before": "stage_before", "since": "changed_on"}
    columns = [f"e.{column} as {STAGE.column(part)}" for part, column in parts.items()]
    source = (
        f"left join (select client_id, stage, stage_before, changed_on from {STAGES} where left_on is null) as e "
        "on e.client_id = m.client_id"
    )
    return columns, source


def _segments(
    needs: Sequence[Need], tables: Tables, watched: Mapping[str, Watched], same: frozenset[str], binder: Binder
) -> tuple[list[str], list[str]]:
    columns, sources = [], []
    names = {need.of: binder.bind(need.of, "varchar") for need in needs}
    before = [need for need in needs if need.of in watched and MEMBERS in tables]
    if before:
        held = ", ".join(_held(need, names[need.of]) for need in before)
        days = {need.of: binder.bind(watched[need.of].day, "date") for need in before}
        rows = " or ".join(f"(segment = {names[need.of]} and as_of_date = {days[need.of]})" for need in before)
        sources.append(
            _by_client(f"client_id, segment, entered_at, entered_by from {MEMBERS} where {rows}", held, tables, "b")
        )
    after = [need for need in needs if EPISODES in tables]
    if after:
        held = ", ".join(f"max(left_at) filter (where segment = {names[n.of]}) as {n.column('left')}" for n in after)
        listed = ", ".join(names[need.of] for need in after)
        rows = f"as_of_date < cast($as_of as date) and left_by = 'client' and segment in ({listed})"
        sources.append(_by_client(f"client_id, segment, left_at from {EPISODES} where {rows}", held, tables, "l"))
    for need in needs:
        is_in, since = need.column("in"), need.column("since")
        columns.append(f"coalesce(b.{is_in}, false) as {is_in}" if need in before else f"false as {is_in}")
        columns.append(f"b.{since} as {since}" if need in before else f"cast(null as date) as {since}")
        left = need.column("left")
        columns.append(f"l.{left} as {left}" if need in after else f"cast(null as date) as {left}")
        is_watched = binder.bind(need.of in same and need.of in watched, "boolean")
        columns.append(f"{is_watched} as {need.column('watched')}")
    return columns, sources


def _held(need: Need, name: str) -> str:
    mine = f"segment = {name}"
    return (
        f"bool_or({mine}) as {need.column('in')}, "
        f"min(entered_at) filter (where {mine} and entered_by = 'client') as {need.column('since')}"
    )


def _by_client(rows: str, held: str, tables: Tables, alias: str) -> str:
    """One row per client of today: what was joined since then counts for who it is now."""
    source = f"(select {rows}) as r"
    who = "r.client_id"
    if ALIASES in tables:
        source += f" left join {ALIASES} as a on a.client_ref = r.client_id"
        who = "coalesce(a.client_id, r.client_id)"
    return (
        f"left join (select {who} as client_id, {held} from {source} group by {who}) as {alias} "
        f"on {alias}.client_id = m.client_id"
    )
