"""Allocation: each client's few contacts go to the campaigns that expect most of them, within each campaign's limit.

Clients propose to their best campaigns, a campaign with a daily limit keeps the best and rejects the rest, who propose
to their next: deferred acceptance (Gale and Shapley 1962), each round one set-based statement. Equal values are decided
by priority, then campaign id; between clients by client id: the order of files or rows decides nothing (L2).
"""

from __future__ import annotations

from perennial.targeting.session import Session, make_table

# Best first: the order in which a client's contacts are given away.
BEST_FIRST = "value desc, priority, campaign_id"


def allocate(session: Session) -> int:
    """Make `t_allocated` and `t_limited` (campaign_id, client_id) from `t_pool`; gives the number of rounds.

    `t_pool`: campaign_id, client_id, channel, value, priority, room_all, room_channel (contacts the client may still
    get today, null: no limit) and limit_left (contacts the campaign may still send today, null: no limit). Ends when a
    round rejects nobody: each round rejects at least one more pair, so it ends.
    """
    make_table(session, "t_limited", "select campaign_id, client_id from t_pool where limit_left <= 0")
    rounds = 0
    while True:
        rounds += 1
        make_table(session, "t_round", _ROUND)
        rejected = int(session.query("select count(*) as n from t_round where is_over").column("n")[0].as_py())
        if not rejected:
            make_table(session, "t_allocated", "select campaign_id, client_id from t_round")
            return rounds
        session.execute("insert into t_limited select campaign_id, client_id from t_round where is_over")


# Caps over all channels with caps per channel inside them are a laminar family: cutting off within each channel first,
# then over all, gives each client its best set.
_ROUND = f"""
with open_pairs as (
    select p.*, row_number() over (partition by p.client_id, p.channel order by {BEST_FIRST}) as rank_in_channel
    from t_pool as p
    where not exists (
        select 1 from t_limited as l where l.campaign_id = p.campaign_id and l.client_id = p.client_id
    )
),
within_channel as (
    select *, row_number() over (partition by client_id order by {BEST_FIRST}) as rank_of_client
    from open_pairs
    where room_channel is null or rank_in_channel <= room_channel
),
proposed as (
    select *, row_number() over (partition by campaign_id order by value desc, client_id) as rank_in_campaign
    from within_channel
    where room_all is null or rank_of_client <= room_all
)
select campaign_id, client_id, limit_left is not null and rank_in_campaign > limit_left as is_over
from proposed
"""
