{#- What must hold of a table's rows, in one test: fails with one row per rule that is broken, which says how many rows
    break it. key: columns of which no two rows have the same; not_null, not_negative: columns; shares: columns that are
    null or in [0, 1]; rules: {sentence: SQL condition}. units and zone as in a model's meta (macros/incremental.sql): in a
    CHANGE only the rows of changed units are looked at, the others were when they came. -#}
{% test valid_rows(model, key, not_null=[], not_negative=[], shares=[], rules={}, units={}, zone=none) %}
{%- set checks = [] -%}
{%- for column in not_null -%}
    {%- do checks.append((column ~ ' is not null', column ~ ' is null')) -%}
{%- endfor -%}
{%- for column in not_negative -%}
    {%- do checks.append((column ~ ' is not negative', column ~ ' < 0')) -%}
{%- endfor -%}
{%- for column in shares -%}
    {%- do checks.append((column ~ ' is a share', column ~ ' < 0 or ' ~ column ~ ' > 1')) -%}
{%- endfor -%}
{%- for sentence, condition in rules.items() -%}
    {%- do checks.append((sentence, 'not (' ~ condition ~ ')')) -%}
{%- endfor -%}
{%- set looked_at -%}
from {{ model }}
    where {{ is_changed_row(units, zone) }}
{%- endset %}
with

keys as (
    select {{ key | join(', ') }}, count(*) as rows_of_key
    {{ looked_at }}
    group by {{ key | join(', ') }}
    having count(*) > 1
),

repeated as (
    select
        '{{ key | join(', ') }}: one row for each, not as for ' || min(
            {%- for column in key -%}
            coalesce(cast({{ column }} as {{ dbt.type_string() }}), 'null')
            {{- " || ', ' || " if not loop.last }}
            {%- endfor -%}
        ) as rule,
        sum(rows_of_key) as broken_rows
    from keys
){% if checks %},

counted as (
    select
        {%- for _, broken in checks %}
        count(*) filter (where {{ broken }}) as check_{{ loop.index }}{{ ',' if not loop.last }}
        {%- endfor %}
    {{ looked_at }}
),

named as (
    select
        rules.rule,
        case rules.number
            {%- for _ in checks %}
            when {{ loop.index }} then counted.check_{{ loop.index }}
            {%- endfor %}
        end as broken_rows
    from counted
    cross join (
        values
        {%- for sentence, _ in checks %}
        ({{ loop.index }}, '{{ sentence | replace("'", "''") }}'){{ ',' if not loop.last }}
        {%- endfor %}
    ) as rules (number, rule)
){% endif %}

select rule, broken_rows from repeated
where broken_rows > 0
{%- if checks %}
union all
select rule, broken_rows from named
where broken_rows > 0
{%- endif %}
{% endtest %}
