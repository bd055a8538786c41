-- At 100 % the curve holds every client with an order, and what those who brought anything brought; it never falls.
with

curve as (
    select
        *,
        lag(cumulative_revenue) over (partition by basis order by percent_of_clients) as revenue_before
    from {{ ref('concentration') }}
),

clients as (
    select
        '365d' as basis,
        count(*) as clients,
        coalesce(sum(greatest(revenue_365d, 0)), 0) as revenue
    from {{ ref('client_metrics') }}
    where orders_365d > 0
    union all
    select
        'total' as basis,
        count(*) as clients,
        coalesce(sum(greatest(revenue_total, 0)), 0) as revenue
    from {{ ref('client_metrics') }}
    where orders_total > 0
)

select
    clients.basis,
    curve.percent_of_clients,
    curve.clients,
    curve.cumulative_revenue
from clients
left join curve on clients.basis = curve.basis
where
    curve.percent_of_clients is null
    or curve.cumulative_revenue < curve.revenue_before
    or (
        curve.percent_of_clients = 100
        and (curve.clients <> clients.clients or curve.cumulative_revenue <> clients.revenue)
    )
