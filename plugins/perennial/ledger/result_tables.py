"""The ledger's table of final results: what was reported of a campaign at its end, which never moves again (L21)."""

from __future__ import annotations

import sqlalchemy as sa

from perennial.ledger.metadata import METADATA

# Append-only: the rows of `fct_campaign_results` of the day on which the campaign became final, as they were published.
campaign_results = sa.Table(
    "campaign_results",
    METADATA,
    sa.Column("campaign_id", sa.String(60), primary_key=True),
    sa.Column("arm", sa.String(20), primary_key=True),
    sa.Column("metric", sa.String(40), primary_key=True),
    sa.Column("frozen_on", sa.Date, nullable=False),  # the business date
    sa.Column("result", sa.JSON, nullable=False),  # column by column, without the dates
    sa.Column("recorded_at", sa.DateTime, nullable=False),
)
