{#- Currency and tax: how an amount as delivered becomes one that is counted, in the company's currency. In this order:

        lines as (... counted_amount('amount', 'tax_amount') as original_amount, original_currency('currency') ...)
        left join int_exchange_rates as rates
            on lines.original_currency = rates.currency and lines.ordered_on = rates.business_date
        ... in_company_currency('lines.original_amount', 'lines.original_currency', 'rates.rate') as amount

    int_exchange_rates has a row for every currency and day from its first rate on, so the join is one of equality; the
    company's own currency has none there and needs none. Where the rate is missing the amount is null, nothing is
    guessed: assert_every_amount_has_a_rate then stops the build and names the currency and the days. Every amount of a
    line (discount, cost, unit price) goes the same way, cost and discount without tax of their own. A rate that is
    given late or corrected changes the orders of its days: int_rates_changed (currency, business_date) names them, and
    int_orders_changed has those orders. -#}

{#- The amount with or without its tax, as the settings count it. -#}
{%- macro counted_amount(amount, tax) -%}
    {%- if var('prices_include_tax') | as_bool == var('revenue_includes_tax') | as_bool -%}
        {{ amount }}
    {%- elif var('prices_include_tax') | as_bool -%}
        {{ fitting(widened(amount) ~ ' - coalesce(' ~ tax ~ ', 0)') }}
    {%- else -%}
        {{ fitting(widened(amount) ~ ' + coalesce(' ~ tax ~ ', 0)') }}
    {%- endif -%}
{%- endmacro -%}

{#- An amount with room to compute in: DuckDB adds and multiplies two numbers of 18 digits into 18 digits, and stops where
    they do not fit. -#}
{%- macro widened(amount) -%}
    cast({{ amount }} as decimal(24, 4))
{%- endmacro -%}

{#- What was computed of amounts, as an amount; null where it has more digits than an amount may have. -#}
{%- macro fitting(computed) -%}
    cast(case when abs({{ computed }}) < 99999999999999.99995 then {{ computed }} end as decimal(18, 4))
{%- endmacro -%}

{#- The ISO 4217 code of an amount as delivered: the company's where the source gives none. -#}
{%- macro original_currency(code) -%}
    coalesce(nullif(upper(trim({{ code }})), ''), {{ currency() }})
{%- endmacro -%}

{#- An amount of another currency by the rate of its business day, half away from zero to four decimals, so that what
    came back is what was sold. Null where the rate is missing, or the amount has more digits than an amount may have. -#}
{%- macro in_company_currency(amount, code, rate) -%}
    {%- set converted = widened(amount) ~ ' * ' ~ rate -%}
    cast(
        case
            when {{ code }} = {{ currency() }} then {{ amount }}
            when abs({{ converted }}) < 99999999999999 then round({{ converted }}, 4)
        end as decimal(18, 4)
    )
{%- endmacro -%}

{#- A relation (day), one row per day from the first to the last, both dates of the relation `bounds`. -#}
{%- macro each_day(bounds, first, last) -%}
    {{ return(adapter.dispatch('each_day', 'perennial')(bounds, first, last)) }}
{%- endmacro -%}

{%- macro default__each_day(bounds, first, last) -%}
    select
        bounds.*,
        cast(series.moment as date) as day
    from {{ bounds }} as bounds
    cross join lateral generate_series(
        cast(bounds.{{ first }} as timestamp), cast(bounds.{{ last }} as timestamp), interval '1 day'
    ) as series (moment)
{%- endmacro -%}

{%- macro spark__each_day(bounds, first, last) -%}
    select
        bounds.*,
        explode(sequence(bounds.{{ first }}, bounds.{{ last }}, interval 1 day)) as day
    from {{ bounds }} as bounds
    where bounds.{{ first }} <= bounds.{{ last }}
{%- endmacro -%}
