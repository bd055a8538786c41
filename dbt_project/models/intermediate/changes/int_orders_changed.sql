-- One row per order of which anything may have changed since the last complete build: its lines were delivered, its
-- client was joined or split, the catalogue moved a product of it, its currency has another rate on its day, or a sale
-- of it may be taken back by another line than before. Empty in a FULL build. Where deliveries alone cannot tell which
-- lines hold today (rows that came back from quarantine, that were dated after the last build, or an order that was
-- deleted once) is_scanned says that the order is read from all of raw.
{{ config(materialized='table') }}
{% set goods, rates = ref('int_goods_changed'), ref('int_rates_changed') %}
{% set conditions = [
    'goods_number in (select goods_number from ' ~ goods ~ ')',
    'client_ref in (select client_ref from joined)',
    'product_key in (select product_key from moved)',
    '(original_currency, ordered_on) in (select currency, business_date from ' ~ rates ~ ')',
] %}
{% if is_change() %}
with

landed as (
    select
        lines._source as source,
        lines.order_key,
        max(
            case when batches.is_known or lines._batch_seq <> batches.batch_seq then 1 else 0 end
        ) as is_scanned
    from {{ source('raw', 'order_lines_changed') }} as lines
    inner join {{ source('raw', 'batches_changed') }} as batches on lines._batch_id = batches.batch_id
    where lines._business_date <= {{ as_of() }}
    group by lines._source, lines.order_key
),

deleted as (
    select distinct
        _source,
        order_key
    from {{ source('raw', 'order_lines') }}
    where _deleted
),

joined as (
    select client_ref from ({{ identity_changes() }}) as changes
),

moved as (
    select product_key from ({{ products_moved() }}) as products
),

orders as (
    select
        landed.source,
        landed.order_key,
        greatest(landed.is_scanned, case when deleted.order_key is null then 0 else 1 end) as is_scanned
    from landed
    left join deleted on landed.source = deleted._source and landed.order_key = deleted.order_key
    -- One look-up each: of those that look for nothing none is made.
    {%- for condition in conditions %}
    union all
    select
        source,
        order_key,
        0 as is_scanned
    from {{ last_built('int_order_lines_netted') }}
    where {{ condition }}
    {%- endfor %}
    {%- if goes_on() %}
    union all
    select
        source,
        order_key,
        1 as is_scanned
    from {{ this }}
    {%- endif %}
),

final as (
    select
        source,
        order_key,
        {{ key_number(['source', 'order_key']) }} as order_number,
        max(is_scanned) = 1 as is_scanned
    from orders
    group by source, order_key
)

select * from final
{% else %}
select
    cast(null as text) as source,
    cast(null as text) as order_key,
    cast(null as bigint) as order_number,
    false as is_scanned
where false
{% endif %}
