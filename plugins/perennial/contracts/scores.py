"""What scoring hands over: the table `raw.client_scores` and the model card."""

from __future__ import annotations

import pyarrow as pa

# The scores that rules of segments may name before any was made; what else is published may be named too, and
# `response_<campaign>` of every card. A score of ours is added here.
DECLARED_SCORES = ("churn_risk", "value_90d", "value_182d", "value_365d", "next_purchase_days", "client_budget")
RESPONSE_PREFIX = "response_"
# Texts that rules may name beside a score: what raises it most.
REASONS_OF = {"churn_reason": "churn_risk"}

# One row per client, date and score. `score` in churn is a probability, in value_90d an amount in the company's
# currency; `low` and `high` an 80 % interval where the model has one, else null; `reasons` a JSON list of short
# sentences, strongest first; `reason` the group of features that raises the score most: silence, pace, spend, ...
CLIENT_SCORES = pa.schema(
    [
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("as_of_date", pa.date32(), nullable=False),
        pa.field("score", pa.string(), nullable=False),  # churn_risk | value_90d
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("reasons", pa.string()),
        pa.field("reason", pa.string()),
    ]
)

# One row per campaign, day and candidate (L7). `rule` names what decided: `allocated` for target and control, else
# the rule that refused. `rank` and `value` are those of the allocation; `cost` is contact plus expected offer cost.
CAMPAIGN_OUTCOMES = pa.schema(
    [
        pa.field("as_of_date", pa.date32(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("arm", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("cost", pa.float64()),
        pa.field("next_product", pa.string()),
        pa.field("step", pa.string()),  # eligible | allowed | allocated | assigned: where it was decided
        pa.field("not_before", pa.timestamp("us")),  # UTC, without a zone: the client's quiet hours and
        pa.field("not_after", pa.timestamp("us")),  # the card's sending times, whichever is narrower (L17)
        pa.field("series_step", pa.string()),  # of a card with a series: the step that was decided about
    ]
)
