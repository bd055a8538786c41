"""What a measurement of campaigns is made of and what it gives: experiments, and rows of `fct_campaign_results`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import pyarrow as pa

# What is measured per client. Every one is 0 for a client who did nothing in the window.
METRICS = ("revenue", "margin", "orders", "buyers", "new_clients", "units", "complaints")
Metric = Literal["revenue", "margin", "orders", "buyers", "new_clients", "units", "complaints"]

MONEY_METRICS = ("revenue", "margin")

# Clients as assigned: who stands in which arm of which experiment since when.
ASSIGNED = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("assigned_on", pa.date32(), nullable=False),
    ]
)

CAMPAIGN_RESULTS = pa.schema(
    [
        pa.field("as_of_date", pa.date32(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("is_headline", pa.bool_(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # interim | final
        pa.field("verdict", pa.string(), nullable=False),  # collecting | inconclusive | separated | not_comparable
        pa.field("target_clients", pa.int64(), nullable=False),
        pa.field("control_clients", pa.int64(), nullable=False),
        pa.field("open_clients", pa.int64(), nullable=False),  # assigned, their window not over yet
        pa.field("target_mean", pa.float64()),
        pa.field("control_mean", pa.float64()),
        pa.field("difference", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("decided_low", pa.float64()),
        pa.field("decided_high", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("p_value_corrected", pa.float64()),
        pa.field("method", pa.string()),
        pa.field("variance_gain", pa.float64()),
        pa.field("capped_difference", pa.float64()),
        pa.field("total", pa.float64()),
        pa.field("total_low", pa.float64()),
        pa.field("total_high", pa.float64()),
        # Of the margin's row alone: what the contacts and offers cost, and what is left of the margin.
        pa.field("cost", pa.float64()),
        pa.field("profit", pa.float64()),
        pa.field("profit_low", pa.float64()),
        pa.field("profit_high", pa.float64()),
        pa.field("roi", pa.float64()),  # profit / cost; null without cost
        pa.field("sample_ratio_p", pa.float64()),
        pa.field("frozen_on", pa.date32()),  # the date from which the row stays as it is (L21); null while it may move
        pa.field("note", pa.string()),
    ]
)


@dataclass(frozen=True)
class Experiment:
    """A campaign as it is measured. `shares` are what each arm was drawn with; `control` is one of them.

    `ends_on` None: it goes on. `planned_clients`: how many it was to have in target and control by the forecast, fixed
    before the first look: there an early verdict is easiest. It holds for any number: without a forecast it is 1,000.
    """

    campaign_id: str
    window_days: int
    headline: Metric
    shares: dict[str, float]
    margin_share: float
    ends_on: date | None = None
    planned_clients: int = 1000
    controls: tuple[str, ...] = field(default=("control",))
