-- One row per delivery of a deal that was known on the business date: the stage that it was in then.
with

deals as (
    select * from {{ source('raw', 'deals') }}
    where _business_date <= {{ as_of() }} and not coalesce(_deleted, false)
),

final as (
    select
        _source as source,
        deal_key,
        stage,
        opened_on,
        closed_on,
        _business_date as known_on,
        _batch_seq as batch_seq,
        _file as file_name,
        _line as file_line
    from deals
)

select * from final
