{#- How the warehouse follows what changed (L4). A build is FULL (`--full-refresh`), or a CHANGE of the last complete
    build: the var `previous_as_of` is then its date. In a CHANGE the models `int_*_changed` name the units (orders,
    clients, days) of which anything may have changed, and a model of history
        config(materialized='incremental', incremental_strategy='replace_units',
               meta={'units': {'int_clients_changed': {'client_id': 'client_id'}}, 'zone': 'ordered_on'})
    gives the rows of those units alone (`where {{ in_changed(...) }}`). They take the place of all rows that the table
    has of these units, in one transaction: a unit that is gone has none afterwards. -#}

{#- Whether this is a CHANGE. A table of history that is not there cannot be changed: that is told, not built in part. -#}
{%- macro is_change() -%}
    {%- set is_one = var('previous_as_of', none) is not none and not flags.FULL_REFRESH -%}
    {%- set has_table = model.resource_type == 'model' and model.config.materialized == 'incremental' -%}
    {%- if is_one and execute and has_table and not is_incremental() -%}
        {{ exceptions.raise_compiler_error(this ~ ' is not there to be changed; build with --full-refresh') }}
    {%- endif -%}
    {{ return(is_one) }}
{%- endmacro -%}

{#- A condition: the row is of a changed unit. `columns`: {column of the units: SQL of the row}. True in a FULL build. -#}
{%- macro in_changed(units, columns) -%}
    {%- set relation = ref_of_units(units) -%}
    {%- if is_change() -%}
        ({{ columns.values() | join(', ') }}) in (select {{ columns | join(', ') }} from {{ relation }})
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}

{#- The units; always a ref, so that dbt knows of it. Only a unit test that says nothing of changes need not give them. -#}
{%- macro ref_of_units(units) -%}
    {{ return(none if model.resource_type == 'unit_test' and not is_change() else ref(units)) }}
{%- endmacro -%}

{#- A condition: the date lies between the first and the last changed business day; `until=false`: not before the first.
    The bounds are asked for before and written as literals, so that an engine reads only the blocks of a table that may
    hold such rows. -#}
{%- macro in_changed_days(column, until=true) -%}
    {%- set relation = ref_of_units('int_days_changed') -%}
    {%- if is_change() and execute -%}
        {%- set row = run_query('select min(business_date), max(business_date) from ' ~ relation).rows[0] -%}
        {%- if row[0] is none -%}
            false
        {%- else -%}
            {{ column }} >= {{ date_literal((row[0] | string)[:10]) }}
            {%- if until %} and {{ column }} <= {{ date_literal((row[1] | string)[:10]) }}{% endif -%}
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}

{#- A condition: the row, of a table with such `units` and `zone` in its meta, is of a changed unit. True in a FULL build. -#}
{%- macro is_changed_row(units, zone=none) -%}
    {%- set conditions = [] -%}
    {%- for relation, pairs in units.items() -%}
        {%- set columns = {} -%}
        {%- for own, theirs in pairs.items() -%}
            {%- do columns.update({theirs: own}) -%}
        {%- endfor -%}
        {%- do conditions.append(in_changed(relation, columns)) -%}
    {%- endfor -%}
    {%- if zone -%}
        {%- do conditions.append(in_changed_days(zone)) -%}
    {%- endif -%}
    {{ conditions | join(' and ') if conditions else 'true' }}
{%- endmacro -%}

{#- The strategy. meta.units: {model of changed units: {column of this table: column of the units}}, all of which must
    hold; meta.zone: a date of this table that for rows of changed units is always one of int_days_changed. -#}
{%- macro get_incremental_replace_units_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set meta = model.config.meta -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ is_changed_row(meta['units'], meta.get('zone')) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
    {{- keep_statistics(arg_dict['target_relation']) }}
{%- endmacro -%}

{#- The meta of what is kept by client and business day. -#}
{%- macro days_of_clients() -%}
    {{ return({
        'units': {
            'int_clients_changed': {'client_id': 'client_id'},
            'int_days_changed': {'ordered_on': 'business_date'},
        },
        'zone': 'ordered_on',
    }) }}
{%- endmacro -%}

{#- A table of the last complete build, for models that come before it in this one: never a ref, which would be a cycle.
    Only read in a CHANGE. -#}
{%- macro last_built(name) -%}
    {{ return(api.Relation.create(database=target.database, schema='intermediate', identifier=name)) }}
{%- endmacro -%}

{#- Whether a CHANGE goes on with one that came to no end: what that one had replaced is then no longer to be seen in
    the tables, and the units that it named count as changed too. -#}
{%- macro goes_on() -%}
    {{ return(is_change() and var('goes_on', false)) }}
{%- endmacro -%}
