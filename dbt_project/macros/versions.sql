{#- Of the rows that were known on the business date, the one that holds for each key: the last for an entity, whose
    later versions replace earlier ones, the first for an event, which happens once. -#}
{%- macro resolved(relation, key, keep) -%}
    {%- set direction = 'desc' if keep == 'last' else 'asc' -%}
    {%- set versions = ['_business_date', '_batch_seq', '_file', '_line'] -%}
    select
        *,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {% for column in versions %}{{ column }} {{ direction }}{{ ', ' if not loop.last }}{% endfor %}
        ) as version_rank
    from {{ relation }}
    where _business_date <= {{ as_of() }}
{%- endmacro -%}
