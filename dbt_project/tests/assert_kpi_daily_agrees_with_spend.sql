-- Every day, to the cent.
with

spend as (
    select
        spent_on,
        sum(amount) as spend
    from {{ ref('fct_spend') }}
    group by spent_on
),

days as (
    select * from {{ ref('kpi_daily') }}
)

select
    coalesce(spend.spent_on, days.business_date) as business_date,
    spend.spend as spend_of_campaigns,
    days.spend as spend_of_day
from spend
full outer join days on spend.spent_on = days.business_date
where days.business_date is null or coalesce(spend.spend, 0) <> days.spend
