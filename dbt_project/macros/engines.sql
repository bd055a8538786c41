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

{#- a / b as a double, null where b is zero or unknown: decimal division differs between engines. -#}
{%- macro ratio(a, b) -%}
    {{ return(adapter.dispatch('ratio', 'perennial')(a, b)) }}
{%- endmacro -%}

{%- macro default__ratio(a, b) -%}
    cast({{ a }} as double precision) / nullif(cast({{ b }} as double precision), 0)
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
