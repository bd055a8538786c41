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

{#- Day and month of a date of birth in the leap year 2000, and only while the birthday is 31 days away or less: what a
    greeting needs, and not the date of birth (L22). -#}
{%- macro birthday_near(born, today) -%}
    case
        when
            abs({{ in_2000(born) }} - {{ in_2000(today) }}) <= 31
            or abs({{ in_2000(born) }} - {{ in_2000(today) }}) >= 366 - 31
            then {{ in_2000(born) }}
    end
{%- endmacro -%}

{%- macro in_2000(day) -%}
    make_date(2000, cast(extract(month from {{ day }}) as integer), cast(extract(day from {{ day }}) as integer))
{%- endmacro -%}

{#- An age that a client can have, else null: assert_ages_of_clients_are_possible counts the others. -#}
{%- macro possible_age(age) -%}
    case when {{ age }} between 0 and 120 then {{ age }} end
{%- endmacro -%}
