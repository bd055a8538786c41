"""The contact policy (G15) and the planning of a day at size, each case in a process of its own.

    python tests/bench/bench_plan.py policy [CLIENTS] [ROUNDS]  # 50 campaigns: ours, join + window, pandas
    python tests/bench/bench_plan.py day [CLIENTS] [CAMPAIGNS]  # 20 campaigns: CPU by step, memory, gap to the bound
    python tests/bench/bench_plan.py gap [SEEDS]                # small pools: the fast method against the optimum

CPU is the process's own (user and system); reading the tables is not in it.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "plugins")]

from bench.measuring import (  # noqa: E402 - the path comes first
    PYTHON,
    cost_of,
    environment,
    median,
    say,
    say_machine,
    say_table,
)
from factories.published import AS_OF, SALT, card, write_config  # noqa: E402
from perennial.targeting.facts import ARMS, CONSENTS, CONTACTS, KEPT, MEMBERS, DayFacts  # noqa: E402

CHANNELS = ("email", "email", "email", "sms", "call")
CAPS = [
    {"contacts": 1, "days": 2},
    {"contacts": 3, "days": 7},
    {"contacts": 8, "days": 30},
    {"contacts": 2, "days": 7, "channel": "email"},
    {"contacts": 2, "days": 30, "channel": "sms"},
    {"contacts": 3, "days": 7, "channel": "call"},
]
COSTS = {"email": 0.01, "sms": 0.05, "call": 2.0}
_TABLES = {
    "client_metrics": """
select 'c' || lpad(cast(i as varchar), 15, '0') as client_id, date '2017-10-01' as as_of_date,
    date '2015-01-01' + cast(hash(i, 1) % 900 as integer) as signed_up_on,
    date '2015-02-01' + cast(hash(i, 2) % 900 as integer) as first_order_on,
    cast(hash(i, 3) % 400 as bigint) as recency_days, cast(hash(i, 4) % 12 as bigint) as orders_90d,
    cast(hash(i, 5) % 100000 / 100.0 as decimal(18, 4)) as revenue_90d,
    cast(hash(i, 6) % 300000 / 100.0 as decimal(18, 4)) as revenue_365d,
    'D' || cast(hash(i, 7) % 20 as varchar) as main_department_365d,
    ['new', 'active', 'cooling', 'lost'][cast(hash(i, 8) % 4 as integer) + 1] as lifecycle_stage
from range($n) as t(i)""",
    "dim_clients": """
select 'c' || lpad(cast(i as varchar), 15, '0') as client_id, 'k' || cast(i as varchar) as client_key, 'crm' as source,
    ['DE', 'FR', 'US'][cast(hash(i, 9) % 3 as integer) + 1] as country, '0' as kids_count, true as is_in_crm,
    hash(i, 10) % 10 < 9 as has_email, hash(i, 11) % 10 < 7 as has_phone
from range($n) as t(i)""",
    "client_scores": """
select 'c' || lpad(cast(i as varchar), 15, '0') as client_id, date '2017-10-01' as as_of_date, s.score,
    case s.score when 'churn_risk' then hash(i, 12) % 100000 / 100000.0 else hash(i, 13) % 100000 / 100.0 end as value,
    cast(null as double) as low, cast(null as double) as high, 'm1' as model_version, cast(null as varchar) as reasons
from range($n) as t(i) cross join (values ('churn_risk'), ('value_90d')) as s(score)""",
    "consents": """
select 'c' || lpad(cast(i as varchar), 15, '0') as client_id, c.channel, 'marketing' as purpose,
    case when hash(i, c.place, 14) % 50 = 0 then 'withdrawn' else 'granted' end as status
from range($n) as t(i) cross join (values ('email', 1), ('sms', 2), ('call', 3)) as c(channel, place)
where hash(i, c.place, 15) % 10 < 7 - 2 * (c.place - 1)""",
    "contacts": """
