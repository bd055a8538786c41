-- One row per currency and day from its first rate to the business date: the latest rate on or before the day, so that
-- amounts are joined to it by equality. Models read it as the table int_exchange_rates.
with

rates as (
    select * from {{ ref('stg_finance__exchange_rates') }}
    where rate_on <= {{ as_of() }} and currency <> {{ currency() }}
),

spans as (
    select
        currency,
        rate,
        rate_on,
        coalesce(lead(rate_on) over (partition by currency order by rate_on) - 1, {{ as_of() }}) as last_on
    from rates
),

days as (
    {{ each_day('spans', 'rate_on', 'last_on') }}
),

final as (
    select
        currency,
        day as business_date,
        rate_on,
        rate
    from days
)

select * from final
