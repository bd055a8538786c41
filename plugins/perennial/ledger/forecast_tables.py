"""The ledger's table of forecasts: what was expected of a campaign on its first day, beside what it earned."""

from __future__ import annotations

import sqlalchemy as sa

from perennial.ledger.metadata import METADATA

# Append-only: written by the plan of the campaign's first day (of each term), and never changed after (L21). Amounts
# are in the company's currency, over the days from `as_of` on.
campaign_forecasts = sa.Table(
    "campaign_forecasts",
    METADATA,
    sa.Column("campaign_id", sa.String(60), primary_key=True),
    sa.Column("as_of", sa.Date, primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("audience", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),  # different clients, control included
    sa.Column("contacts", sa.BigInteger, nullable=False),  # control included
    sa.Column("control", sa.BigInteger, nullable=False),  # different clients in control
    sa.Column("responders", sa.Float, nullable=False),  # expected because of the campaign
    sa.Column("cost", sa.Float, nullable=False),  # of what is sent
    sa.Column("expected_value", sa.Float, nullable=False),  # net of cost, of what is sent
    sa.Column("least_difference", sa.Float),  # margin per client that the test can show; null without control
    sa.Column("basis", sa.String(60), nullable=False),  # the card's expected_value.basis
    sa.Column("prior_effect", sa.Float, nullable=False),
    sa.Column("config_digest", sa.String(64), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
)
