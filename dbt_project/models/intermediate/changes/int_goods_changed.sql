-- One row per client record and product (goods_number) whose cancellations and returns have to be matched to their
-- sales anew in a CHANGE: one of them is of the time of a line that is new, gone or other than before, or later. A
-- match depends on earlier lines alone, so the sales of an ordinary day touch nobody. Empty in a FULL build.
{{ config(materialized='table') }}
{% set landed = source('raw', 'order_lines_changed') %}
{% if is_change() %}
with

-- With a line that came back from quarantine its whole delivery may be the newest again: all that the order ever had.
scanned as (
    select
        lines._source,
        lines.order_key
    from {{ landed }} as lines
    inner join {{ source('raw', 'batches_changed') }} as batches on lines._batch_id = batches.batch_id
    where lines._business_date <= {{ as_of() }} and (batches.is_known or lines._batch_seq <> batches.batch_seq)
),

delivered as (
    select * from {{ landed }}
    where _business_date <= {{ as_of() }}
    union all
    select * from {{ source('raw', 'order_lines') }}
    where
        _business_date <= {{ as_of() }}
        and (_source, order_key) in (
            select
                _source,
                order_key
            from scanned
        )
),

landed as (
    select
        {{ key_number(['_source', 'order_key']) }} as order_number,
        {{ key_number(['_source', 'client_ref', 'product_key']) }} as goods_number,
        client_ref,
        line_kind,
        ordered_at
    from delivered
),

landed_orders as (
    select distinct order_number from landed
),

moved as (
    select
        goods_number,
        line_kind,
        ordered_at
    from landed
    where client_ref is not null and line_kind in ('sale', 'return', 'cancellation')
    union all
    select
        goods_number,
        line_kind,
        ordered_at
    from {{ last_built('int_order_lines_netted') }}
    where goods_number is not null and order_number in (select order_number from landed_orders)
),

since as (
    select
        goods_number,
        min(ordered_at) as since
    from moved
    group by goods_number
),

returned as (
    select
        goods_number,
        ordered_at
    from moved
    where line_kind <> 'sale'
    union all
    select
        goods_number,
        returned_at as ordered_at
    from {{ last_built('int_sales_returned') }}
),

final as (
    select since.goods_number
    from since
    inner join returned on since.goods_number = returned.goods_number and since.since <= returned.ordered_at
    {%- if goes_on() %}
    union all
    select goods_number from {{ this }}
    {%- endif %}
)

select distinct goods_number from final
{% else %}
select cast(null as bigint) as goods_number
where false
{% endif %}
