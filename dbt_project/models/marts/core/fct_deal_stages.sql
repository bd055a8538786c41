-- A source that tells stages without dates is read day by day: a stage is entered on the day on which we learned of
-- it, the first one on the day on which the deal was opened, where the source says so, and the last of a deal that is
-- won or lost on the day of its close.
with

versions as (
    select
        *,
        lag(stage) over (
            partition by source, deal_key
            order by known_on, batch_seq, file_name, file_line
        ) as stage_before
    from {{ ref('stg_crm__deal_versions') }}
),

changes as (
    select
        source,
        deal_key,
        stage,
        row_number() over (
            partition by source, deal_key
            order by known_on, batch_seq, file_name, file_line
        ) as stage_number,
        case
            when {{ deal_outcome('stage') }} <> 'open' then coalesce(closed_on, known_on)
            when stage_before is null then coalesce(opened_on, known_on)
            else known_on
        end as entered_on
    from versions
    where stage_before is null or stage_before <> stage
),

final as (
    select
        source,
        deal_key,
        cast(stage_number as bigint) as stage_number,
        stage,
        entered_on,
        lead(entered_on) over (partition by source, deal_key order by stage_number) as left_on
    from changes
)

select * from final
