"""Target, control, named arms and the global hold-out, drawn by salted hash and kept while the test runs (L8).

The allocation knows nothing of arms: who is in control has used her caps, gaps and budgets as if she was contacted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from perennial.contracts.policy import CONTROL, HOLD_OUT, HoldOut, PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.core.ids import unit_hex_sql, unit_threshold
from perennial.targeting.session import Session, make_table

TARGET = "target"
_SHARES = pa.schema(
    [("campaign_id", pa.string()), ("arm", pa.string()), ("from_hex", pa.string()), ("below_hex", pa.string())]
)


def hold_out_experiment(hold_out: HoldOut) -> str:
    """The name under which the draws of a global hold-out stand in the ledger."""
    return f"{HOLD_OUT}:{hold_out.since.isoformat()}"


def shares(card: Campaign) -> Iterator[tuple[str, float, float]]:
    """(arm, from, below) on the unit interval: control first, then the arms as the card lists them."""
    yield CONTROL, 0.0, card.control_share
    begins, rest = card.control_share, 1 - card.control_share
    named = [(arm.id, arm.share) for arm in card.arms] or [(TARGET, 1.0)]
    for place, (name, share) in enumerate(named):
        ends = 1.0 if place == len(named) - 1 else begins + share * rest
        yield name, begins, ends
        begins = ends


def register_shares(session: Session, cards: Sequence[Campaign]) -> None:
    """Make `p_shares`: the part of the unit interval, as hexadecimal digits, that each arm of each card has."""
    rows = [
        {"campaign_id": card.id, "arm": arm, "from_hex": unit_threshold(begins), "below_hex": unit_threshold(ends)}
        for card in cards
        for arm, begins, ends in shares(card)
        if begins < ends
    ]
    session.register("p_shares", pa.Table.from_pylist(rows, schema=_SHARES))


def draw(session: Session, policy: PolicyFile, cards: Sequence[Campaign], salt: str) -> None:
    """Make `t_drawn` (campaign_no, client_no, arm, was_drawn) for the allocated pairs, `t_held` for the hold-out.

    An arm of `p_arms` or `p_held` (drawn before) stays. `t_held` (client_id, arm held or open) has everyone who was
    allocated to a campaign that the hold-out is about.
    """
    register_shares(session, cards)
    unit = unit_hex_sql("$salt || '|' || n.campaign_id || '|' || p.client_id")
    make_table(
        session,
        "t_allocated",
        f"select d.campaign_no, n.campaign_id, d.client_no, p.client_id, {unit} as unit from t_decided as d "
        "inner join t_people as p on p.client_no = d.client_no "
        "inner join p_names as n on n.campaign_no = d.campaign_no where d.rule = 'allocated'",
        {"salt": salt},
    )
    _hold_out(session, policy, cards, salt)
    make_table(
        session,
        "t_drawn",
        f"select a.campaign_no, a.client_no, case when h.arm = 'held' then '{HOLD_OUT}' "
        "else coalesce(g.arm, s.arm) end as arm from t_allocated as a "
        "inner join p_shares as s on s.campaign_id = a.campaign_id and a.unit >= s.from_hex and a.unit < s.below_hex "
        "left join p_arms as g on g.campaign_id = a.campaign_id and g.client_id = a.client_id "
        "left join t_held as h on h.client_id = a.client_id and h.campaign_no = a.campaign_no",
    )


def _hold_out(session: Session, policy: PolicyFile, cards: Sequence[Campaign], salt: str) -> None:
    if policy.hold_out is None:
        make_table(
            session,
            "t_held",
            "select campaign_no, client_id, cast('' as varchar) as arm from t_allocated where false",
        )
        return
    about = [number for number, card in enumerate(cards) if not policy.is_essential(card.purpose)]
    listed = ", ".join(str(number) for number in about) or "-1"
    unit = unit_hex_sql("$salt || '|' || $experiment || '|' || a.client_id")
    make_table(
        session,
        "t_held",
        f"select a.campaign_no, a.client_id, "
        f"coalesce(h.arm, case when {unit} < $below then 'held' else 'open' end) as arm "
        f"from t_allocated as a left join p_held as h on h.client_id = a.client_id where a.campaign_no in ({listed})",
        {
            "salt": salt,
            "experiment": hold_out_experiment(policy.hold_out),
            "below": unit_threshold(policy.hold_out.share),
        },
    )


HELD = "select distinct client_id, arm from t_held order by client_id"
