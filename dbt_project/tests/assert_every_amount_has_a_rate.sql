-- An amount of another currency without a rate of its day is told by currency and days: nothing is guessed. So is one
-- that has more digits than an amount may have once it is multiplied (quantity x unit_price, or by the rate).
with

amounts as (
    select
        'fct_order_lines' as in_table,
        original_currency,
        ordered_on as happened_on
    from {{ ref('fct_order_lines') }}
    where amount is null
    union all
    select
        'fct_spend' as in_table,
        original_currency,
        spent_on as happened_on
    from {{ ref('fct_spend') }}
    where amount is null
    union all
    select
        'fct_deals' as in_table,
        original_currency,
        coalesce(closed_on, opened_on) as happened_on
    from {{ ref('fct_deals') }}
    where amount is null and original_amount is not null
)

select
    original_currency,
    in_table,
    min(happened_on) as first_day,
    max(happened_on) as last_day,
    count(*) as amounts,
    case
        when original_currency = {{ currency() }} then 'correct these rows: their amounts have more than 14 digits'
        else 'land rates (exchange_rates) of this currency for these days or earlier'
    end as what_to_do
from amounts
group by original_currency, in_table
