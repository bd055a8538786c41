with

deals as (
    select
        *,
        {{ deal_outcome('stage') }} as outcome
    from {{ ref('stg_crm__deals') }}
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
        deals.amount,
        {{ currency() }} as currency
    from deals
    left join identified on deals.client_ref = identified.client_ref
)

select * from final
