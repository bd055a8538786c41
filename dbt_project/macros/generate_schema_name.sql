{#- A model's schema is the one that is configured for its folder, as it is written there. Under `training: true` the
    two models that training reads go to a schema of their own: their parents stay those of the day's build, and what
    the day publishes is not touched. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if var('training', false) and node.name in ['client_features', 'client_labels'] -%}
        training
    {%- elif custom_schema_name is none -%}
        {{ target.schema }}
    {%- else -%}
        {{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
