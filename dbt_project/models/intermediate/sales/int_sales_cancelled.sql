-- One row per sale line that a later cancellation took back, with the moment of the cancellation. A cancellation names
-- no sale, so they are matched within client, product, absolute quantity and absolute amount (hence unit price): the
-- k-th cancellation that finds an open sale takes the k-th sale. One that finds none (its sale is older than our
-- history) still reduces revenue. A match depends on earlier lines alone, so what was known on a date stays so (L3).
{% set kind = 'source, client_ref, product_key, units, value' %}
{% set in_time = 'partition by ' ~ kind ~ ' order by ordered_at, is_cancellation, order_key, file_name, file_line' %}
with

-- Read twice, and cheaper so than kept: without cancellations neither reading touches the lines.
lines as not materialized (
    select
        source,
        batch_id,
        file_name,
        file_line,
        order_key,
        ordered_at,
        client_ref,
        product_key,
        abs(quantity) as units,
        abs(amount) as value,
        case when line_kind = 'cancellation' then 1 else 0 end as is_cancellation
    from {{ ref('stg_sales__order_lines') }}
    where client_ref is not null and line_kind in ('sale', 'cancellation')
),

touched as (
    select distinct {{ kind }} from lines
    where is_cancellation = 1
),

balanced as (
    select
        lines.*,
        sum(1 - 2 * is_cancellation) over ({{ in_time }}) as balance
    from lines
    inner join touched using ({{ kind }})
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
            partition by {{ kind }}, is_cancellation
            order by ordered_at, order_key, file_name, file_line
        ) as k
    from floored
    where is_cancellation = 0 or balance >= least(0, coalesce(lowest_before, 0))
),

final as (
    select
        sales.batch_id,
        sales.file_name,
        sales.file_line,
        cancellations.ordered_at as cancelled_at
    from matchable as sales
    inner join matchable as cancellations using ({{ kind }}, k)
    where sales.is_cancellation = 0 and cancellations.is_cancellation = 1
)

select * from final
