{#- Fails with each source entity that should have delivered again: its latest batch is older than the days that are
    given for its canonical entity, counted back from the business date and never from the clock. Entities that are not
    named may be silent; the contract of a source (freshness, max_age_days) says more of its own. -#}
{% test fresh(model, days) %}
with

latest as (
    select
        source,
        source_entity,
        entity,
        max(as_of) as delivered_for
    from {{ model }}
    where state = 'committed'
    group by source, source_entity, entity
),

aged as (
    select
        *,
        {{ as_of() }} - delivered_for as days_without,
        case entity
            {%- for entity, limit in days.items() %}
            when '{{ entity }}' then {{ limit | int }}
            {%- endfor %}
        end as days_allowed
    from latest
)

select *
from aged
where days_without > days_allowed
{% endtest %}
