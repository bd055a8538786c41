{#- How tables of the build are made in PostgreSQL. -#}

{#- Without a log, for a crash of the server only costs the next build, which is then a full one; and by one query, which
    PostgreSQL may read in parallel, as it may not for an insert. An enforced contract's types are cast to, its names
    and types are checked before as dbt does it. (dbt-postgres creates the table first and inserts.) -#}
{%- macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set contract = config.get('contract') -%}
    create {{ 'temporary' if temporary else 'unlogged' }} table {{ relation }} as
    {%- if contract.enforced %}
    {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    {{ contract_types(sql) if contract.enforced and not temporary else sql }}
{%- endmacro -%}

{#- A view of the types that its contract says: of `case` and `coalesce` PostgreSQL forgets how many digits they have. -#}
{%- macro postgres__create_view_as(relation, sql) -%}
    {%- set contract = config.get('contract') -%}
    create view {{ relation }} as
    {%- if contract.enforced %}
    {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    {{ contract_types(sql) if contract.enforced else sql }}
{%- endmacro -%}

{#- The query with each column cast to the type of the model's contract. -#}
{%- macro contract_types(sql) -%}
    select
        {%- for column in model.columns.values() %}
        cast(typed.{{ adapter.quote(column.name) }} as {{ column.data_type }}) as {{ adapter.quote(column.name) }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from ({{ sql }}) as typed
{%- endmacro -%}

{#- After each table, where dbt makes indexes: what the planner knows of its rows, which nobody else tells it before the
    next model. A table of history is found by its dates (meta.zone) or its units from then on, so that a CHANGE reads
    little of it. -#}
{%- macro postgres__create_indexes(relation) -%}
    {%- do adapter.execute('analyze ' ~ relation, auto_begin=true) -%}
    {%- if model.config.materialized == 'incremental' -%}
        {%- set meta = model.config.meta -%}
        {%- set columns = [meta['zone']] if meta.get('zone') else (meta.get('units', {}).values() | map('list') | first) -%}
        {%- do adapter.execute('create index on ' ~ relation ~ ' (' ~ columns | join(', ') ~ ')', auto_begin=true) -%}
    {%- endif -%}
{%- endmacro -%}

{#- A further statement after rows of a table were replaced: the same of its rows now. -#}
{%- macro keep_statistics(relation) -%}
    {{ return(adapter.dispatch('keep_statistics', 'perennial')(relation)) }}
{%- endmacro -%}

{%- macro default__keep_statistics(relation) -%}
{%- endmacro -%}

{%- macro postgres__keep_statistics(relation) -%}
; analyze {{ relation }}
{%- endmacro -%}

{#- A hook before a model that joins what it has made itself, of which PostgreSQL knows no statistics and expects one row: a
    full build then compares every row with every other (minutes of a million lines). A CHANGE is small and found by index. -#}
{%- macro joins_by_hash() -%}
    {{ return(adapter.dispatch('joins_by_hash', 'perennial')()) }}
{%- endmacro -%}

{%- macro default__joins_by_hash() -%}
{%- endmacro -%}

{%- macro postgres__joins_by_hash() -%}
    {%- if not is_incremental() -%} set local enable_nestloop = off {%- endif -%}
{%- endmacro -%}
