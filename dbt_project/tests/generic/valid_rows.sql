{#- Many rules in one scan. Fails with one row per rule that is broken: the rule, and how many rows break it.
    not_null, not_negative: columns; shares: columns that are null or in [0, 1]; rules: {sentence: SQL
    condition}; units, zone: as in unique_combination. -#}
{% test valid_rows(model, not_null=[], not_negative=[], shares=[], rules={}, units={}, zone=none) %}
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
{%- endfor %}
with

counted as (
    select
        {%- for _, broken in checks %}
        count(*) filter (where {{ broken }}) as check_{{ loop.index }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ model }}
    where {{ is_changed_row(units, zone) }}
),

named as (
    {%- for sentence, _ in checks %}
    select '{{ sentence | replace("'", "''") }}' as rule, check_{{ loop.index }} as broken_rows from counted
    {{- ' union all' if not loop.last }}
    {%- endfor %}
)

select * from named
where broken_rows > 0
{% endtest %}
