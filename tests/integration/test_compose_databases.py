"""deploy/databases.sql as the service `databases` runs it: three databases, three users, on a real PostgreSQL."""

from __future__ import annotations

import re
import subprocess

import psycopg2
import pytest

from factories.compose_stack import Stack
from perennial.core.settings import REPOSITORY

pytestmark = pytest.mark.integration

NAMES = ("airflow", "ledger", "warehouse")
PASSWORDS = {name: f"{name.upper()}_DB_PASSWORD" for name in NAMES}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("compose"))
    try:
        stack.start_database()
        stack.until_healthy("database", 30)
        done = stack.run("databases")
        assert done.returncode == 0, done.stderr
        yield stack
    finally:
        stack.close()


def _connect(stack, user, database, password=None):
    return psycopg2.connect(
        host="127.0.0.1",
        port=stack.ports[5432],
        user=user,
        dbname=database,
        password=stack.values[PASSWORDS[user]] if password is None else password,
    )


def _ask(connection, query):
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_the_servers_version_is_the_one_that_the_file_names(stack):
    version = subprocess.run(
        [stack.environment("database")["PATH"].split(":")[1] + "/postgres", "--version"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    named = stack.services["database"]["image"].split(":")[1].split("-")[0]
    assert version.split()[-1] == named
    assert stack.services["databases"]["image"] == stack.services["database"]["image"]


@pytest.mark.parametrize("name", NAMES)
def test_each_user_owns_its_database_and_makes_tables_in_it(stack, name):
    connection = _connect(stack, name, name)
    assert _ask(connection, "create table t (x int); drop table t; select current_user") == [(name,)]
    connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_L22_a_user_is_let_into_no_other_database_and_is_no_superuser(stack, name):
    for other in (*NAMES, "postgres"):
        if other != name:
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                _connect(stack, name, other)
    connection = _connect(stack, name, name)
    rights = "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls from pg_roles where rolname = current_user"
    assert _ask(connection, rights) == [(False, False, False, False)]
    connection.close()


def test_L22_readers_of_the_warehouse_are_roles_that_are_granted_and_nobody_logs_in_as_them(stack):
    from perennial.warehouse.postgres.roles import ROLES

    connection = _connect(stack, "warehouse", "warehouse")
    granted = """select r.rolname, r.rolcanlogin, has_database_privilege(r.oid, 'warehouse', 'connect')
                 from pg_roles r join pg_auth_members m on m.roleid = r.oid
                 where m.member = 'warehouse'::regrole"""
    assert sorted(_ask(connection, granted)) == [(role, False, True) for role in sorted(ROLES)]
    connection.close()


def test_the_warehouses_user_makes_schemas_and_rights_with_no_more_rights_than_it_has(stack):
    stack.services["cli"]["command"] = [*stack.services["cli"]["entrypoint"], "warehouse", "init"]
    for _again in range(2):
        done = stack.run("cli")
        assert done.returncode == 0, done.stderr
        for role in ("bi_reader", "marketing"):
            assert role in done.stdout
    connection = _connect(stack, "warehouse", "warehouse")
    assert _ask(connection, "select has_schema_privilege('bi_reader', 'marts', 'usage')") == [(True,)]
    connection.close()


def test_L22_without_the_right_password_nobody_is_let_in(stack):
    for wrong in ("", "airflow", "postgres", stack.values["LEDGER_DB_PASSWORD"]):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            _connect(stack, "airflow", "airflow", wrong or "x")


def test_L22_the_servers_log_holds_no_password(stack):
    log = stack.database_log()
    assert "alter role airflow" not in log
    assert not [name for name, value in stack.values.items() if "PASSWORD" in name and value in log]


def test_L2_text_sorts_by_its_bytes_as_in_the_embedded_stores(stack):
    connection = _connect(stack, "warehouse", "warehouse")
    texts = ["b", "B", "a", "_", "é", "Z", "10", "9"]
    values = ", ".join(f"('{text}')" for text in texts)
    found = [row[0] for row in _ask(connection, f"select x from (values {values}) as t (x) order by x")]
    connection.close()
    assert found == sorted(texts)


def test_a_backup_as_the_documents_tell_it_comes_back_whole_on_an_empty_server(stack, tmp_path_factory):
    told = (REPOSITORY / "docs/deploy.md").read_text()
    dump, restore = ("pg_dump -U postgres --format=custom", "pg_restore -U postgres --clean --if-exists --dbname")
    assert dump in told
    assert restore in told
    connection = _connect(stack, "warehouse", "warehouse")
    _ask(
        connection,
        "create schema if not exists marts; create table marts.m (x int primary key); insert into marts.m values (1), (2);"
        "grant usage on schema marts to bi_reader; grant select on marts.m to bi_reader; select 1",
    )
    connection.close()
    saved = stack.exec_database(*dump.split(), "warehouse")
    other = Stack(tmp_path_factory.mktemp("other"))
    try:
        other.start_database()
        assert other.run("databases").returncode == 0
        other.exec_database(*restore.split(), "warehouse", given=saved)
        connection = _connect(other, "warehouse", "warehouse")
        assert _ask(connection, "select sum(x), pg_get_userbyid(relowner) from marts.m, pg_class "
                    "where pg_class.oid = 'marts.m'::regclass group by 2") == [(3, "warehouse")]  # fmt: skip
        assert _ask(connection, "select has_table_privilege('bi_reader', 'marts.m', 'select')") == [(True,)]
        connection.close()
    finally:
        other.close()


def test_run_again_it_keeps_what_is_there_and_sets_the_passwords_of_env(stack):
    connection = _connect(stack, "ledger", "ledger")
    _ask(connection, "create table kept (x int); insert into kept values (7); select 1")
    connection.close()
    old = stack.values["LEDGER_DB_PASSWORD"]
    stack.set_value("LEDGER_DB_PASSWORD", "another-one_123")
    done = stack.run("databases")
    assert done.returncode == 0, done.stderr
    assert not re.search("error", done.stderr, re.IGNORECASE)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        _connect(stack, "ledger", "ledger", old)
    connection = _connect(stack, "ledger", "ledger")
    assert _ask(connection, "select x from kept") == [(7,)]
    connection.close()
