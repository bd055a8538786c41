"""What one segment is worth knowing before a card stands on it: size, reach, revenue, overlaps, changes, examples.

Reads `t_clients`, which `scan_clients` made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting.catalogue import ALIASES, LINES, nearest
from perennial.targeting.config import Targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.needs import MEMBERS
from perennial.targeting.reach import channel_sql, read_reach
from perennial.targeting.scan import SIZES, Known, Scan, bits, sizes
from perennial.targeting.session import Session
from perennial.targeting.terms import AS_OF

Told = dict[str, Any]
MARKETING = "marketing"
_OVERLAPS, _EXAMPLES, _NEARLY_ALL = 5, 10, 0.99


def worth(session: Session, test: str) -> Told:
    """Clients in the segment and in all, and its share of them and of the revenue of a year (refunds above it as 0)."""
    revenue = "sum(greatest(coalesce(cast(revenue_365d as double precision), 0), 0))"
    row = session.query(
        f"select count(*) as everyone, count(*) filter (where {test}) as clients, {revenue} as revenue, "
        f"{revenue} filter (where {test}) as own from t_clients"
    ).to_pylist()[0]
    return {
        "clients": row["clients"],
        "of": row["everyone"],
        "share": _share(row["clients"], row["everyone"]),
        "revenue_365d": round(row["own"] or 0.0, 2),
        "revenue_share": _share(row["own"] or 0.0, row["revenue"] or 0.0),
    }


def mailable(session: Session, policy: PolicyFile, facts: DayFacts, test: str) -> dict[str, int]:
    """How many may be written to for marketing, by channel: address, consent, its age, suppression, as a plan does."""
    for name, table in (("p_consents", facts.consents), ("p_young", facts.young), ("p_suppressed", facts.suppressed)):
        session.register(name, table)
    cards = [_asking(channel) for channel in sorted(policy.channels)]
    reach = read_reach(session, cards)
    columns = ", ".join(["t.*", *reach.columns()])
    people = f"(select {columns} from t_clients as t {' '.join(reach.joins())} where {test}) as t"
    open_to = ", ".join(
        f"count({channel_sql(policy, card, reach, kept=False)}) as n{place}" for place, card in enumerate(cards)
    )
    row = session.query(f"select {open_to} from {people}").to_pylist()[0]
    return {card.id: row[f"n{place}"] for place, card in enumerate(cards)}


def _asking(channel: str) -> Campaign:
    """A card that has nothing but the channel and the purpose: all that is asked of it here."""
    fields: dict[str, Any] = {"id": channel, "channels": (channel,), "purpose": MARKETING}
    return Campaign.model_construct(**fields)


def overlaps(session: Session, targeting: Targeting, segment: str, test: str) -> list[Told]:
    """The segments that share most with it: clients in both, and Jaccard's index |A and B| / |A or B|."""
    alone, both = sizes(session, targeting), sizes(session, targeting, among=test)
    told: list[Told] = [
        {
            "segment": other,
            "clients": alone[other],
            "in_both": shared,
            "jaccard": _share(shared, alone[segment] + alone[other] - shared),
        }
        for other, shared in both.items()
        if other != segment and shared
    ]
    return sorted(told, key=lambda one: (-one["jaccard"], one["segment"]))[:_OVERLAPS]


def change(session: Session, known: Known, segment: str, version: str, test: str) -> Told | None:
    """Who came and who left since the last day on which it was decided; None for a segment that never was."""
    last = known.watched.get(segment)
    if last is None or MEMBERS not in known.tables:
        return None
    who, joined = "y.client_id", ""
    if ALIASES in known.tables:
        who, joined = "coalesce(a.client_id, y.client_id)", f"left join {ALIASES} as a on a.client_ref = y.client_id"
    before = (
        f"select distinct {who} as client_id from {MEMBERS} as y {joined} "
        "where y.segment = $segment and y.as_of_date = cast($day as date)"
    )
    row = session.query(
        f"select count(*) filter (where b.client_id is null) as entered, "
        "count(*) filter (where t.client_id is null) as exited "
        f"from (select client_id from t_clients where {test}) as t "
        f"full outer join ({before}) as b on b.client_id = t.client_id",
        {"segment": segment, "day": last.day},
    ).to_pylist()[0]
    return {"since": last.day, "clients_before": last.clients, "is_new_rule": last.version != version, **row}


def drift(session: Session, known: Known, segment: str, days: int = 30) -> list[Told]:
    """The segment's size day by day, who came and left, and where its rule was a new one."""
    if SIZES not in known.tables:
        return []
    query = (
        f"select as_of_date, clients, entered, exited, is_new_rule, version from {SIZES} where segment = $segment "
        f"and as_of_date <= {AS_OF} and as_of_date > cast($since as date) order by as_of_date"
    )
    params = {"segment": segment, "as_of": known.as_of, "since": known.as_of - timedelta(days=days)}
    rows: list[Told] = session.query(query, params).to_pylist()
    return rows


def unknown(session: Session, targeting: Targeting, known: Known, segment: str) -> int:
    """Of how many clients the rule says neither yes nor no, because a value that it compares is not known."""
    scan, rule = Scan(targeting, known), targeting.segment_rules[segment]
    plan = scan.statement([("is_unknown", f"({scan.rule_sql(rule)}) is null")], [rule], columns=())
    found = session.query(f"select count(*) filter (where is_unknown) as n from ({plan.select}) as x", plan.params)
    return int(found.column("n")[0].as_py())


def some(session: Session, test: str) -> list[str]:
    """A few members, the same ones every time."""
    rows = session.query(f"select client_id from t_clients where {test} order by client_id limit {_EXAMPLES}")
    names: list[str] = rows.column("client_id").to_pylist()
    return names


def strange_categories(session: Session, targeting: Targeting, known: Known) -> list[str]:
    """A sentence for each category that a rule names and that nobody ever bought from."""
    named = {(n.value, s) for s, rule in targeting.segment_rules.items() for n in rule.needs if n.kind == "category"}
    if not named or LINES not in known.tables:
        return []
    lines = session.query(f"select distinct product_line from {LINES} order by 1").column("product_line").to_pylist()
    return [
        f"{segment}: nobody bought from {value!r}" + (f", {hint}" if (hint := nearest(value, lines)) else "")
        for value, segment in sorted(named)
        if value not in lines
    ]


def test_of(targeting: Targeting, segment: str) -> str:
    """The test of the segment's bit in `t_clients`."""
    word, bit = bits(targeting)[segment]
    return f"(m{word} & {1 << bit}) <> 0"


def newest_sizes(session: Session, known: Known, as_of: date) -> dict[str, Told]:
    """By segment what the newest day up to `as_of` says of it."""
    if SIZES not in known.tables:
        return {}
    newest = f"(select max(as_of_date) from {SIZES} where as_of_date <= {AS_OF})"
    query = (
        f"select segment, as_of_date, clients, entered, exited, is_new_rule from {SIZES} where as_of_date = {newest}"
    )
    return {row["segment"]: row for row in session.query(query, {"as_of": as_of}).to_pylist()}


def remarks(told: Sequence[Told]) -> list[str]:
    """What a person should know: segments of everyone, of nobody, and two that are nearly one."""
    found = []
    for one in told:
        if one["clients"] == 0:
            found.append(f"{one['segment']} selects nobody")
        elif one["clients"] == one["of"]:
            found.append(f"{one['segment']} selects everyone: it selects nothing")
        twins = [other["segment"] for other in one["overlaps"] if other["jaccard"] >= _NEARLY_ALL]
        found += [f"{one['segment']} and {other} are nearly the same clients" for other in twins]
    return found


def _share(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0
