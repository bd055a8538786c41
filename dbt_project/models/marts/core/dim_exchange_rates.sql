with

rates as (
    select * from {{ ref('stg_finance__exchange_rates') }}
),

final as (
    select
        currency as original_currency,
        rate_on,
        lead(rate_on) over (partition by currency order by rate_on) - 1 as last_on,
        rate,
        {{ currency() }} as currency,
        source
    from rates
)

select * from final
