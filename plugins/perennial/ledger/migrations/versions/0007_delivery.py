"""Delivery: chunks of pushes, starts of sends, questions to people and their answers; a list's last moment."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables, and the column."""
    op.add_column("lists", sa.Column("send_not_after", sa.DateTime(), nullable=True))
    op.create_table(
        "push_chunks",
        sa.Column("chunk_id", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("list_id", sa.String(length=120), nullable=False),
        sa.Column("list_name", sa.String(length=81), nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("client_keys", sa.JSON(), nullable=True),
        sa.Column("place", sa.JSON(), nullable=False),
        sa.Column("ticket", sa.JSON(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.DateTime(), nullable=False),
        sa.Column("moved_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("pk_push_chunks")),
    )
    op.create_index("ix_push_chunks_destination", "push_chunks", ["destination", "state"], unique=False)
    op.create_index("ix_push_chunks_list_id", "push_chunks", ["list_id"], unique=False)
    op.create_table(
        "send_starts",
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("list_id", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.Column("started_by", sa.String(length=120), nullable=False),
        sa.Column("began_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("destination", "list_id", name=op.f("pk_send_starts")),
    )
    op.create_table(
        "approval_requests",
        sa.Column("campaign_id", sa.String(length=60), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("why", sa.JSON(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "channel", "as_of", name=op.f("pk_approval_requests")),
    )
    op.create_table(
        "approval_answers",
        sa.Column("answer_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("campaign_id", sa.String(length=60), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("answer", sa.String(length=8), nullable=False),
        sa.Column("at_most", sa.BigInteger(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answered_by", sa.String(length=120), nullable=False),
        sa.Column("answered_via", sa.String(length=10), nullable=False),
        sa.Column("answered_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("answer_id", name=op.f("pk_approval_answers")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_approval_answers_campaign_id", "approval_answers", ["campaign_id", "channel", "as_of"], unique=False
    )
    op.create_index("ix_approval_answers_destination", "approval_answers", ["destination"], unique=False)
