"""Schemas, roles and rights in the warehouse's database: one set of statements, which may be run again at any time.

`bi_reader` (analysts and BI tools) sees `marts`, which holds no personal data. `marketing` sees that and masked
addresses. `perennial_delivery` sees addresses. None of them may log in: logins are granted to them. Nobody else sees
anything; the user of PERENNIAL_WAREHOUSE_URL owns it all.
"""

from __future__ import annotations

from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier
from perennial.warehouse.postgres.places import (
    ASKING,
    BI_READER,
    BUILT,
    DELIVERY,
    DELIVERY_ROLE,
    LATEST,
    MARKETING,
    MARKETING_ROLE,
    PAST,
    STORE,
)
from perennial.warehouse.postgres.session import Session, open_session

ROLES = {
    BI_READER: "reads what is published, no personal data",
    MARKETING_ROLE: "reads what is published, and masked addresses",
    DELIVERY_ROLE: "reads addresses, to send",
}
SCHEMAS = (
    STORE,
    *(place.prefix + schema for place in (LATEST, PAST) for schema in (*BUILT, "marts")),
    DELIVERY,
    MARKETING,
    ASKING,
)
_READS = {LATEST.marts: (BI_READER, MARKETING_ROLE), MARKETING: (MARKETING_ROLE,), DELIVERY: (DELIVERY_ROLE,)}

# Texts are compared and put into order byte by byte, as the embedded engine does it, and case is Unicode's.
_BYTE_ORDER = "select 'Z' < 'a' and '_' < 'a' and 'z' < 'é' and lower('Ж') = 'ж'"

# What people ask runs as bi_reader inside this function: no statement can change its role there, whatever it calls.
_ASK = f"""
create or replace function {ASKING}.ask(query text) returns setof record
language plpgsql security definer set search_path = marts, pg_temp as
$$ begin return query execute query; end $$
"""
_MASKED = f"""
create or replace view {MARKETING}.contacts as
select
    client_id,
    case when email like '%_@_%' then
        left(email, 1) || '***@' || left(split_part(email, '@', 2), 1) || '***.' ||
        reverse(split_part(reverse(split_part(email, '@', 2)), '.', 1))
    end as email,
    case when length(phone) > 6 then repeat('*', length(phone) - 2) || right(phone, 2) end as phone
from {DELIVERY}.contacts
where run_id = (select run_id from {DELIVERY}.current_run)
"""
CONTACTS = "run_id text, client_id text, first_name text, last_name text, email text, phone text, birth_date date"


def require_byte_order(session: Session) -> None:
    """Raise ContractViolation when the database does not compare texts byte by byte: lists would be others."""
    is_utf8 = session.value("select current_setting('server_encoding')") == "UTF8"
    if not is_utf8 or not session.value(_BYTE_ORDER):
        name = session.value("select current_database()")
        fix = (
            f"create it so: create database {identifier(name)} template template0 encoding 'UTF8' "
            "locale_provider builtin builtin_locale 'C.UTF-8' lc_collate 'C' lc_ctype 'C'"
        )
        raise ContractViolation(Problem(f"database {name}", "texts are not compared byte by byte in UTF-8", fix))


def make_schemas(session: Session) -> None:
    """Create the schemas that are missing. Raises ContractViolation, with the grants, when the user may not."""
    known = {row[0] for row in session.rows("select nspname from pg_namespace")}
    missing = [name for name in SCHEMAS if name not in known]
    if missing and not session.value("select has_database_privilege(current_database(), 'create')"):
        user, database = session.rows("select current_user, current_database()")[0]
        grant = f"grant create, temporary on database {identifier(database)} to {identifier(user)}"
        problem = f"{user} may not create the schemas {', '.join(missing)}"
        raise ContractViolation(Problem(f"database {database}", problem, grant))
    for name in missing:
        session.execute(f"create schema {identifier(name)}")


def initialise(settings: Settings) -> list[str]:
    """Make schemas, roles and rights; gives a sentence for each role, as it is now.

    Raises ContractViolation with the statements that someone with more rights must run, when the user may not.
    """
    with open_session(settings) as session:
        require_byte_order(session)
        make_schemas(session)
        _make_roles(session)
        _make_contacts(session)
        grant_rights(session)
        session.commit()
        found = {row[0] for row in session.rows("select rolname from pg_roles")}
    return [f"{role}: {meaning}" for role, meaning in ROLES.items() if role in found]


def ensure(session: Session) -> None:
    """What `initialise` does, as far as the user may: a publication waits for no administrator."""
    make_schemas(session)
    if _may_make_roles(session):
        _make_roles(session)
    _make_contacts(session)
    grant_rights(session)


def _may_make_roles(session: Session) -> bool:
    return bool(session.value("select rolcreaterole or rolsuper from pg_roles where rolname = current_user"))


def _make_roles(session: Session) -> None:
    missing = [role for role in ROLES if not _exists(session, role)]
    if missing and not _may_make_roles(session):
        user = session.value("select current_user")
        raise ContractViolation(
            [
                Problem(
                    "perennial warehouse init",
                    f"{user} may not create the role {role}",
                    f"let an administrator run: create role {role} nologin; grant {role} to {identifier(user)}",
                )
                for role in missing
            ]
        )
    for role in missing:
        session.execute(f"create role {role} nologin")
        session.execute(f"grant {role} to current_user")
        session.execute(f"comment on role {role} is 'Perennial: {ROLES[role]}'")


def _exists(session: Session, role: str) -> bool:
    return bool(session.value("select exists (select from pg_roles where rolname = $1)", [role]))


def _make_contacts(session: Session) -> None:
    session.execute(f"create table if not exists {DELIVERY}.contacts ({CONTACTS})")
    session.execute(f"create index if not exists contacts_run on {DELIVERY}.contacts (run_id)")
    session.execute(f"create table if not exists {DELIVERY}.current_run (run_id text)")
    session.execute(_MASKED)


def grant_rights(session: Session) -> None:
    """Grant each role that is there what it may read, and nobody else anything."""
    for schema in SCHEMAS:
        session.execute(f"revoke all on schema {identifier(schema)} from public")
    for schema, readers in _READS.items():
        for role in readers:
            if _exists(session, role):
                session.execute(f"grant usage on schema {schema} to {role}")
                session.execute(f"grant select on all tables in schema {schema} to {role}")
    if _exists(session, BI_READER):
        _make_ask(session)


def _make_ask(session: Session) -> None:
    """The function through which people ask, owned by bi_reader: it has that role's rights and no others."""
    owner = session.value(
        "select pg_get_userbyid(proowner) from pg_proc where proname = 'ask' and pronamespace = $1::regnamespace",
        [ASKING],
    )
    if owner == BI_READER:
        return
    session.execute(_ASK)
    session.execute(f"revoke all on function {ASKING}.ask(text) from public")
    session.execute(f"grant usage, create on schema {ASKING} to {BI_READER}")
    session.execute(f"alter function {ASKING}.ask(text) owner to {BI_READER}")
    session.execute(f"revoke create on schema {ASKING} from {BI_READER}")
