-- The three databases of docker-compose.yml and their three users, each with a password of its own. psql runs it as the
-- superuser before every start (service `databases`): what is there is kept, and the passwords become those of .env.
-- Text sorts by its bytes (C.UTF-8), as it does in the embedded stores, so that lists are the same on both.
-- psql reads the passwords from its own environment: no argument list and no log shows them.

\set ON_ERROR_STOP on
\set QUIET on
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv ledger_password LEDGER_DB_PASSWORD
\getenv warehouse_password WAREHOUSE_DB_PASSWORD
set log_statement = 'none';
set log_min_error_statement = 'panic';
set log_min_duration_statement = -1;

select format('create role %I nologin', name)
from unnest(array['airflow', 'ledger', 'warehouse']) as wanted (name)
where not exists (select from pg_roles where rolname = name) \gexec

alter role airflow login password :'airflow_password';
alter role ledger login password :'ledger_password';
alter role warehouse login password :'warehouse_password';

select format(
    'create database %I owner %I template template0 encoding ''UTF8'' locale_provider builtin builtin_locale ''C.UTF-8''',
    name,
    name
)
from unnest(array['airflow', 'ledger', 'warehouse']) as wanted (name)
where not exists (select from pg_database where datname = name) \gexec

-- Who reads the warehouse: nobody logs in as one of these, logins of people and tools are granted them. The warehouse's
-- user says what each may read (`perennial warehouse init` tells), and needs no right to make roles for it.
select format('create role %I nologin', name)
from unnest(array['bi_reader', 'marketing', 'perennial_delivery']) as wanted (name)
where not exists (select from pg_roles where rolname = name) \gexec
grant bi_reader, marketing, perennial_delivery to warehouse;

-- Each user is let into its own database only.
select format('revoke all on database %I from public', datname)
from pg_database
where datname in ('airflow', 'ledger', 'warehouse', 'postgres') \gexec
grant connect on database warehouse to bi_reader, marketing, perennial_delivery;
