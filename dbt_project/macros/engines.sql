{#- What differs between engines stands here, one dispatched macro each. -#}

{#- The business date of a UTC timestamp without a zone: its date on the wall clock of the business zone (L25). -#}
{%- macro business_date(moment) -%}
    {%- if not modules.re.fullmatch('[A-Za-z0-9_+/-]+', var('zone')) -%}
        {{ exceptions.raise_compiler_error("zone '" ~ var('zone') ~ "' is not the name of a time zone") }}
    {%- endif -%}
    {{ return(adapter.dispatch('business_date', 'perennial')(moment, var('zone'))) }}
{%- endmacro -%}

{%- macro default__business_date(moment, zone) -%}
    cast(({{ moment }} at time zone 'UTC') at time zone '{{ zone }}' as date)
{%- endmacro -%}

{%- macro spark__business_date(moment, zone) -%}
    cast(from_utc_timestamp({{ moment }}, '{{ zone }}') as date)
{%- endmacro -%}

{#- The hour of the business day, 0 to 23, of a UTC timestamp without a zone: what the wall clock showed (L25). -#}
{%- macro business_hour(moment) -%}
    {{ return(adapter.dispatch('business_hour', 'perennial')(moment, var('zone'))) }}
{%- endmacro -%}

{%- macro default__business_hour(moment, zone) -%}
    cast(extract(hour from ({{ moment }} at time zone 'UTC') at time zone '{{ zone }}') as integer)
{%- endmacro -%}

{%- macro spark__business_hour(moment, zone) -%}
    hour(from_utc_timestamp({{ moment }}, '{{ zone }}'))
{%- endmacro -%}

{#- sum / count as an amount (as amount_of), exact and half away from zero; null where nothing was counted. Both engines
    give the same digits, which a detour over doubles would not. -#}
{%- macro average_of(sum, count) -%}
    {{ return(adapter.dispatch('average_of', 'perennial')(sum, count)) }}
{%- endmacro -%}

{%- macro default__average_of(sum, count) -%}
    cast(
        case
            when {{ sum }} is not null and {{ count }} <> 0
                then least(greatest(round({{ sum }} / nullif({{ count }}, 0), 4), -99999999999999.9999), 99999999999999.9999)
        end as decimal(18, 4)
    )
{%- endmacro -%}

{%- macro duckdb__average_of(sum, count) -%}
    {%- set ten_thousandths = 'cast(cast(%s as decimal(34, 4)) * 10000 as hugeint)' % sum -%}
    {%- set average = 'divide(2 * abs(%s) + %s, nullif(2 * %s, 0))' % (ten_thousandths, count, count) -%}
    cast(
        case
            when {{ sum }} is not null and {{ count }} <> 0
                then cast(sign({{ sum }}) * least({{ average }}, 999999999999999999) as decimal(18, 0)) * 0.0001
        end as decimal(18, 4)
    )
{%- endmacro -%}

{#- Of the rows of a group, where the condition holds, the name with the largest value; of equals the first name. -#}
{%- macro largest(name, value, condition) -%}
    {{ return(adapter.dispatch('largest', 'perennial')(name, value, condition)) }}
{%- endmacro -%}

{%- macro default__largest(name, value, condition) -%}
    (array_agg({{ name }} order by {{ value }} desc, {{ name }} asc) filter (where {{ condition }}))[1]
{%- endmacro -%}

{%- macro duckdb__largest(name, value, condition) -%}
    arg_min({{ name }}, row(-({{ value }}), {{ name }})) filter (where {{ condition }})
{%- endmacro -%}

{%- macro spark__largest(name, value, condition) -%}
    min_by({{ name }}, struct(-({{ value }}), {{ name }})) filter (where {{ condition }})
{%- endmacro -%}

{#- a / b as a double, null where b is zero or unknown: decimal division differs between engines. -#}
{%- macro ratio(a, b) -%}
    {{ return(adapter.dispatch('ratio', 'perennial')(a, b)) }}
{%- endmacro -%}

{%- macro default__ratio(a, b) -%}
    cast({{ a }} as double precision) / nullif(cast({{ b }} as double precision), 0)
{%- endmacro -%}

{%- macro spark__ratio(a, b) -%}
    cast({{ a }} as double) / nullif(cast({{ b }} as double), 0)
{%- endmacro -%}

{#- A bigint made of texts, for equal texts equal: narrow to keep and fast to look up, where a text is neither. Two keys
    may share a number, so it chooses what is looked at and decides nothing. It stays inside one build database. -#}
{%- macro key_number(columns) -%}
    {{ return(adapter.dispatch('key_number', 'perennial')(columns)) }}
{%- endmacro -%}

{%- macro default__key_number(columns) -%}
    xxhash64({{ columns | join(', ') }})
{%- endmacro -%}

{%- macro duckdb__key_number(columns) -%}
    cast(hash({{ columns | join(', ') }}) >> 1 as bigint)
{%- endmacro -%}

{%- macro postgres__key_number(columns) -%}
    hashtextextended(concat_ws(chr(31), {{ columns | join(', ') }}), 0)
{%- endmacro -%}
