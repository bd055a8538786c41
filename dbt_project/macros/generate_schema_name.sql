{#- A model's schema is the one that is configured for its folder, as it is written there. In PostgreSQL what is
    published lies in `marts`, so marts are built in `build`; a past day's schemas bear a prefix of their own. Under `training: true` the
    two models that training reads go to a schema of their own: their parents stay those of the day's build, and what
    the day publishes is not touched. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set prefix = env_var('PERENNIAL_SCHEMA_PREFIX', '') -%}
    {%- if var('training', false) and node.name in ['client_features', 'client_labels'] -%}
        {{ prefix }}training
    {%- elif custom_schema_name is none -%}
        {{ target.schema }}
    {%- elif target.type == 'postgres' and custom_schema_name | trim == 'marts' -%}
        {{ prefix }}build
    {%- else -%}
        {{ prefix }}{{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
