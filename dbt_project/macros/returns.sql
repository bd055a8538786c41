{#- What takes back what, for int_sales_returned. CTEs that stand on `concerned`: the sales and what came back of the goods of
    which anything came back (is_back 0 or 1). `goods` names the columns that sale and return share, `line_key` those of
    the sale's line that are told. -#}

{#- CTEs that end in `cancelled`: cancellations, each with the whole line that it takes back. -#}
{%- macro taken_back_whole(goods, line_key) -%}
{%- set kind = goods ~ ', units, value' -%}
{%- set in_time = 'partition by ' ~ kind ~ ' order by ordered_at, is_back, order_key, file_name, file_line' -%}
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
)
{%- endmacro -%}

{#- CTEs that end in `returned`: returns, each with the line that its first unit came from. -#}
{%- macro taken_back_in_part(goods, line_key) -%}
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
)
{%- endmacro -%}
