-- To the cent: what all cohorts brought in all their months = revenue of orders with a client, and every client with an
-- order document belongs to one cohort.
with

cohorts as (
    select
        sum(revenue) as revenue,
        sum(case when month_number = 0 then clients else 0 end) as clients
    from {{ ref('cohort_retention') }}
),

facts as (
    select
        sum(revenue) as revenue,
        count(distinct client_id) as clients
    from {{ ref('fct_orders') }}
    where client_id is not null
)

select
    cohorts.revenue as revenue_of_cohorts,
    facts.revenue as revenue_of_facts,
    cohorts.clients as clients_of_cohorts,
    facts.clients as clients_of_facts
from cohorts
cross join facts
where cohorts.revenue is distinct from facts.revenue or coalesce(cohorts.clients, 0) <> facts.clients