select 'k' || cast(hash(i, 24) % 50 as varchar) as campaign_id,
    'c' || lpad(cast(hash(i, 21) % $n as varchar), 15, '0') as client_id,
    ['email', 'email', 'email', 'sms', 'call'][cast(hash(i, 23) % 5 as integer) + 1] as channel,
    date '2017-10-01' - cast(1 + hash(i, 22) % 29 as integer) as contacted_on
from range($n * 3) as t(i)""",
}


def make_data(folder: Path, clients: int) -> None:
    """Parquet files of a shop with so many clients, three contacts of each in 30 days."""
    with duckdb.connect() as connection:
        for name, sql in _TABLES.items():
            select = sql.replace("$n", str(clients))
            connection.execute(f"copy ({select} order by all) to '{folder / name}.parquet' (format parquet)")


def rules(count: int, seed: int = 11) -> list[str]:
    """Audiences of two to four terms, as a marketer writes them."""
    chance = np.random.default_rng(seed)
    terms: list[Callable[[], str]] = [
        lambda: f"recency_days <= {chance.choice([14, 30, 60, 90, 180])}",
        lambda: f"recency_days > {chance.choice([30, 60, 90, 180])}",
        lambda: f"orders_90d >= {chance.choice([2, 3, 5, 8])}",
        lambda: f"revenue_365d >= {chance.choice([100, 500, 1500])}",
        lambda: f"revenue_90d > {chance.choice([50, 250])}",
        lambda: f"churn_risk >= {chance.choice([0.3, 0.5, 0.7])}",
        lambda: f"value_90d >= {chance.choice([100, 300, 500])}",
        lambda: f"lifecycle_stage in ('active', '{chance.choice(['new', 'cooling', 'lost'])}')",
    ]
    picks = (chance.choice(len(terms), chance.integers(2, 5), replace=False) for _ in range(count))
    return [" and ".join(terms[place]() for place in pick) for pick in picks]


def cards(count: int, *, limited: bool) -> list[dict[str, Any]]:
    """Campaign cards over those audiences; with `limited` most have a day's limit or budget, and some a cool-down."""
    found = []
    for place, rule in enumerate(rules(count)):
        values: dict[str, Any] = {"audience": rule, "channels": [CHANNELS[place % 5]], "priority": 1 + place % 100}
        effect = 0.02 + 0.004 * (place % 10)
        worth = {"basis": "value_90d", "prior_effect": effect, "prior_source": "assumed", "margin_share": 0.3}
        if limited:
            values |= {"control_share": 0.1, "cool_down_days": 7 * (place % 3)}
            values |= {"max_contacts_per_day": 20_000} if place % 3 == 0 else {}
            values |= {"budget": {"money_per_day": 1000.0}} if place % 4 == 1 else {}
            values |= {"offer": {"text": "x", "cost": 2.0}} if place % 2 else {}
        found.append(card(f"k{place}", expected_value=worth, **values))
    return found


