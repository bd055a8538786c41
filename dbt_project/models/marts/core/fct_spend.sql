with

spend as (
    select * from {{ ref('stg_marketing__spend') }}
    where spent_on <= {{ as_of() }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

final as (
    select
        spend.source,
        spend.spent_on,
        spend.spend_channel,
        spend.campaign_key,
        {{ in_company_currency('spend.original_amount', 'spend.original_currency', 'rates.rate') }} as amount,
        spend.original_amount,
        spend.original_currency,
        spend.impressions,
        spend.clicks,
        {{ currency() }} as currency
    from spend
    left join rates on spend.original_currency = rates.currency and spend.spent_on = rates.business_date
)

select * from final
