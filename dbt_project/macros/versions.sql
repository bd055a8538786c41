{#- Of the rows that were known on the business date, the one that holds for each key: the last for an entity, whose
    later versions replace earlier ones, the first for an event, which happens once. A version is later by its business
    date, then by the source's own version, then by its delivery. What its source deleted last has no row. Of several
    sources with one key the smaller precedence is believed, as long as it has the key; of equals the later date. -#}
{%- macro resolved(relation, key, keep) -%}
    {%- set own_key = key if '_source' in key else key + ['_source'] -%}
    {%- set versions = ['_business_date', '_version', '_batch_seq', '_file', '_line'] -%}
    select
        candidates.*,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by _precedence, _business_date desc, _source
        ) as version_rank
    from (
        select
            known.*,
            row_number() over (
                partition by {{ own_key | join(', ') }}
                order by {{ in_order(versions, 'desc' if keep == 'last' else 'asc') }}
            ) as rank_in_source,
            {% if keep == 'last' -%}
            known._deleted as is_gone
            {%- else -%}
            first_value(known._deleted) over (
                partition by {{ own_key | join(', ') }}
                order by {{ in_order(versions, 'desc') }}
            ) as is_gone
            {%- endif %}
        from {{ relation }} as known
        where known._business_date <= {{ as_of() }}
    ) as candidates
    where candidates.rank_in_source = 1 and not coalesce(candidates.is_gone, false)
{%- endmacro -%}

{#- Columns to order by; what is null comes before everything else. -#}
{%- macro in_order(columns, direction) -%}
    {%- for column in columns -%}
        {{ column }} {{ direction }} nulls {{ 'last' if direction == 'desc' else 'first' }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro -%}