class Session:
    """The `Session` of targeting over the data's files, in memory."""

    def __init__(self, folder: Path) -> None:
        self.connection = duckdb.connect(config={"threads": 2})
        for name in ("client_metrics", "dim_clients", "client_scores"):
            self.connection.execute(f"create table {name} as from '{folder / name}.parquet'")
        self.connection.execute("create table client_product_matrix (client_id varchar, product_line varchar)")

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """Name and SQL type of each table's columns."""
        names = ("client_metrics", "dim_clients", "client_scores", "client_product_matrix")
        described = {name: self.connection.execute(f"describe {name}").fetchall() for name in names}
        return {name: [(row[0], row[1]) for row in found] for name, found in described.items()}

    def query(self, sql: str, params: Any = ()) -> pa.Table:
        """The result."""
        return self.connection.sql(sql, params=dict(params) if params else None).to_arrow_table()

    def execute(self, sql: str, params: Any = ()) -> None:
        """Run a statement."""
        self.connection.execute(sql, dict(params) if params else None)

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable."""
        self.connection.register(name, table)


def facts(folder: Path) -> DayFacts:
    """The ledger's word from the data's files."""
    with duckdb.connect() as connection:
        consents = connection.sql(f"from '{folder}/consents.parquet'").to_arrow_table().cast(CONSENTS)
        contacts = connection.sql(f"from '{folder}/contacts.parquet'").to_arrow_table().cast(CONTACTS)
    empty = (KEPT.empty_table(), MEMBERS.empty_table(), ARMS.empty_table())
    return DayFacts(AS_OF, SALT, consents, contacts, *empty)


def targeting_of(session: Session, campaigns: list[dict[str, Any]], **policy: Any) -> Any:
    """The cards and the policy, checked and compiled."""
    from perennial.targeting.config import load_targeting
    from perennial.targeting.scan import published_catalogue

    channels = {
        "email": {"cost": COSTS["email"], "address": "email"},
        "sms": {"cost": COSTS["sms"], "address": "phone"},
        "call": {"cost": COSTS["call"], "address": "phone", **policy.pop("call", {})},
    }
    with tempfile.TemporaryDirectory() as folder:
        written = {"version": 1, "channels": channels, "caps": CAPS, **policy}
        settings = write_config(Path(folder), campaigns=campaigns, policy=written)
        return load_targeting(settings, published_catalogue(session, session.tables()))


def cpu() -> float:
    """CPU seconds of this process so far."""
    return time.process_time()


def case_ours(folder: Path) -> dict[str, Any]:
    """The product's policy: reach, history, caps, the choice of one campaign per client, on scanned audiences."""
    from perennial.targeting import planning

    session, given = Session(folder), facts(folder)
    targeting = targeting_of(session, cards(50, limited=False))
    spans = _timed(planning, ("scan_clients",))
    begun = cpu()
    planning.decide(session, targeting, session.tables(), given)
    spent = cpu() - begun
    sent = session.query("select count(*) as n from t_outcomes where outcome = 'target'").column("n")[0].as_py()
    pairs = session.query("select count(*) as n from t_outcomes").column("n")[0].as_py()
    return {"cpu": spent - spans["scan_clients"], "sent": sent, "pairs": pairs}


def _prepared(folder: Path) -> Session:
    """What a hand-written policy would start from: long (client, campaign), and the two ledger tables."""
    session = Session(folder)
    run = session.connection.execute
    run("create table wide as select m.client_id, m.* exclude (client_id), d.has_email, d.has_phone, s.* exclude "
        "(client_id) from client_metrics as m inner join dim_clients as d using (client_id) inner join (pivot "
        "client_scores on score using max(value) group by client_id) as s using (client_id)")  # fmt: skip
    parts = [
        f"select client_id, {place} as campaign, value_90d * {0.02 + 0.004 * (place % 10)} * 0.3 "
        f"- {COSTS[CHANNELS[place % 5]]} as value from wide where {rule}"
        for place, rule in enumerate(rules(50))
    ]
    run(f"create table long as {' union all '.join(parts)}")
    run("create table campaigns (campaign integer, channel varchar)")
    session.connection.executemany("insert into campaigns values (?, ?)", [(p, CHANNELS[p % 5]) for p in range(50)])
    for name in ("consents", "contacts"):
        run(f"create table {name} as from '{folder}/{name}.parquet'")
    return session


_CUT = {days: (AS_OF - timedelta(days=days)).isoformat() for days in (2, 7, 30)}
_JOIN = f"""
create table sendlist as
with hist as (
    select client_id,
        count(*) filter (contacted_on > date '{_CUT[2]}') as n2, count(*) filter (contacted_on > date '{_CUT[7]}') as n7,
        count(*) as n30, count(*) filter (channel = 'email' and contacted_on > date '{_CUT[7]}') as e7,
        count(*) filter (channel = 'sms') as s30,
        count(*) filter (channel = 'call' and contacted_on > date '{_CUT[7]}') as c7
    from contacts group by client_id
),
cand as (
    select l.client_id, l.campaign, c.channel, l.value,
        row_number() over (partition by l.client_id order by l.value desc, l.campaign) as place
    from long as l
    inner join campaigns as c using (campaign)
    inner join wide as w using (client_id)
    inner join consents as s on s.client_id = l.client_id and s.channel = c.channel and s.status = 'granted'
    left join hist as h on h.client_id = l.client_id
    where l.value >= 0 and coalesce(n2, 0) < 1 and coalesce(n7, 0) < 3 and coalesce(n30, 0) < 8
        and case c.channel when 'email' then w.has_email and coalesce(e7, 0) < 2
            when 'sms' then w.has_phone and coalesce(s30, 0) < 2 else w.has_phone and coalesce(c7, 0) < 3 end
)
select client_id, campaign, channel from cand where place = 1
"""


