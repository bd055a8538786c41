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
