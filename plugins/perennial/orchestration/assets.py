"""Every asset that DAGs hand over by, declared once: name `layer.entity`, URI `x-perennial://layer/entity`.

An event's extra carries the business date (`as_of`), the run and our own row counts.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from perennial.orchestration.queue_trigger import queue_triggers
from perennial.orchestration.triggers import LandingTrigger

# The published tables, each an asset with rows and seconds. tests/dags checks the names against dbt's marts.
MART_NAMES = (
    "dim_clients",
    "dim_products",
    "dim_campaigns",
    "dim_agents",
    "dim_contact_persons",
    "fct_orders",
    "fct_order_lines",
    "fct_campaign_contacts",
    "fct_redemptions",
    "fct_deals",
    "fct_deal_stages",
    "fct_interactions",
    "client_metrics",
    "client_features",
    "client_departments",
    "client_aliases",
    "client_groups",
    "kpi_daily",
)


def _asset(name: str, *, watched_dag: str | None = None) -> Asset:
    layer, _, entity = name.partition(".")
    triggers: dict[str, BaseEventTrigger] = {f"watch_{entity}": LandingTrigger(dag=watched_dag)} if watched_dag else {}
    for source, trigger in queue_triggers(watched_dag).items() if watched_dag else ():
        triggers[f"read_{source}"] = trigger  # it fills the landing zone; the landing trigger tells of it
    watchers = [AssetWatcher(name=watcher, trigger=trigger) for watcher, trigger in triggers.items()]
    return Asset(name=name, uri=f"x-perennial://{layer}/{entity}", group=layer, watchers=watchers)


LANDING_SALES = _asset("landing.sales", watched_dag="ingest_sales")
LANDING_CRM = _asset("landing.crm", watched_dag="ingest_crm")
RAW_SALES = _asset("raw.sales")
RAW_CRM = _asset("raw.crm")
MARTS = {name: _asset(f"marts.{name}") for name in MART_NAMES}
CLIENT_FEATURES = MARTS["client_features"]
MODELS = _asset("scores.models")
CLIENT_SCORES = _asset("scores.client_scores")
CAMPAIGN_OUTCOMES = _asset("targeting.campaign_outcomes")
LISTS = _asset("outbox.lists")