def case_join(folder: Path) -> dict[str, Any]:
    """The same policy as one hand-written join + window."""
    session = _prepared(folder)
    begun = cpu()
    session.connection.execute(_JOIN)
    spent = cpu() - begun
    return {"cpu": spent, "sent": session.query("select count(*) as n from sendlist").column("n")[0].as_py()}


def case_pandas(folder: Path) -> dict[str, Any]:
    """The same policy in pandas, as one writes it: grouped, merged, filtered, sorted."""
    import pandas as pd

    connection = _prepared(folder).connection
    long, camp, wide, consents, contacts = (
        connection.sql(f"from {name}").df() for name in ("long", "campaigns", "wide", "consents", "contacts")
    )
    begun = cpu()
    on = contacts.contacted_on
    in7 = on > _CUT[7]
    flags = {
        "client_id": contacts.client_id, "n2": on > _CUT[2], "n7": in7, "n30": 1,
        "e7": in7 & (contacts.channel == "email"), "s30": contacts.channel == "sms",
        "c7": in7 & (contacts.channel == "call"),
    }  # fmt: skip
    hist = pd.DataFrame(flags).groupby("client_id").sum().reset_index()
    granted = consents[consents.status == "granted"][["client_id", "channel"]]
    pairs = long[long.value >= 0].merge(camp, on="campaign").merge(granted, on=["client_id", "channel"])
    pairs = pairs.merge(wide[["client_id", "has_email", "has_phone"]], on="client_id")
    pairs = pairs.merge(hist, on="client_id", how="left")
    n = pairs[["n2", "n7", "n30", "e7", "s30", "c7"]].fillna(0)
    ok = np.select(
        [pairs.channel == "email", pairs.channel == "sms"],
        [pairs.has_email & (n.e7 < 2), pairs.has_phone & (n.s30 < 2)],
        pairs.has_phone & (n.c7 < 3),
    ).astype(bool)
    pairs = pairs[ok & (n.n2 < 1) & (n.n7 < 3) & (n.n30 < 8)]
    sent = pairs.sort_values(["value", "campaign"], ascending=[False, True]).drop_duplicates("client_id")
    return {"cpu": cpu() - begun, "sent": len(sent)}


