"""The next product: what scoring proposes to the client, or the department that clients like them buy most.

Where the day has no learned proposals, a card that wants `cross_sell` proposes a department that was not bought yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from perennial.contracts.next_steps import NEXT_PRODUCTS_TABLE
from perennial.targeting.session import Session, make_table

LEAST_GROUP = 30  # below so many clients with the same main department, all clients are the group
LEAST_SHARE = 0.05  # what fewer of the group buy is proposed to nobody: a department of three buyers is chance

# A client's group is everyone with the same main department. Departments are ordered by the share of the group that
# buys them, then by lift (that share over the share of all clients), then by name.
_POPULARITY = """
with clients as (
    select client_id, main_department_365d as main_department from t_clients
),
sizes as (
    select main_department, count(*) as clients from clients where main_department is not null group by main_department
),
groups as (
    select
        c.client_id,
        case when s.clients >= $least_group then c.main_department end as main_department,
        case when s.clients >= $least_group then s.clients end as group_clients
    from clients as c
    left join sizes as s on s.main_department = c.main_department
),
overall as (
    select
        d.product_line as department,
        count(distinct d.client_id) as buyers,
        (select count(*) from clients) as clients
    from client_product_matrix as d
    inner join clients as c on c.client_id = d.client_id
    group by d.product_line
),
by_group as (
    select
        g.main_department, d.product_line as department,
        count(distinct d.client_id) as buyers, max(g.group_clients) as clients
    from client_product_matrix as d
    inner join groups as g on g.client_id = d.client_id
    where g.main_department is not null
    group by g.main_department, d.product_line
),
popular as (
    select main_department, department, buyers, clients from by_group
    union all
    select cast(null as varchar), department, buyers, clients from overall
)
select
    p.main_department,
    p.department,
    cast(p.buyers as double precision) / p.clients as share,
    (cast(p.buyers as double precision) / p.clients) / (cast(o.buyers as double precision) / o.clients) as lift
from popular as p
inner join overall as o on o.department = p.department
"""

_NEXT = """
with wanted as (
    select
        c.campaign_id,
        c.client_id,
        case when g.main_department is not null then k.main_department_365d end as main_department
    from t_candidates as c
    inner join t_clients as k on k.client_id = c.client_id
    inner join p_cards as p on p.campaign_id = c.campaign_id
    left join (select distinct main_department from t_popular) as g on g.main_department = k.main_department_365d
    where p.product_kind = 'department_not_yet_bought' or (p.product_kind = 'cross_sell' and not $learned)
),
ranked as (
    select
        w.campaign_id,
        w.client_id,
        t.department,
        t.share,
        t.lift,
        t.main_department,
        row_number() over (
            partition by w.campaign_id, w.client_id order by t.share desc, t.lift desc, t.department
        ) as place
    from wanted as w
    inner join t_popular as t on t.main_department is not distinct from w.main_department
    where
        t.share >= $least_share
        and not exists (
            select 1 from client_product_matrix as b where b.client_id = w.client_id and b.product_line = t.department
        )
        and not exists (
            select 1 from p_never as n where n.campaign_id = w.campaign_id and n.department = t.department
        )
)
select
    campaign_id, client_id, department as next_product, share, lift, main_department, cast(null as varchar) as why
from ranked
where place = 1
"""

_LEARNED = f"""
with ranked as (
    select
        c.campaign_id,
        c.client_id,
        n.product_name,
        n.probability,
        n.reason,
        row_number() over (partition by c.campaign_id, c.client_id order by n.rank) as place
    from t_candidates as c
    inner join p_cards as p on p.campaign_id = c.campaign_id
    inner join {NEXT_PRODUCTS_TABLE} as n
        on n.client_id = c.client_id and n.kind = p.product_kind and n.as_of_date = cast($as_of as date)
    where not exists (
        select 1 from p_never as e where e.campaign_id = c.campaign_id and e.department = n.product_line
    )
)
select
    campaign_id, client_id, product_name as next_product, probability as share, cast(null as double precision) as lift,
    cast(null as varchar) as main_department, reason as why
from ranked
where place = 1
"""


def choose_products(session: Session, tables: Mapping[str, object], as_of: date) -> None:
    """Make `t_next` (campaign_id, client_id, next_product, share, lift, main_department, why) for cards that want it.

    Reads t_clients, t_candidates, p_cards, p_never, the day's client_next_products where they are published, and the
    published client_product_matrix (what was ever bought).
    """
    learned = _is_learned(session, tables, as_of)
    make_table(session, "t_popular", _POPULARITY, {"least_group": LEAST_GROUP})
    make_table(session, "t_departments", _NEXT, {"least_share": LEAST_SHARE, "learned": learned})
    if learned:
        make_table(session, "t_learned", _LEARNED, {"as_of": as_of})
    more = " union all select * from t_learned" if learned else ""
    make_table(session, "t_next", f"select * from t_departments{more}")


def _is_learned(session: Session, tables: Mapping[str, object], as_of: date) -> bool:
    """Whether the day has proposals: those of another day are none (L6)."""
    if NEXT_PRODUCTS_TABLE not in tables:
        return False
    found = session.query(
        f"select count(*) as n from {NEXT_PRODUCTS_TABLE} where as_of_date = cast($as_of as date)", {"as_of": as_of}
    )
    return int(found.column("n")[0].as_py()) > 0


def reason(row: dict[str, object]) -> str:
    """Why this product or department, in a sentence, from a row of `t_next`."""
    if row["why"]:
        return f"{row['next_product']}: {row['why']} (probability {float(str(row['share'])):.1%})"
    main = row["main_department"]
    group = f"clients whose main department is {main}" if main else "all clients"
    return f"{float(str(row['share'])):.0%} of {group} buy {row['next_product']} (lift {float(str(row['lift'])):.2f})"
