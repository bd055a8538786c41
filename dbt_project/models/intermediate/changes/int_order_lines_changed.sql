-- One row per line of a changed order as it holds today (column holds), and one per line as the last complete build had
-- it, with the client and the business day of then. Empty in a FULL build.
{{ config(materialized='table') }}
{% set names = order_line_names() %}
{% if is_change() %}
with

orders as (
    select * from {{ ref('int_orders_changed') }}
),

arrived as (
    select * from {{ source('raw', 'order_lines_changed') }}
    where (_source, order_key) in (
        select
            source,
            order_key
        from orders
        where not is_scanned
    )
    union all
    select * from {{ source('raw', 'order_lines') }}
    where (_source, order_key) in (
        select
            source,
            order_key
        from orders
        where is_scanned
    )
),

{{ held_lines('arrived') }},

latest as (
    select
        {{ order_line_columns() }}
    from held
),

before as (
    select
        lines.*,
        orders.is_scanned
    from {{ last_built('int_order_lines_netted') }} as lines
    inner join orders
        on
            lines.order_number = orders.order_number
            and lines.source = orders.source
            and lines.order_key = orders.order_key
),

contenders as (
    {%- for side, is_latest in [('latest', 1), ('before', 0)] %}
    select
        source,
        order_key,
        batch_seq,
        file_name,
        version,
        max(delivered_on) as delivered_on,
        {{ is_latest }} as is_latest
    from {{ side }}
    {{ '' if is_latest else 'where not is_scanned' }}
    group by source, order_key, batch_seq, file_name, version
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

contended as (
    select
        *,
        row_number() over (
            partition by source, order_key
            order by delivered_on desc, version desc nulls last, batch_seq desc, file_name desc, is_latest desc
        ) as contender_rank
    from contenders
),

winners as (
    select * from contended
    where contender_rank = 1
),

lines_of_orders as (
    {%- for side, is_latest in [('latest', 1), ('before', 0)] %}
    select
        {{ side }}.{{ names | join(', %s.' % side) }},
        cast(null as text) as client_id,
        true as holds
    from {{ side }}
    inner join winners on {{ side }}.source = winners.source and {{ side }}.order_key = winners.order_key
    where winners.is_latest = {{ is_latest }}
    union all
    {%- endfor %}
    select
        {{ names | join(', ') }},
        client_id,
        false as holds
    from before
),

final as (
    select
        *,
        {{ business_date('ordered_at') }} as ordered_on,
        {{ numbers_of_line() }}
    from lines_of_orders
)

select * from final
{%- if goes_on() %}
union all
select * from {{ this }} where not holds
{%- endif %}
{% else %}
{% set _ = ref('int_orders_changed') %}
select
    {{ names | join(', ') }},
    cast(null as text) as client_id,
    false as holds,
    cast(ordered_at as date) as ordered_on,
    {{ numbers_of_line() }}
from {{ ref('stg_sales__order_lines') }}
where false
{% endif %}
