"""Feedback: what recipients did, and how far each tool was asked."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "feedback_events",
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("happened_at", sa.DateTime(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=True),
        sa.Column("address_key", sa.String(length=32), nullable=False),
        sa.Column("client_ref", sa.String(length=16), nullable=True),
        sa.Column("campaign_id", sa.String(length=60), nullable=True),
        sa.Column("as_of", sa.Date(), nullable=True),
        sa.Column("list_title", sa.String(length=160), nullable=True),
        sa.Column("message_id", sa.String(length=160), nullable=True),
        sa.Column("detail", sa.String(length=200), nullable=True),
        sa.Column("scope", sa.String(length=4), nullable=False),
        sa.Column("is_machine", sa.Boolean(), nullable=False),
        sa.Column("came_by", sa.String(length=8), nullable=False),
        sa.Column("known_on", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "event_id", name=op.f("pk_feedback_events")),
    )
    op.create_index("ix_feedback_events_known_on", "feedback_events", ["known_on"], unique=False)
    op.create_index("ix_feedback_events_client_ref", "feedback_events", ["client_ref", "kind"], unique=False)
    op.create_table(
        "feedback_cursors",
        sa.Column("destination", sa.String(length=60), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("cursor", sa.JSON(), nullable=False),
        sa.Column("pulled_at", sa.DateTime(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("destination", "stream", name=op.f("pk_feedback_cursors")),
    )
