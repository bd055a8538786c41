"""From a connection of Airflow to a SQLAlchemy URL."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from perennial.sources.database.place import Place

_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "sqlite": "sqlite",
}
_QUERY = {  # of the connection's extra, what belongs into the URL; anything else there is not ours
    "postgresql": (
        "host", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name",
        "target_session_attrs", "gssencmode",
    ),
    "mysql": ("charset", "unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity"),
}  # fmt: skip
_SECONDS_TO_CONNECT = "15"


def url_of(place: Place) -> sa.URL:
    """The URL, with the password in it: never shown. Raises ConfigError for a connection that is not a database's."""
    connection, extra = place.connection, place.connection.extra
    given = extra.get("sqlalchemy_url")
    driver = extra.get("sqlalchemy_dialect") or _DRIVERS.get(connection.kind, connection.kind)
    try:
        if given:
            return sa.engine.make_url(str(given))
        url = sa.URL.create(
            str(driver),
            username=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
        )
        name = url.get_backend_name()
        query = {key: str(extra[key]) for key in _QUERY.get(name, ()) if key in extra}
        if name == "postgresql":
            query.setdefault("connect_timeout", _SECONDS_TO_CONNECT)
        return url.set(query=query)
    except (sa.exc.ArgumentError, ValueError, TypeError):  # its text may hold the password
        fix = "write sqlalchemy_url in its extra as dialect+driver://login:password@host/database"
        raise place.error(f"connection {place.options.id} is not that of a database", fix) from None


def sqlite_file(place: Place, url: sa.URL) -> Path:
    """The file of a SQLite connection: its schema, or its host. Raises ConfigError where there is none."""
    text = url.database or place.connection.host or ""
    path = Path(text)
    if not text or not path.is_file():
        fix = f"name it in connection {place.options.id} (sqlite:////folder/file.db)"
        raise place.error(f"there is no SQLite file {text!r}", fix)
    return path
