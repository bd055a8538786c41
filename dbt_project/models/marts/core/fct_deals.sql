with

deals as (
    select
        *,
        {{ deal_outcome('stage') }} as outcome
    from {{ ref('stg_crm__deals') }}
),

-- A deal that is over is worth what it was then, one that is open what it is today.
dated as (
    select
        *,
        case
            when outcome = 'open' then {{ as_of() }}
            else least(coalesce(closed_on, opened_on, {{ as_of() }}), {{ as_of() }})
        end as valued_on
    from deals
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select
        deals.source,
        deals.deal_key,
        coalesce(identified.client_id, deals.client_ref) as client_id,
        deals.product_key,
        deals.agent_key,
        deals.deal_name,
        deals.stage,
        deals.outcome,
        deals.opened_on,
        deals.closed_on,
        cast(
            case
                when deals.outcome = 'open' then {{ as_of() }} - deals.opened_on
                else deals.closed_on - deals.opened_on
            end as bigint
        ) as days_open,
        {{ in_company_currency('deals.original_amount', 'deals.original_currency', 'rates.rate') }} as amount,
        deals.original_amount,
        deals.original_currency,
        {{ currency() }} as currency
    from dated as deals
    left join rates on deals.original_currency = rates.currency and deals.valued_on = rates.business_date
    left join identified on deals.client_ref = identified.client_ref
)

select * from final
