"""Random shops and random rules, and what the rules mean, client by client, in plain Python: no SQL, no parser.

A rule is made as text and as a function at once; `None` is what is not known, as in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa

from perennial.contracts.targeting import Segment
from perennial.targeting.config import Targeting
from perennial.targeting.membership import TABLES, compare_memberships
from perennial.targeting.rules import compile_rule
from perennial.targeting.scan import Known, Scan, bits, known_of, published_catalogue, version_of_rules
from perennial.targeting.session import make_table

AS_OF = date(2024, 2, 29)
Row = dict[str, Any]
Meaning = Callable[["World", Row], Any]
_LINES = ("DAIRY", "MEAT", "O'DELI")
_STAGES = ("active", "at_risk", "lost", "won_back")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_NUMBERS = ("recency_days", "orders_365d", "revenue_365d", "gap_days_mean", "churn_risk", "loyalty")
_DATES = ("first_order_on", "signed_up_on")
_TEXTS = {"country": ("DE", "FR", ""), "main_department_365d": _LINES}


@dataclass
class World:
    """Clients with their facts, what segments held before, and who is in the segments evaluated so far."""

    clients: list[Row]
    before: list[Row] = field(default_factory=list)
    episodes: list[Row] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    watched: dict[str, bool] = field(default_factory=dict)
    members: dict[str, dict[str, bool]] = field(default_factory=dict)

    def now(self, client_id: str) -> str:
        """The client that the record belongs to today."""
        return self.aliases.get(client_id, client_id)

    def known(self, meaning: Meaning) -> list[float]:
        """The values of all clients that are known."""
        return [float(v) for v in (meaning(self, one) for one in self.clients) if v is not None]


def world(random: Random, clients: int = 14) -> World:
    """A shop of so many clients, with gaps in what is known."""
    made = World([_client(random, number) for number in range(clients)])
    ids = [one["client_id"] for one in made.clients]
    made.aliases = {f"x{number}": random.choice(ids) for number in range(3)}
    return made


def _maybe(random: Random, value: Any) -> Any:
    return None if random.random() < 0.15 else value


def _client(random: Random, number: int) -> Row:
    return {
        "client_id": f"c{number:02}",
        "recency_days": _maybe(random, random.randint(0, 5)),
        "orders_365d": random.randint(0, 3),
        "revenue_365d": _maybe(random, Decimal(random.randint(-300, 900)) / 100),
        "gap_days_mean": _maybe(random, random.choice([0.0, 0.1, 1.5, 2.25])),
        "churn_risk": _maybe(random, random.choice([0.1, 0.5, 0.9])),
        "loyalty": _maybe(random, random.choice([1.0, 2.0])),
        "main_department_365d": _maybe(random, random.choice(_LINES)),
        "country": _maybe(random, random.choice(("DE", "FR", ""))),
        "first_order_on": _maybe(random, _day(random)),
        "signed_up_on": _maybe(random, _day(random)),
        "is_in_crm": _maybe(random, random.random() < 0.5),
        "bought": {line: random.randint(0, 1) for line in _LINES if random.random() < 0.6},
        "stage": random.choice(_STAGES),
        "stage_before": _maybe(random, random.choice(_STAGES)),
        "stage_since": AS_OF - timedelta(days=random.randint(0, 9)),
        **{name: random.randint(1, 5) for name in ("rfm_recency", "rfm_frequency", "rfm_monetary")},
    }


def _day(random: Random) -> date:
    near = AS_OF - timedelta(days=random.randint(0, 12))
    return random.choice([near, date(random.randint(2016, 2023), 2, 28), date(2020, 2, 29), date(2021, 3, 1)])


# ---- rules: (text, meaning)


def rule(random: Random, segments: list[str], depth: int = 3) -> tuple[str, Meaning]:
    """A random condition, which may name these segments."""
    if depth and random.random() < 0.6:
        return _connected(random, segments, depth)
    makers = [_compared, _between, _texted, _listed, _empty, _set, _dated, _ranked, _first, _became, _fifths, _flag]
    if segments:
        makers += [_segment, _segment, _entered, _exited]
    return random.choice(makers)(random, segments)


def _connected(random: Random, segments: list[str], depth: int) -> tuple[str, Meaning]:
    one, first = rule(random, segments, depth - 1)
    other, second = rule(random, segments, depth - 1)
    kind = random.choice(["and", "or", "not"])
    if kind == "not":
        return f"not ({one})", lambda w, c: _not(first(w, c))
    connect = _and if kind == "and" else _or
    return f"({one} {kind} {other})", lambda w, c: connect(first(w, c), second(w, c))


def _not(value: Any) -> Any:
    return None if value is None else not value


def _and(a: Any, b: Any) -> Any:
    return False if a is False or b is False else None if a is None or b is None else True


def _or(a: Any, b: Any) -> Any:
    return True if a is True or b is True else None if a is None or b is None else False


def _number(random: Random, depth: int = 1) -> tuple[str, Meaning]:
    kind = random.randint(0, 5) if depth else 0
    if kind <= 2:
        name = random.choice(_NUMBERS)
        return name, lambda _w, c: c[name]
    (one, first), (other, second) = _number(random, depth - 1), _number(random, depth - 1)
    if kind == 3:
        return f"({one} / {other})", lambda w, c: _divided(first(w, c), second(w, c))
    if kind == 4:
        return f"coalesce({one}, 1)", lambda w, c: 1 if first(w, c) is None else first(w, c)
    return f"abs({one} - {other})", lambda w, c: _distance(first(w, c), second(w, c))


def _divided(a: Any, b: Any) -> float | None:
    return None if a is None or b is None or float(b) == 0 else float(a) / float(b)


def _distance(a: Any, b: Any) -> float | None:
    return None if a is None or b is None else abs(float(a) - float(b))


def _sign(a: Any, sign: str, b: Any) -> Any:
    return None if a is None or b is None else _SIGNS[sign](float(a), float(b))


def _compared(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    text, value = _number(random)
    sign, limit = random.choice(list(_SIGNS)), random.choice([0, 1, 2.25, 0.5, -1])
    return f"{text} {sign} {limit}", lambda w, c: _sign(value(w, c), sign, limit)


def _between(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    text, value = _number(random)
    low, high = random.choice([(0, 2), (1, 1), (3, 1), (-2, 5)])
    return f"{text} between {low} and {high}", lambda w, c: _and(
        _sign(value(w, c), ">=", low), _sign(value(w, c), "<=", high)
    )


def _texted(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    name = random.choice(list(_TEXTS))
    text, sign = random.choice(_TEXTS[name]), random.choice(["=", "<>"])
    quoted = text.replace("'", "''")
    return f"{name} {sign} '{quoted}'", lambda _w, c: None if c[name] is None else _SIGNS[sign](c[name], text)


def _listed(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    chosen = sorted({f"c{random.randint(0, 14):02}" for _ in range(3)})
    listed = ", ".join(f"'{one}'" for one in chosen)
    return f"client_id in ({listed})", lambda _w, c: c["client_id"] in chosen


def _empty(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    name = random.choice([*_NUMBERS, *_DATES, *_TEXTS])
    return random.choice(
        [
            (f"{name} is null", lambda _w, c: c[name] is None),
            (f"{name} is not null", lambda _w, c: c[name] is not None),
        ]
    )


def _flag(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    return random.choice(
        [
            ("is_in_crm", lambda _w, c: c["is_in_crm"]),
            ("is_in_crm is not true", lambda _w, c: c["is_in_crm"] is not True),
        ]
    )


def _set(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    line = random.choice([*_LINES, "FISH"])
    quoted, negated = line.replace("'", "''"), random.random() < 0.5
    return (
        f"'{quoted}' {'not ' if negated else ''}in categories_180d",
        lambda _w, c: (c["bought"].get(line, 0) > 0) != negated,
    )


def _dated(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    name, days = random.choice(_DATES), random.randint(0, 12)
    return random.choice(
        [
            (f"days_since({name}) = {days}", lambda _w, c: _sign(_since(c[name]), "=", days)),
            (f"days_until({name}) > -{days}", lambda _w, c: _sign(_since(c[name]), "<", days)),
            (f"days_to_anniversary({name}) <= {days}", lambda _w, c: _sign(_to_anniversary(c[name]), "<=", days)),
            (f"anniversary({name})", lambda _w, c: _sign(_to_anniversary(c[name]), "=", 0)),
            (f"{name} >= '2021-02-28'", lambda _w, c: None if c[name] is None else c[name] >= date(2021, 2, 28)),
        ]
    )


def _since(day: date | None) -> int | None:
    return None if day is None else (AS_OF - day).days


def _to_anniversary(day: date | None) -> int | None:
    if day is None:
        return None
    for year in range(day.year + 1, AS_OF.year + 3):
        try:
            found = day.replace(year=year)
        except ValueError:  # 29 February
            found = date(year, 2, 28)
        if found >= AS_OF:
            return (found - AS_OF).days
    raise AssertionError(day)


def _ranked(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    text, value = _number(random)

    def percentile(w: World, c: Row) -> float | None:
        own, all_values = value(w, c), w.known(value)
        return None if own is None else sum(one < float(own) for one in all_values) * 100.0 / len(all_values)

    if random.random() < 0.5:
        limit, sign = random.choice([0, 25, 50, 90]), random.choice([">=", "<"])
        return f"percentile({text}) {sign} {limit}", lambda w, c: _sign(percentile(w, c), sign, limit)
    fifth = random.randint(1, 5)

    def is_fifth(w: World, c: Row) -> Any:
        found = percentile(w, c)
        return None if found is None else int(found // 20) + 1 == fifth

    return f"quintile({text}) = {fifth}", is_fifth


def _first(random: Random, segments: list[str]) -> tuple[str, Meaning]:
    (text, value), count = _number(random), random.randint(1, 5)
    name, turn = random.choice([("top", -1.0), ("bottom", 1.0)])
    among, condition = rule(random, segments, 0) if random.random() < 0.4 else ("", None)
    while any(word in among for word in ("percentile", "quintile", "top", "bottom")):
        among, condition = rule(random, segments, 0)

    def is_first(w: World, c: Row) -> bool:
        eligible = [
            one for one in w.clients if value(w, one) is not None and (condition is None or condition(w, one) is True)
        ]
        eligible.sort(key=lambda one: (turn * float(value(w, one)), one["client_id"]))
        return c["client_id"] in [one["client_id"] for one in eligible[:count]]

    return f"{name}({count}, by => {text}{f', among => {among}' if among else ''})", is_first


def _became(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    stage, days, before = random.choice(_STAGES), random.randint(1, 9), random.choice([None, *_STAGES])
    text = f"became('{stage}', {days}{f', {before!r}' if before else ''})"

    def holds(_w: World, c: Row) -> Any:
        now = c["stage"] == stage and c["stage_since"] > AS_OF - timedelta(days=days)
        came = True if before is None else None if c["stage_before"] is None else c["stage_before"] == before
        return _and(now, came)

    return text, holds


def _fifths(random: Random, _segments: list[str]) -> tuple[str, Meaning]:
    r, f, m = (random.randint(1, 5) for _ in range(3))
    return (
        f"rfm_at_least({r}, {f}, {m})",
        lambda _w, c: c["rfm_recency"] >= r and c["rfm_frequency"] >= f and c["rfm_monetary"] >= m,
    )


def _segment(random: Random, segments: list[str]) -> tuple[str, Meaning]:
    name = random.choice(segments)
    return name, lambda w, c: w.members[name][c["client_id"]]


def _entered(random: Random, segments: list[str]) -> tuple[str, Meaning]:
    name, days = random.choice(segments), random.randint(1, 9)

    def holds(w: World, c: Row) -> bool:
        rows = [one for one in w.before if one["segment"] == name and w.now(one["client_id"]) == c["client_id"]]
        since = [one["entered_at"] for one in rows if one["entered_by"] == "client"]
        new = bool(since) and min(since) > AS_OF - timedelta(days=days) if rows else w.watched[name]
        return w.members[name][c["client_id"]] and new

    return f"entered({name}, {days})", holds


def _exited(random: Random, segments: list[str]) -> tuple[str, Meaning]:
    name, days = random.choice(segments), random.randint(1, 9)

    def holds(w: World, c: Row) -> bool:
        def mine(row: Row) -> bool:
            return row["segment"] == name and w.now(row["client_id"]) == c["client_id"]

        left = [one["left_at"] for one in w.episodes if mine(one) and one["left_by"] == "client"]
        recent = bool(left) and max(left) > AS_OF - timedelta(days=days)
        today = w.watched[name] and any(mine(one) for one in w.before)
        return not w.members[name][c["client_id"]] and (today or recent)

    return f"exited({name}, {days})", holds


# ---- a shop with rules, as tables and as the members that the rules mean


@dataclass(frozen=True)
class Made:
    """Published tables, the rules by segment, and who is in each by the plain evaluation."""

    tables: dict[str, pa.Table]
    rules: dict[str, str]
    members: dict[str, set[str]]


def make(seed: int, segments: int = 6) -> Made:
    """A shop with so many segments, some of which stand on others."""
    random = Random(seed)
    shop = world(random)
    written: dict[str, tuple[str, Meaning]] = {}
    for number in range(segments):
        written[f"seg_{number}"] = rule(random, list(written))
    rules = {name: text for name, (text, _) in written.items()}
    _past(random, shop, list(rules))
    tables = _tables(shop, _versions(shop, rules))
    for name, (_, meaning) in written.items():
        shop.members[name] = {one["client_id"]: meaning(shop, one) is True for one in shop.clients}
    members = {name: {who for who, is_in in found.items() if is_in} for name, found in shop.members.items()}
    return Made(tables, rules, members)


def _past(random: Random, shop: World, segments: list[str]) -> None:
    ids = [*(one["client_id"] for one in shop.clients), *shop.aliases]
    for name in segments:
        shop.watched[name] = random.random() < 0.7
        for who in random.sample(ids, 6):
            row = {"client_id": who, "segment": name, "entered_by": random.choice(["client", "rule"])}
            since = AS_OF - timedelta(days=random.randint(3, 9))
            shop.before.append({**row, "as_of_date": AS_OF - timedelta(days=2), "entered_at": since})
        for who in random.sample(ids, 3):
            left = AS_OF - timedelta(days=random.randint(1, 9))
            row = {
                "client_id": who,
                "segment": name,
                "entered_by": "client",
                "left_by": random.choice(["client", "rule"]),
            }
            shop.episodes.append({**row, "as_of_date": left, "left_at": left, "entered_at": left - timedelta(days=3)})


def _versions(shop: World, rules: Mapping[str, str]) -> dict[str, str]:
    catalogue = None
    segments = [Segment(id=name, description="", where=text) for name, text in rules.items()]
    compiled = {
        one.id: compile_rule(one.where, catalogue=catalogue, segments=list(rules), where=one.id) for one in segments
    }
    versions = version_of_rules(Targeting(tuple(segments), (), None, compiled, {}))  # type: ignore[arg-type]
    return {name: version if shop.watched[name] else "another" for name, version in versions.items()}


def _tables(shop: World, versions: Mapping[str, str]) -> dict[str, pa.Table]:
    day = pa.date32()
    metrics = pa.schema(
        [("client_id", pa.string()), ("as_of_date", day), ("recency_days", pa.int64()), ("orders_365d", pa.int64()),
         ("revenue_365d", pa.decimal128(18, 4)), ("gap_days_mean", pa.float64()), ("main_department_365d", pa.string()),
         ("first_order_on", day), ("signed_up_on", day), ("rfm_recency", pa.int64()), ("rfm_frequency", pa.int64()),
         ("rfm_monetary", pa.int64())]
    )  # fmt: skip
    attributes = pa.schema([("client_id", pa.string()), ("country", pa.string()), ("is_in_crm", pa.bool_())])
    scores = pa.schema(
        [("client_id", pa.string()), ("as_of_date", day), ("score", pa.string()), ("value", pa.float64())]
    )
    lines = pa.schema([("client_id", pa.string()), ("product_line", pa.string()), ("orders_180d", pa.int64())])
    stages = pa.schema(
        [("client_id", pa.string()), ("changed_on", day), ("stage_before", pa.string()), ("stage", pa.string()),
         ("left_on", day)]
    )  # fmt: skip
    members = pa.schema(
        [("as_of_date", day), ("client_id", pa.string()), ("segment", pa.string()), ("entered_at", day),
         ("entered_by", pa.string())]
    )  # fmt: skip
    episodes = pa.schema([*members, ("left_at", day), ("left_by", pa.string())])
    sizes = pa.schema(
        [("as_of_date", day), ("segment", pa.string()), ("version", pa.string()), ("clients", pa.int64()),
         ("entered", pa.int64()), ("exited", pa.int64()), ("is_new_rule", pa.bool_())]
    )  # fmt: skip
    aliases = pa.schema([("client_ref", pa.string()), ("client_id", pa.string())])
    last = AS_OF - timedelta(days=2)
    given: dict[str, tuple[list[Row], pa.Schema]] = {
        "client_metrics": ([{**one, "as_of_date": AS_OF} for one in shop.clients], metrics),
        "dim_clients": (shop.clients, attributes),
        "client_scores": (
            [
                {"client_id": one["client_id"], "as_of_date": AS_OF, "score": name, "value": one[name]}
                for one in shop.clients
                for name in ("churn_risk", "loyalty")
                if one[name] is not None
            ],
            scores,
        ),
        "client_product_matrix": (
            [
                {"client_id": one["client_id"], "product_line": line, "orders_180d": orders}
                for one in shop.clients
                for line, orders in one["bought"].items()
            ],
            lines,
        ),
        "client_lifecycle_events": ([row for one in shop.clients for row in _stages(one)], stages),
        "client_segments": (shop.before, members),
        "client_segments_history": (shop.episodes, episodes),
        "segment_sizes": (
            [
                {"as_of_date": last, "segment": name, "version": version, "clients": 1, "entered": 0, "exited": 0}
                for name, version in versions.items()
            ],
            sizes,
        ),
        "client_aliases": ([{"client_ref": a, "client_id": b} for a, b in shop.aliases.items()], aliases),
    }
    return {
        name: pa.Table.from_pylist(
            [{column: row.get(column) for column in schema.names} for row in rows], schema=schema
        )
        for name, (rows, schema) in given.items()
    }


def _stages(one: Row) -> list[Row]:
    since = one["stage_since"]
    first = {"client_id": one["client_id"], "changed_on": since - timedelta(days=30), "stage": one["stage_before"]}
    now = {
        "client_id": one["client_id"],
        "changed_on": since,
        "stage": one["stage"],
        "stage_before": one["stage_before"],
    }
    return [{**first, "left_on": since}, now] if one["stage_before"] else [now]


def compared(session: Any, rules: Mapping[str, str]) -> dict[str, list[Row]]:
    """The day's tables of membership, in order."""
    targeting, known = _targeting(session, rules)
    plan = Scan(targeting, known).statement([], [], columns=())
    make_table(session, "t_clients", plan.select, plan.params)
    compare_memberships(session, targeting, known)
    return {name: session.query(query).cast(schema).to_pylist() for name, schema, query in TABLES}


def _targeting(session: Any, rules: Mapping[str, str]) -> tuple[Targeting, Known]:
    tables = session.tables()
    catalogue = published_catalogue(session, tables)
    segments = [Segment(id=name, description="", where=text) for name, text in rules.items()]
    compiled = {
        one.id: compile_rule(one.where, catalogue=catalogue, segments=list(rules), where=one.id, prefix=f"s{number}")
        for number, one in enumerate(segments)
    }
    targeting = Targeting(tuple(segments), (), None, compiled, {})  # type: ignore[arg-type]
    return targeting, known_of(session, tables, AS_OF, targeting)


def scanned(session: Any, rules: Mapping[str, str]) -> dict[str, set[str]]:
    """Who is in each segment by the product's one scan on the session's tables."""
    targeting, known = _targeting(session, rules)
    plan = Scan(targeting, known).statement([], [], columns=())
    rows = session.query(plan.select, plan.params).to_pylist()
    return {
        name: {row["client_id"] for row in rows if row[f"m{word}"] >> bit & 1}
        for name, (word, bit) in bits(targeting).items()
    }
