-- On a business date that ends a month: every client whose history has begun stands in it with the figures of
-- client_metrics. On other dates nothing is compared here.
{% set shared = [
    'lifecycle_stage', 'days_in_stage', 'concentration_class', 'rfm_recency', 'rfm_frequency', 'rfm_monetary',
    'last_order_on', 'recency_days', 'orders_90d', 'orders_365d', 'orders_total', 'revenue_90d', 'revenue_365d',
    'revenue_total', 'margin_90d', 'margin_365d', 'margin_total',
] %}
with

metrics as (
    select * from {{ ref('client_metrics') }}
    where
        extract(day from {{ as_of() }} + 1) = 1
        and client_id in (select client_id from {{ ref('client_lifecycle_events') }})
),

history as (
    select * from {{ ref('client_metrics_history') }}
    where as_of_date = {{ as_of() }} and row_kind = 'month_end'
)

select
    coalesce(metrics.client_id, history.client_id) as client_id,
    metrics.lifecycle_stage,
    history.lifecycle_stage as stage_of_history
from metrics
full outer join history on metrics.client_id = history.client_id
where
    metrics.client_id is null
    or history.client_id is null
    {%- for column in shared %}
    or metrics.{{ column }} is distinct from history.{{ column }}
    {%- endfor %}
