{% set churn_days = days_var('churn_horizon_days') %}
{% set value_days = days_var('value_horizon_days') %}
with

features as (
    select
        client_id,
        as_of_date
    from {{ ref('client_features') }}
),

days as (
    select * from {{ ref('int_client_days') }}
),

observed as (
    select
        *,
        as_of_date + {{ churn_days }} <= {{ as_of() }} as churn_horizon_observed,
        as_of_date + {{ value_days }} <= {{ as_of() }} as value_horizon_observed
    from features
),

-- An order that was cancelled within the horizon is no purchase of it; what was cancelled after it still is.
followed as (
    select
        observed.client_id,
        observed.as_of_date,
        count(*) filter (
            where days.orders > 0
            and days.ordered_on <= observed.as_of_date + {{ churn_days }}
            and (days.voided_on is null or days.voided_on > observed.as_of_date + {{ churn_days }})
        ) as order_days,
        min(days.ordered_on) filter (
            where days.orders > 0
            and days.ordered_on <= observed.as_of_date + {{ churn_days }}
            and (days.voided_on is null or days.voided_on > observed.as_of_date + {{ churn_days }})
        ) as next_order_on,
        coalesce(
            sum(days.revenue) filter (where days.ordered_on <= observed.as_of_date + {{ value_days }}), 0
        ) as revenue
    from observed
    inner join days
        on
            observed.client_id = days.client_id
            and observed.as_of_date < days.ordered_on
            and observed.as_of_date + {{ [churn_days, value_days] | max }} >= days.ordered_on
    group by observed.client_id, observed.as_of_date
),

final as (
    select
        observed.client_id,
        observed.as_of_date,
        observed.churn_horizon_observed,
        observed.value_horizon_observed,
        case
            when observed.churn_horizon_observed
                then cast(case when followed.order_days > 0 then 1 else 0 end as bigint)
        end as bought_next_churn_horizon,
        case
            when observed.churn_horizon_observed
                then cast(coalesce(followed.next_order_on - observed.as_of_date, {{ churn_days }} + 1) as bigint)
        end as days_to_next_order,
        case
            when observed.value_horizon_observed then {{ amount_of('coalesce(followed.revenue, 0)') }}
        end as revenue_next_value_horizon,
        {{ currency() }} as currency
    from observed
    left join followed on observed.client_id = followed.client_id and observed.as_of_date = followed.as_of_date
)

select * from final
