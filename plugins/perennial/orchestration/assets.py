"""Every asset that DAGs hand over by, declared once: name `layer.entity`, URI `x-perennial://layer/entity`.

An event's extra carries the business date (`as_of`), the run and our own row counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from perennial.orchestration.alert_trigger import AlertTrigger
from perennial.orchestration.fetch_trigger import fetch_triggers
from perennial.orchestration.queue_trigger import queue_triggers
from perennial.orchestration.triggers import LandingTrigger

# The published tables, each an asset with rows and seconds. tests/dags checks the names against dbt's marts.
MART_NAMES = (
    "dim_dates",
    "dim_exchange_rates",
    "dim_accounts",
    "dim_product_substitutes",
    "dim_clients",
    "dim_products",
    "dim_campaigns",
    "dim_agents",
    "dim_contact_persons",
    "fct_orders",
    "fct_order_lines",
    "fct_returns",
    "fct_campaign_contacts",
    "fct_redemptions",
    "fct_deals",
    "fct_deal_stages",
    "fct_interactions",
    "fct_communications",
    "fct_touches",
    "fct_spend",
    "fct_delivery_rejects",
    "client_metrics",
    "client_features",
    "client_product_matrix",
    "client_white_space",
    "category_metrics",
    "cohort_retention",
    "concentration",
    "client_lifecycle_events",
    "client_metrics_history",
    "client_aliases",
    "client_groups",
    "kpi_daily",
)


def _asset(name: str, *, watchers: Mapping[str, BaseEventTrigger] | None = None) -> Asset:
    layer, _, entity = name.partition(".")
    watching = [AssetWatcher(name=watcher, trigger=trigger) for watcher, trigger in (watchers or {}).items()]
    return Asset(name=name, uri=f"x-perennial://{layer}/{entity}", group=layer, watchers=watching)


def _landing(entity: str, dag: str) -> Asset:
    """What lies in the landing zone for the sources of a DAG. Their queues fill it; the landing trigger alone tells."""
    queues = {f"read_{source}": trigger for source, trigger in queue_triggers(dag).items()}
    return _asset(f"landing.{entity}", watchers={f"watch_{entity}": LandingTrigger(dag=dag), **queues})


LANDING_SALES = _landing("sales", "ingest_sales")
LANDING_CRM = _landing("crm", "ingest_crm")
LANDING_DUE = _asset("landing.due", watchers=fetch_triggers())
RAW_SALES = _asset("raw.sales")
RAW_CRM = _asset("raw.crm")
MARTS = {name: _asset(f"marts.{name}") for name in MART_NAMES}
CLIENT_FEATURES = MARTS["client_features"]
MODELS = _asset("scores.models")
CLIENT_SCORES = _asset("scores.client_scores")
CAMPAIGN_RESULTS = _asset("measurement.campaign_results")
CAMPAIGN_OUTCOMES = _asset("targeting.campaign_outcomes")
LISTS = _asset("outbox.lists")
ALERTS = _asset("operation.alerts", watchers={"watch_alerts": AlertTrigger()})
