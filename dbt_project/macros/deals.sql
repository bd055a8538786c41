{#- What became of a deal, from its stage: won, lost or open. The names of the stages are vars, lower case. -#}
{%- macro deal_outcome(stage) -%}
    case
        when lower({{ stage }}) in ({{ text_list(var('won_stages')) }}) then 'won'
        when lower({{ stage }}) in ({{ text_list(var('lost_stages')) }}) then 'lost'
        else 'open'
    end
{%- endmacro -%}

{#- Texts as SQL literals (L23). -#}
{%- macro text_list(texts) -%}
    {%- for text in texts %}'{{ text | string | replace("'", "''") }}'{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro -%}
