-- One row per deal of a source, as last described on the business date.
with

deals as ({{ resolved(source('raw', 'deals'), ['_source', 'deal_key'], keep='last') }}),

final as (
    select
        _source as source,
        deal_key,
        client_ref,
        product_key,
        agent_key,
        deal_name,
        stage,
        opened_on,
        closed_on,
        amount as original_amount,
        {{ original_currency('currency') }} as original_currency
    from deals
    where version_rank = 1
)

select * from final
