"""`t_people`: one row per client with all that the policy asks of her, so that each card is judged in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from perennial.contracts.policy import OpenCase, PolicyFile
from perennial.targeting.catalogue import CLIENTS, Tables
from perennial.targeting.reach import Reach
from perennial.targeting.session import Binder, Session, make_table

INTERACTIONS, PERSONS, GROUPS = "fct_interactions", "dim_contact_persons", "client_groups"


def make_people(session: Session, policy: PolicyFile, reach: Reach, tables: Tables, as_of: date) -> None:
    """Make `t_people`: the columns of `t_clients`, and
    - client_no: the place of client_id in the alphabet, from 0;
    - s<n>, y<n>, x_<channel>: see `reach`;
    - u<i>, k<i>: contacts of each cap, see `policy`;
    - c<i>: whether a case of the policy's `open_cases` is open;
    - age (years, null unknown), is_quiet, not_before, not_after: the client's day, see `windows`;
    - account_id, role_place, spoken_on: her company, her role's place, when another of its persons was contacted.

    Needs `t_said`, `t_used`, `p_windows`, `t_contacts`.
    """  # noqa: D205
    binder = Binder("people")
    columns = ["t.*", "numbered.client_no", *reach.columns()]
    # Only the ids are sorted: a sort of whole rows costs more than all the rest.
    numbers = (
        "select client_id, cast(row_number() over (order by client_id) - 1 as integer) as client_no from t_clients"
    )
    joins = [f"inner join ({numbers}) as numbered on numbered.client_id = t.client_id", *reach.joins()]
    if policy.caps:
        joins.append("left join t_used as used on used.client_id = t.client_id")
        columns += [f"coalesce(used.{letter}{i}, 0) as {letter}{i}" for i in range(len(policy.caps)) for letter in "uk"]
    for part in (
        _cases(session, policy, tables, as_of),
        _of_the_client(policy, tables),
        _account(session, policy, tables, as_of),
    ):
        columns += part[0]
        joins += part[1]
    sql = f"select {', '.join(columns)} from t_clients as t {' '.join(joins)}"
    make_table(session, "t_people", sql, binder.values)


_Part = tuple[list[str], list[str]]


def _cases(session: Session, policy: PolicyFile, tables: Tables, as_of: date) -> _Part:
    if INTERACTIONS not in tables or not policy.open_cases:
        return [f"false as c{index}" for index in range(len(policy.open_cases))], []
    binder = Binder("case")
    terms = [f"{_is_open(case, as_of, binder)} as c{index}" for index, case in enumerate(policy.open_cases)]
    rows = f"from {INTERACTIONS} where client_id is not null and happened_on <= {binder.bind(as_of, 'date')}"
    make_table(session, "t_cases", f"select client_id, {', '.join(terms)} {rows} group by client_id", binder.values)
    columns = [f"coalesce(cases.c{index}, false) as c{index}" for index in range(len(policy.open_cases))]
    return columns, ["left join t_cases as cases on cases.client_id = t.client_id"]


def _is_open(case: OpenCase, as_of: date, binder: Binder) -> str:
    def last(kinds: Sequence[str]) -> str:
        listed = ", ".join(binder.bind(kind.lower(), "varchar") for kind in kinds)
        return f"max(happened_at) filter (where lower(interaction_kind) in ({listed}))"

    since = binder.bind(as_of - timedelta(days=case.forget_days), "date")
    opened = f"coalesce(cast({last(case.kinds)} as date) > {since}, false)"
    return f"({opened} and coalesce({last(case.closed_by)} < {last(case.kinds)}, true))" if case.closed_by else opened


def _of_the_client(policy: PolicyFile, tables: Tables) -> _Part:
    """Age, and the day and hours of her country."""
    has = {name for name, _ in tables.get(CLIENTS, ())}
    age = "person.age" if policy.min_age_years and "age" in has else "cast(null as bigint)"
    columns = [f"{age} as age"]
    joins = [f"left join {CLIENTS} as person on person.client_id = t.client_id"]
    joins.append("cross join (select * from p_windows where country is null) as elsewhere")
    own = "country" in has
    if own:
        joins.append("left join p_windows as there on there.country = person.country")
    for name in ("is_quiet", "not_before", "not_after"):
        columns += [f"coalesce(there.{name}, elsewhere.{name}) as {name}" if own else f"elsewhere.{name}"]
    return columns, joins


def _account(session: Session, policy: PolicyFile, tables: Tables, as_of: date) -> _Part:
    rules = policy.accounts
    if rules is None or GROUPS not in tables:
        nothing = ["cast(null as varchar) as account_id", "0 as role_place", "cast(null as date) as spoken_on"]
        return nothing, []
    binder = Binder("account")
    place = str(len(rules.roles))
    if PERSONS in tables and rules.roles:
        whens = [f"when {binder.bind(role.lower(), 'varchar')} then {n}" for n, role in enumerate(rules.roles)]
        place = f"case lower(p.role) {' '.join(whens)} else {len(rules.roles)} end"
    persons = f"left join {PERSONS} as p on p.client_id = g.client_id" if PERSONS in tables else ""
    make_table(
        session,
        "t_account",
        f"select g.client_id, g.company_id as account_id, min({place}) as role_place from {GROUPS} as g {persons} "
        "where g.company_id is not null group by g.client_id, g.company_id",
        binder.values,
    )
    since = Binder("spoken")
    make_table(
        session,
        "t_spoken",
        "select a.client_id, max(c.contacted_on) as spoken_on from t_account as a "
        "inner join t_account as o on o.account_id = a.account_id and o.client_id <> a.client_id "
        f"inner join t_contacts as c on c.client_id = o.client_id "
        f"where c.contacted_on > {since.bind(as_of - timedelta(days=rules.days), 'date')} group by a.client_id",
        since.values,
    )
    columns = ["account.account_id", "coalesce(account.role_place, 0) as role_place", "spoken.spoken_on"]
    joins = ["left join t_account as account on account.client_id = t.client_id"]
    return columns, [*joins, "left join t_spoken as spoken on spoken.client_id = t.client_id"]


def choose_persons(session: Session) -> None:
    """Make `t_spoken_for` (client_no): of the candidates of one company all but the one who is contacted today.

    The first by role, then by the greatest value of what she could get, then by id.
    """
    make_table(
        session,
        "t_spoken_for",
        "select client_no from (select client_no, row_number() over (partition by account_id "
        "order by role_place, value desc, client_id) as place from (select p.account_id, p.role_place, p.client_id, "
        "p.client_no, max(j.value) as value from t_judged as j inner join t_people as p on p.client_no = j.client_no "
        "where j.rule is null and p.account_id is not null "
        "group by p.account_id, p.role_place, p.client_id, p.client_no) as best) as placed where place > 1",
    )


def segment_conditions(names: Mapping[str, tuple[int, int]], undecided: frozenset[str]) -> dict[str, str]:
    """For each segment a condition over `t_people`; of whom it is not decided counts as in it: a cap rather holds."""
    return {
        name: "true" if name in undecided else f"((m{word} & {1 << bit}) <> 0)" for name, (word, bit) in names.items()
    }
