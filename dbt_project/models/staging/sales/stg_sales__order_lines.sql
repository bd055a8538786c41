-- One row per line of the delivery of an order that holds on the business date: a later delivery of the same order
-- replaces all its lines, equal lines inside one delivery stay. A delivery is as new as its newest line, then as the
-- source's version says. A delivery that was deleted replaces what was before it, and has no lines itself. Lines that
-- came back from quarantine bear the number of the batch that they landed with: they join their delivery.
with

-- Read twice, each time for few columns: cheaper so than kept whole.
lines as not materialized (
    select * from {{ source('raw', 'order_lines') }}
    where _business_date <= {{ as_of() }}
),

deliveries as (
    select
        _source,
        order_key,
        _batch_seq,
        _file,
        _version,
        max(_business_date) as delivered_on
    from lines
    group by _source, order_key, _batch_seq, _file, _version
),

repeated as (
    select
        _source,
        order_key
    from deliveries
    group by _source, order_key
    having count(*) > 1
),

ranked as (
    select
        deliveries.*,
        row_number() over (
            partition by deliveries._source, deliveries.order_key
            order by
                deliveries.delivered_on desc, deliveries._version desc nulls last,
                deliveries._batch_seq desc, deliveries._file desc
        ) as delivery_rank
    from deliveries
    inner join repeated on deliveries._source = repeated._source and deliveries.order_key = repeated.order_key
),

replaced as (
    select * from ranked
    where delivery_rank > 1
),

final as (
    select
        lines._source as source,
        lines.order_key,
        lines._batch_id as batch_id,
        lines._file as file_name,
        lines._line as file_line,
        lines.client_ref,
        lines.client_key,
        lines.product_key,
        lines.product_name,
        lines.store_key,
        lines.country,
        lines.ordered_at,
        lines.line_kind,
        lines.quantity,
        lines.unit_price,
        cast(coalesce(lines.amount, lines.quantity * lines.unit_price) as decimal(18, 4)) as amount,
        coalesce(lines.discount_amount, 0) as discount_amount
    from lines
    left join replaced
        on
            lines._source = replaced._source
            and lines.order_key = replaced.order_key
            and lines._batch_seq = replaced._batch_seq
            and lines._file = replaced._file
            and lines._version is not distinct from replaced._version
    where replaced.order_key is null and not coalesce(lines._deleted, false)
)

select * from final
