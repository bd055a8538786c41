{#- What has changed since the last complete build, for the models int_*_changed. -#}

{#- A relation (client_ref), the records that the map of identity puts to another client than the last complete build's
    did; in a CHANGE that goes on every record of either map. -#}
{%- macro identity_changes() -%}
    {%- set now, before = source('raw', 'identity_map'), source('raw', 'identity_map_built') -%}
    {%- if goes_on() -%}
    select client_ref from {{ now }}
    union all
    select client_ref from {{ before }}
    union all
    select client_ref from {{ last_built('int_clients_identified') }}
    where client_id <> client_ref
    {%- else -%}
    select client_ref from (select client_ref, client_id from {{ now }} except select client_ref, client_id from {{ before }}) as joined
    union all
    select client_ref from (select client_ref, client_id from {{ before }} except select client_ref, client_id from {{ now }}) as parted
    {%- endif -%}
{%- endmacro -%}

{#- A relation with all rows of raw.<table> that are of changed client records: of those alone that is read again. -#}
{%- macro rows_of_changed_records(table) -%}
    (
        select * from {{ source('raw', table) }}
        where client_ref in (select client_ref from {{ ref('int_records_changed') }} where is_in_crm_anew)
    )
{%- endmacro -%}

{#- A relation (product_key), the products of which the catalogue says something else than at the last complete build of
    what facts are counted by. -#}
{%- macro products_moved() -%}
    {%- set raw, changed = source('raw', 'products'), source('raw', 'products_changed') -%}
    {%- set columns = ['product_key', 'department', 'category', 'product_line', 'term_days', 'substitute_group'] | join(', ') -%}
    {%- set own = raw ~ ' where product_key in (select product_key from ' ~ changed ~ ')' -%}
    {%- set earlier -%}
        {{ own }} and _business_date <= {{ date_literal(var('previous_as_of')) }}
        and _batch_id not in (select batch_id from {{ source('raw', 'batches_changed') }} where not is_known)
    {%- endset -%}
    {%- set sides = ['(select * from ' ~ own ~ ')', '(select * from ' ~ earlier ~ ')'] -%}
    {%- for one, other in [(sides[0], sides[1]), (sides[1], sides[0])] %}
    select product_key from (
        select {{ columns }} from ({{ resolved(one, ['product_key'], keep='last') }}) as one where version_rank = 1
        except
        select {{ columns }} from ({{ resolved(other, ['product_key'], keep='last') }}) as other where version_rank = 1
    ) as moved
    {{- ' union all' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}
