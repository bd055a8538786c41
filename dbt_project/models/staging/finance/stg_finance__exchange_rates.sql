-- One row per currency and day for which a rate is given, as last said on the business date.
with

rates as ({{ resolved(source('raw', 'exchange_rates'), ['rate_on', 'upper(trim(currency))'], keep='last') }}),

final as (
    select
        _source as source,
        upper(trim(currency)) as currency,
        rate_on,
        rate
    from rates
    where version_rank = 1
)

select * from final
