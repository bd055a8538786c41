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
) }}
{% set kind = 'goods_number, source, client_ref, product_key, units, value' %}
{% set in_time = 'partition by ' ~ kind ~ ' order by ordered_at, is_back, order_key, file_name, file_line' %}
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

balanced as (
    select
        *,
        sum(1 - 2 * is_back) over ({{ in_time }}) as balance
    from concerned
    where line_kind <> 'return'
),

floored as (
    select
        *,
        min(balance) over ({{ in_time }} rows between unbounded preceding and 1 preceding) as lowest_before
    from balanced
),

matchable as (
    select
        *,
        row_number() over (
            partition by {{ kind }}, is_back
            order by ordered_at, order_key, file_name, file_line
        ) as k
    from floored
    where is_back = 0 or balance >= least(0, coalesce(lowest_before, 0))
),

cancelled as (
    select
        back.batch_id as back_batch_id,
        back.file_name as back_file_name,
        back.file_line as back_file_line,
        back.units as matched_units,
        {{ 'sales.' ~ line_key | join(', sales.') }}
    from matchable as sales
    inner join matchable as back using ({{ kind }}, k)
    where sales.is_back = 0 and back.is_back = 1
),

-- First in, first out: of the units that were sold in all and that came back in all, the place of each line. What came
-- back beyond what had been sold until then (excess) never finds a sale.
standing as (
    select concerned.* from concerned
    left join cancelled
        on
            concerned.batch_id = cancelled.batch_id
            and concerned.file_name = cancelled.file_name
            and concerned.file_line = cancelled.file_line
    where concerned.line_kind <> 'cancellation' and concerned.units > 0 and cancelled.batch_id is null
),

counted as (
    select
        *,
        sum(case when is_back = 0 then units else 0 end) over running as sold,
        sum(case when is_back = 1 then units else 0 end) over running as brought_back
    from standing
    window running as (
        partition by {{ goods }} order by ordered_at, is_back, order_key, file_name, file_line
        rows between unbounded preceding and current row
    )
),

covered as (
    select
        *,
        brought_back - max(greatest(brought_back - sold, 0)) over (
            partition by {{ goods }} order by ordered_at, is_back, order_key, file_name, file_line
            rows between unbounded preceding and current row
        ) as found
    from counted
),

followed as (
    select
        *,
        lag(found) over (
            partition by {{ goods }}, is_back order by ordered_at, order_key, file_name, file_line
        ) as found_before
    from covered
),

placed as (
    select
        *,
        case
            when is_back = 0 then sold - units
            else coalesce(found_before, 0)
        end as place
    from followed
),

numbered as (
    select
        *,
        sum(1 - is_back) over (
            partition by {{ goods }} order by place, is_back, ordered_at, order_key, file_name, file_line
            rows between unbounded preceding and current row
        ) as sale_number
    from placed
    where is_back = 0 or found > place
),

returned as (
    select
        back.batch_id as back_batch_id,
        back.file_name as back_file_name,
        back.file_line as back_file_line,
        back.found - back.place as matched_units,
        {{ 'sales.' ~ line_key | join(', sales.') }}
    from numbered as back
    inner join numbered as sales using ({{ goods }}, sale_number)
    where back.is_back = 1 and sales.is_back = 0
),

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
        cast(coalesce(matched.matched_units, 0) as decimal(18, 4)) as matched_units,
        {%- for column in line_key %}
        matched.{{ column }} as sale_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from concerned as back
    left join matched
        on
            back.batch_id = matched.back_batch_id
            and back.file_name = matched.back_file_name
            and back.file_line = matched.back_file_line
    where back.is_back = 1
)

select * from final
