{#- Two values in one number, so that a running maximum of the first carries the second along. Days are counted from the
    first that there is: below zero the two could not be told apart again. -#}

{%- macro day_number(day) -%}
    ({{ day }} - cast('0001-01-01' as date))
{%- endmacro -%}

{%- macro packed(high, low, size) -%}
    cast({{ high }} as bigint) * {{ size }} + {{ low }}
{%- endmacro -%}

{#- The day whose number stands in the higher part, and the one in the lower part. -#}
{%- macro high_day(packed, size) -%}
    (cast('0001-01-01' as date) + cast(({{ packed }} - mod({{ packed }}, {{ size }})) / {{ size }} as integer))
{%- endmacro -%}

{%- macro low_day(packed, size) -%}
    (cast('0001-01-01' as date) + cast(mod({{ packed }}, {{ size }}) as integer))
{%- endmacro -%}
