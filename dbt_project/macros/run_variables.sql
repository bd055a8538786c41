{#- The vars of a run as SQL, checked before they are written into it (L23). -#}

{%- macro date_literal(value) -%}
    {%- if not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', value | string) -%}
        {{ exceptions.raise_compiler_error("'" ~ value ~ "' is not a date; give YYYY-MM-DD in as_of and as_of_dates") }}
    {%- endif -%}
    cast('{{ value }}' as date)
{%- endmacro -%}

{#- The business date of the run. -#}
{%- macro as_of() -%}
    {{ date_literal(var('as_of')) }}
{%- endmacro -%}

{#- A relation (as_of_date), one row per distinct date. -#}
{%- macro date_rows(dates) -%}
    {%- set texts = dates | map('string') | unique | sort -%}
    {%- for text in texts %}
    select {{ date_literal(text) }} as as_of_date{{ ' union all' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{#- The dates that client_features is made for: var as_of_dates, by default the business date alone. -#}
{%- macro feature_dates() -%}
    {{ return(var('as_of_dates', none) or [var('as_of')]) }}
{%- endmacro -%}

{#- A var that holds a whole number of days. -#}
{%- macro days_var(name) -%}
    {{ return(var(name) | int) }}
{%- endmacro -%}

{#- The ISO 4217 code that every amount carries. -#}
{%- macro currency() -%}
    {%- if not modules.re.fullmatch('[A-Z]{3}', var('currency')) -%}
        {{ exceptions.raise_compiler_error("currency '" ~ var('currency') ~ "' is not a code such as USD") }}
    {%- endif -%}
    cast('{{ var('currency') }}' as text)
{%- endmacro -%}
