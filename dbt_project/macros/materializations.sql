{#- How tables and views of the build are made in DuckDB: each replaced by one statement, inside its transaction. dbt-duckdb
    makes a table under another name, renames the one before and the new one and drops the old one, each through macros of
    its own: with a hundred models that was a third of the CPU of a day with nothing new (docs/benchmarks.md).
    Hooks and contracts hold as they do there; grants, comments, partitions and SQL headers are not used here. -#}

{% materialization table, adapter='duckdb' %}
    {{ return(replaced_by_query('table')) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {{ return(replaced_by_query('view')) }}
{% endmaterialization %}

{#- A model of history: made whole as a table, or the rows of its changed units replaced (macros/incremental.sql). -#}
{% materialization incremental, adapter='duckdb' %}
    {%- if not is_incremental() -%}
        {{ return(replaced_by_query('table')) }}
    {%- endif -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set arriving = api.Relation.create(identifier=this.identifier ~ '__arriving', type='table') -%}
    {%- do run_all(pre_hooks) -%}
    {%- do adapter.execute('create or replace temp table ' ~ arriving ~ ' as ' ~ compiled_code, auto_begin=true) -%}
    {%- set columns, came = columns_made(target), columns_made(arriving) -%}
    {%- do require_contract(came) -%}
    {%- if columns | map(attribute='name') | sort != came | map(attribute='name') | sort -%}
        {{ exceptions.raise_compiler_error(this ~ ' has other columns than its model; build with --full-refresh') }}
    {%- endif -%}
    {%- set replaced = get_incremental_replace_units_sql(
        {'target_relation': target, 'temp_relation': arriving, 'dest_columns': columns}
    ) -%}
    {%- do run_main(replaced ~ '; drop table ' ~ arriving) -%}
    {%- do run_all(post_hooks) -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- A data test: one query. What dbt-core does beside it (failures kept in tables, limits) is not used here. -#}
{% materialization test, adapter='duckdb' %}
    {%- set query = get_test_sql(sql, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), none) -%}
    {%- set response, table = adapter.execute(query, fetch=true) -%}
    {%- do store_result('main', response=response, agate_table=table) -%}
    {{ return({'relations': []}) }}
{% endmaterialization %}

{#- The model's table or view in place of what there was, with its contract's columns in the contract's order. -#}
{%- macro replaced_by_query(kind) -%}
    {%- set target, before = this.incorporate(type=kind), load_cached_relation(this) -%}
    {%- if before is not none and before.type != kind -%}
        {%- do adapter.drop_relation(before) -%}
    {%- endif -%}
    {%- do run_all(pre_hooks) -%}
    {%- set query = compiled_code -%}
    {%- if config.get('contract').enforced -%}
        {%- do require_contract(adapter.get_column_schema_from_query(compiled_code)) -%}
        {%- set query = 'select ' ~ get_quoted_csv(model.columns) ~ ' from (' ~ compiled_code ~ '\n) as made' -%}
    {%- endif -%}
    {%- do run_main('create or replace ' ~ kind ~ ' ' ~ target ~ ' as ' ~ query) -%}
    {%- do run_all(post_hooks) -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{%- endmacro -%}

{%- macro run_main(query) -%}
    {%- set response, table = adapter.execute(query, auto_begin=true) -%}
    {%- do store_result('main', response=response, agate_table=table) -%}
{%- endmacro -%}

{#- Hooks that have something to say to this engine. -#}
{%- macro run_all(hooks) -%}
    {%- for hook in hooks -%}
        {%- set query = render(hook.get('sql')) | trim -%}
        {%- if query -%}
            {%- do adapter.execute(query, auto_begin=true) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro -%}

{#- The columns of a relation as it was made. -#}
{%- macro columns_made(relation) -%}
    {{ return(adapter.get_column_schema_from_query('from ' ~ relation)) }}
{%- endmacro -%}

{#- The columns of the model's contract, by the engine's names of types. -#}
{%- macro columns_promised() -%}
    {%- set types = {'text': 'varchar', 'double precision': 'double'} -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
        {%- set said = column.data_type | lower | replace(' (', '(') | replace(', ', ',') -%}
        {%- do columns.append(api.Column(column.name, types.get(said, said) | upper)) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro -%}

{#- Fails as dbt does when the model has a contract, and other columns were made than it promises. -#}
{%- macro require_contract(made) -%}
    {%- if config.get('contract').enforced -%}
        {%- set sql_columns, yaml_columns = format_columns(made), format_columns(columns_promised()) -%}
        {%- if sql_columns | map(attribute='formatted') | sort != yaml_columns | map(attribute='formatted') | sort -%}
            {%- do exceptions.raise_contract_error(yaml_columns, sql_columns) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
