{% set starts = days_var('fiscal_year_starts') %}
with

happened as (
    select min(ordered_on) as first_on from {{ ref('fct_orders') }}
    union all
    select min(touched_on) as first_on from {{ ref('fct_touches') }}
    union all
    select min(sent_on) as first_on from {{ ref('fct_communications') }}
    union all
    select min(spent_on) as first_on from {{ ref('fct_spend') }}
    union all
    select min(contacted_on) as first_on from {{ ref('fct_campaign_contacts') }}
    union all
    select min(happened_on) as first_on from {{ ref('fct_interactions') }}
    union all
    select min(opened_on) as first_on from {{ ref('fct_deals') }}
),

-- What is dated before 1900 is a mistake of its source: the calendar does not follow it.
bounds as (
    select
        greatest(least(min(first_on), {{ as_of() }}), cast('1900-01-01' as date)) as first_on,
        {{ as_of() }} + 366 as last_on
    from happened
),

days as (
    {{ each_day('bounds', 'first_on', 'last_on') }}
),

parts as (
    select
        day,
        cast(extract(year from day) as bigint) as year,
        cast(extract(month from day) as bigint) as month,
        cast(extract(day from day) as bigint) as day_of_month,
        cast(extract(isodow from day) as bigint) as weekday,
        cast(date_trunc('month', day) as date) as month_starts_on,
        cast(date_trunc('month', day) + interval '1 month' as date) - 1 as month_ends_on
    from days
),

fiscal as (
    select
        *,
        (month + 12 - {{ starts }}) % 12 + 1 as fiscal_month,
        year + case when {{ starts }} > 1 and month >= {{ starts }} then 1 else 0 end as fiscal_year
    from parts
),

final as (
    select
        day as business_date,
        year,
        cast(extract(quarter from day) as bigint) as quarter,
        month,
        day_of_month,
        cast(extract(doy from day) as bigint) as day_of_year,
        weekday,
        cast(
            case weekday
                {%- for name in ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] %}
                when {{ loop.index }} then '{{ name }}'
                {%- endfor %}
            end as text
        ) as weekday_name,
        weekday >= 6 as is_weekend,
        cast(extract(isoyear from day) as bigint) as iso_year,
        cast(extract(week from day) as bigint) as iso_week,
        month_starts_on,
        month_ends_on,
        day = month_ends_on as is_month_end,
        day = month_ends_on and month % 3 = 0 as is_quarter_end,
        cast(month_ends_on - month_starts_on + 1 as bigint) as days_in_month,
        month = 2 and day_of_month = 29 as is_leap_day,
        fiscal_year,
        cast(floor((fiscal_month - 1) / 3.0) + 1 as bigint) as fiscal_quarter,
        cast(fiscal_month as bigint) as fiscal_month,
        day = month_ends_on and fiscal_month = 12 as is_fiscal_year_end,
        day <= {{ as_of() }} as has_happened
    from fiscal
)

select * from final
