{#- Lines of orders: which delivery of an order holds, and the rows as models read them. -#}

{#- The rows of the deliveries that hold on the business date, from a relation with the columns of raw.order_lines: a
    later delivery of the same order replaces all its lines, equal lines inside one delivery stay. A delivery is as new
    as its newest line, then as the source's version says. A delivery that was deleted replaces what was before it, and
    has no lines itself. Lines that came back from quarantine bear the number of the batch that they landed with: they
    join their delivery. CTEs that end in `held`. -#}
{%- macro held_lines(relation) -%}
-- Read twice, each time for few columns: cheaper so than kept whole.
lines as not materialized (
    select * from {{ relation }}
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

held as (
    select lines.*
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
{%- endmacro -%}

{#- The columns of an order line as models read them, from columns of raw.order_lines. -#}
{%- macro order_line_columns() -%}
        _source as source,
        order_key,
        _batch_id as batch_id,
        _file as file_name,
        _line as file_line,
        _batch_seq as batch_seq,
        _version as version,
        _business_date as delivered_on,
        client_ref,
        client_key,
        product_key,
        product_name,
        store_key,
        country,
        sales_channel,
        device,
        ordered_at,
        line_kind,
        quantity,
        unit_price,
        coalesce(amount, {{ fitting(widened('quantity') ~ ' * unit_price') }}) as amount,
        coalesce(discount_amount, 0) as discount_amount,
        coalesce(cost_amount, {{ fitting(widened('quantity') ~ ' * unit_cost') }}) as cost_amount,
        tax_amount,
        currency
{%- endmacro -%}

{#- Their names. -#}
{%- macro order_line_names() -%}
    {{ return([
        'source', 'order_key', 'batch_id', 'file_name', 'file_line', 'batch_seq', 'version', 'delivered_on', 'client_ref',
        'client_key', 'product_key', 'product_name', 'store_key', 'country', 'sales_channel', 'device', 'ordered_at',
        'line_kind', 'quantity', 'unit_price', 'amount', 'discount_amount', 'cost_amount', 'tax_amount', 'currency',
    ]) }}
{%- endmacro -%}

{#- The lines of orders that a model of history works on: all, in a CHANGE those of changed orders as they hold now.
    Beside their columns the numbers that they are looked up by: order_number, and goods_number of what can be matched
    (macro key_number), null for guests, fees and the like. -#}
{%- macro order_lines_at_work() -%}
    {%- set lines, changed = ref('stg_sales__order_lines'), ref_of_units('int_order_lines_changed') -%}
    {%- if is_change() -%}
    select * from {{ changed }} where holds
    {%- else -%}
    select
        *,
        {{ numbers_of_line() }}
    from {{ lines }}
    {%- endif -%}
{%- endmacro -%}

{%- macro numbers_of_line() -%}
        {{ key_number(['source', 'order_key']) }} as order_number,
        case
            when client_ref is not null and line_kind in ('sale', 'return', 'cancellation')
                then {{ key_number(['source', 'client_ref', 'product_key']) }}
        end as goods_number
{%- endmacro -%}
