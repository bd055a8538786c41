"""The ledger's tables of pushes to tools: chunks, starts of sends, and what people were asked and have answered.

No address stands here: the contacts of a chunk in flight lie in a private file until it is done.
"""

from __future__ import annotations

import sqlalchemy as sa

from perennial.ledger.metadata import METADATA

# One row per chunk of a list that was handed to a tool (L12). `client_keys` are [client_id, row_hash] while it is in
# flight, and null once its outcome is written.
push_chunks = sa.Table(
    "push_chunks",
    METADATA,
    sa.Column("chunk_id", sa.String(32), primary_key=True),  # digest of list, action and rows: the same for the same
    sa.Column("destination", sa.String(60), nullable=False),
    sa.Column("list_id", sa.String(120), nullable=False),
    sa.Column("list_name", sa.String(81), nullable=False),  # campaign__channel
    sa.Column("nth", sa.Integer, nullable=False),
    sa.Column("action", sa.String(8), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # sending | submitted (a job that is followed) | done | refused (not taken: split, or the tool said no) | unknown
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("client_keys", sa.JSON),
    sa.Column("place", sa.JSON, nullable=False),  # where the list lies in the tool
    sa.Column("ticket", sa.JSON),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("began_at", sa.DateTime, nullable=False),
    sa.Column("moved_at", sa.DateTime, nullable=False),  # when something of it was last known to go on
    sa.Index("ix_push_chunks_destination", "destination", "state"),
    sa.Index("ix_push_chunks_list_id", "list_id"),
)

# A send that was begun in a tool, once (L18).
send_starts = sa.Table(
    "send_starts",
    METADATA,
    sa.Column("destination", sa.String(60), primary_key=True),
    sa.Column("list_id", sa.String(120), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),  # starting | started | unknown
    sa.Column("ids", sa.JSON, nullable=False),
    sa.Column("started_by", sa.String(120), nullable=False),
    sa.Column("began_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
)

# A list that a person is asked about; without an answer in time it is not sent.
approval_requests = sa.Table(
    "approval_requests",
    METADATA,
    sa.Column("campaign_id", sa.String(60), primary_key=True),
    sa.Column("channel", sa.String(20), primary_key=True),
    sa.Column("as_of", sa.Date, primary_key=True),
    sa.Column("destination", sa.String(60), nullable=False),
    sa.Column("why", sa.JSON, nullable=False),  # codes: new_destination | card | over_limits
    sa.Column("view", sa.JSON, nullable=False),  # size, additions, removals, refused by reason, cost, forecast
    sa.Column("asked_at", sa.DateTime, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)

# What people answered, with what they had in view: append-only, the newest of a list and date holds.
approval_answers = sa.Table(
    "approval_answers",
    METADATA,
    sa.Column("answer_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("campaign_id", sa.String(60), nullable=False),
    sa.Column("channel", sa.String(20), nullable=False),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("destination", sa.String(60), nullable=False),
    sa.Column("answer", sa.String(8), nullable=False),  # approved | refused
    sa.Column("at_most", sa.BigInteger, nullable=False),  # changes: what grew on since waits again
    sa.Column("view", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("answered_by", sa.String(120), nullable=False),
    sa.Column("answered_via", sa.String(10), nullable=False),  # cli | airflow | page
    sa.Column("answered_at", sa.DateTime, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
    sa.Index("ix_approval_answers_campaign_id", "campaign_id", "channel", "as_of"),
    sa.Index("ix_approval_answers_destination", "destination"),
    sqlite_autoincrement=True,
)
