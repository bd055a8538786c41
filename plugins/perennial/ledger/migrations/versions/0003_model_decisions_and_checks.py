"""Models: decisions of people, the daily watch, longer names."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables and widen the names of models."""
    op.create_table(
        "model_decisions",
        sa.Column("decision_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=False),
        sa.Column("decision", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("known_on", sa.Date(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_model_decisions")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "score_checks",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("score", sa.String(length=80), nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("sentences", sa.JSON(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "score", name=op.f("pk_score_checks")),
    )
    with op.batch_alter_table("model_cards", schema=None) as batch_op:
        batch_op.alter_column(
            "model_version", existing_type=sa.String(60), type_=sa.String(120), existing_nullable=False
        )
        batch_op.alter_column("score", existing_type=sa.String(40), type_=sa.String(80), existing_nullable=False)
