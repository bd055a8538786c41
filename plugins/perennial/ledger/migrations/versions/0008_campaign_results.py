"""What was reported of campaigns at their end."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "campaign_results",
        sa.Column("campaign_id", sa.String(length=60), nullable=False),
        sa.Column("arm", sa.String(length=20), nullable=False),
        sa.Column("metric", sa.String(length=40), nullable=False),
        sa.Column("frozen_on", sa.Date(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "arm", "metric", name=op.f("pk_campaign_results")),
    )
