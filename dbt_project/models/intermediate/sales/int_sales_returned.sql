-- One row per line by which a known client brought something back, with the sale that it takes back where one is
-- found. Neither kind names its sale, and a match depends on earlier lines alone, so what was known on a date stays so
-- (L3). cancellation: of a whole line, within client, product, absolute quantity and absolute amount (hence unit
-- price): the k-th cancellation that finds an open sale takes the k-th sale. return: of any number of units, within
-- client and product, first in, first out of the sales that no cancellation took: sale_* is the line that the first
-- unit came from, matched_units says of how many units a sale was found. What finds none is older than our history; it
-- reduces revenue.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_goods_changed': {'goods_number': 'goods_number'}}},
    pre_hook='{{ joins_by_hash() }}',
) }}
{% set goods = 'goods_number, source, client_ref, product_key' %}
{% set line_key = ['order_key', 'batch_id', 'file_name', 'file_line', 'ordered_at'] %}
with

-- Read twice, and cheaper so than kept: where nothing came back neither reading touches the lines.
lines as not materialized (
    select
        {{ goods }},
        {{ line_key | join(', ') }},
        line_kind,
        abs(quantity) as units,
        abs(amount) as value,
        case when line_kind = 'sale' then 0 else 1 end as is_back
    from ({{ order_lines_at_work() }}) as at_work
    where
        client_ref is not null
        and line_kind in ('sale', 'return', 'cancellation')
        and {{ in_changed('int_goods_changed', {'goods_number': 'goods_number'}) }}
),

touched as (
    select distinct {{ goods }} from lines
    where is_back = 1
),

concerned as (
    select lines.* from lines
    inner join touched
        on
            lines.goods_number = touched.goods_number
            and lines.source = touched.source
            and lines.client_ref = touched.client_ref
            and lines.product_key = touched.product_key
),

{{ taken_back_whole(goods, line_key) }},

{{ taken_back_in_part(goods, line_key) }},

matched as (
    select * from cancelled
    union all
    select * from returned
),

final as (
    select
        back.goods_number,
        back.line_kind,
        back.source,
        back.order_key,
        back.batch_id,
        back.file_name,
        back.file_line,
        back.ordered_at as returned_at,
        {%- for column in line_key %}
        matched.{{ column }} as sale_{{ column }},
        {%- endfor %}
        cast(coalesce(matched.matched_units, 0) as decimal(18, 4)) as matched_units
    from concerned as back
    left join matched
        on
            back.batch_id = matched.back_batch_id
            and back.file_name = matched.back_file_name
            and back.file_line = matched.back_file_line
    where back.is_back = 1
)

select * from final
