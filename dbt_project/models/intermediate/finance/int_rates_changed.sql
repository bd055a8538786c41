-- One row per currency and day whose rate is another one than in the last complete build: the orders in that currency
-- of that day change with it. Empty in a FULL build.
{{ config(materialized='table') }}
{% if is_change() %}
with

rates as (
    select
        currency,
        business_date,
        rate
    from {{ ref('int_rates_of_days') }}
),

rates_before as (
    select
        currency,
        business_date,
        rate
    from {{ last_built('int_exchange_rates') }}
),

came as (
    select * from rates
    except
    select * from rates_before
),

went as (
    select * from rates_before
    except
    select * from rates
),

changed as (
    select * from came
    union all
    select * from went
    {%- if goes_on() %}
    union all
    select
        currency,
        business_date,
        null as rate
    from {{ this }}
    {%- endif %}
)

select distinct
    currency,
    business_date
from changed
{% else %}
select
    currency,
    business_date
from {{ ref('int_rates_of_days') }}
where false
{% endif %}
