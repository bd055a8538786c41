{#- Full years from a day to another. Who was born on a 29 February is a year older on 1 March where there is none. -#}
{%- macro full_years(since, until) -%}
    cast(
        extract(year from {{ until }}) - extract(year from {{ since }})
        - case
            when
                extract(month from {{ until }}) * 100 + extract(day from {{ until }})
                < extract(month from {{ since }}) * 100 + extract(day from {{ since }})
                then 1
            else 0
        end as bigint
    )
{%- endmacro -%}

{#- An age that a client can have, else null: assert_ages_of_clients_are_possible counts the others. -#}
{%- macro possible_age(age) -%}
    case when {{ age }} between 0 and 120 then {{ age }} end
{%- endmacro -%}