def _timed(module: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Measure these functions of a module as they are called."""
    spans = dict.fromkeys(names, 0.0)
    for name in names:
        inner = getattr(module, name)

        def timed(*args: Any, _inner: Any = inner, _name: str = name, **kwargs: Any) -> Any:
            begun = cpu()
            try:
                return _inner(*args, **kwargs)
            finally:
                spans[_name] += cpu() - begun

        setattr(module, name, timed)
    return spans


def case_day(folder: Path, campaigns: int) -> dict[str, Any]:
    """A whole day's planning with limits and budgets: CPU by step."""
    from perennial.targeting import planning

    session, given = Session(folder), facts(folder)
    targeting = targeting_of(
        session, cards(campaigns, limited=True), call={"capacity_per_day": 200}, day_budget={"money": 10_000.0}
    )
    steps = ("scan_clients", "read_history", "read_reach", "make_people", "judge", "allot", "draw", "make_decided")
    spans = _timed(planning, steps)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = cpu()
    notes = planning.decide(session, targeting, session.tables(), given)
    total = cpu() - begun
    rows = session.query(
        "select rule, outcome, count(*) as n from t_outcomes group by 1, 2 order by 3 desc"
    ).to_pylist()
    return {
        "cpu": total,
        "steps": spans,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before_mib": before,
        "pairs": sum(row["n"] for row in rows),
        "targets": sum(row["n"] for row in rows if row["outcome"] == "target"),
        "note": next((note for note in notes if note.startswith("allocation")), ""),
    }


def measured(folder: Path, case: str, *arguments: str) -> dict[str, Any]:
    """One case in a process of its own."""
    found: dict[str, Any] = cost_of([PYTHON, __file__, "case", str(folder), case, *arguments], environment()).data()
    return found


def policy(clients: int, rounds: int) -> None:
    """G15."""
    say_machine(rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, clients)
        cases = ("ours", "join", "pandas")
        found: dict[str, list[dict[str, Any]]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case in cases:
                found[case].append(measured(folder, case))
    rows = [(case, median(one["cpu"] for one in found[case]), found[case][0]["sent"]) for case in cases]
    say_table(("policy", "CPU s", "contacts"), rows)
    say(f"{found['ours'][0]['pairs']:,} pairs of client and campaign")


def day(clients: int, campaigns: int) -> None:
    """A day's planning."""
    say_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, clients)
        found = measured(folder, "day", str(campaigns))
    rows = [(step, spent) for step, spent in found["steps"].items()]
    say_table(("step", "CPU s"), [*rows, ("all", found["cpu"])])
    say(f"{found['pairs']:,} pairs, {found['targets']:,} targets; {found['note']}")
    say(f"memory {found['before_mib']:,.0f} MiB before, at most {found['peak_mib']:,.0f} MiB")


def gap(seeds: int) -> None:
    """The fast method against the optimum on small pools, and what the greatest worth first would reach."""
    from perennial.targeting.allocation import allocate
    from perennial.targeting.exact import solve
    from unit.targeting.test_allocation import pool

    say_machine()
    rows = []
    for clients in (25, 100, 400):
        for crossing in (False, True):
            lost, accepted, proven = [], [], 0
            for seed in range(seeds):
                given = pool(seed, clients, crossing=crossing)
                best = solve(given, nodes=20_000)
                if best is None:
                    continue
                optimum = int(given.worth[best.pairs].sum())
                fast = allocate(given, exact_pairs=0)
                lost.append(1 - fast.value / optimum)
                accepted.append(1 - _deferred_acceptance(given) / optimum)
                proven += fast.gap < 1e-9
            kind = "crossing" if crossing else "nested"
            shares = (np.mean(lost), np.max(lost), np.mean(accepted), np.max(accepted))
            rows.append((f"{clients} clients, {kind} caps", *(f"{share:.2%}" for share in shares), proven))
    header = ("pools", "prices: mean gap", "worst", "greatest worth first: mean gap", "worst", "proven by the bound")
    say_table(header, rows)


def _deferred_acceptance(given: Any) -> int:
    """Greatest worth first: where the method before (deferred acceptance, both sides by worth) ends; no prices."""
    from perennial.targeting.pool import is_allowed

    taken: list[int] = []
    for pair in np.lexsort((np.arange(len(given.worth)), -given.worth)):
        if is_allowed(given, np.array([*taken, pair])):
            taken.append(int(pair))
    return int(given.worth[taken].sum())


def main() -> None:
    """Run what the command line names."""
    name, arguments = sys.argv[1], sys.argv[2:]
    if name == "case":
        folder, case = Path(arguments[0]), arguments[1]
        cases = {"ours": case_ours, "join": case_join, "pandas": case_pandas}
        found = case_day(folder, int(arguments[2])) if case == "day" else cases[case](folder)
        say(json.dumps(found))
        return
    numbers = [int(argument) for argument in arguments]
    {"policy": _policy, "day": _day, "gap": _gap}[name](numbers)


def _policy(numbers: list[int]) -> None:
    policy(*[*numbers, *(1_000_000, 3)[len(numbers) :]])


def _day(numbers: list[int]) -> None:
    day(*[*numbers, *(1_000_000, 20)[len(numbers) :]])


def _gap(numbers: list[int]) -> None:
    gap(*(numbers or [20]))


if __name__ == "__main__":
    main()
