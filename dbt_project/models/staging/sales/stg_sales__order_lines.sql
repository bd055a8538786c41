-- One row per line of the delivery of an order that holds on the business date (macro held_lines).
with

{{ held_lines(source('raw', 'order_lines')) }},

final as (
    select
        {{ order_line_columns() }}
    from held
)

select * from final
