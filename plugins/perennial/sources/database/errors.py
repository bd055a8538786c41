"""What a database says when it refuses, as the error that tells a person what to do.

The database's own words are shown only where they name tables and columns: others may quote a value of a row (L22).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from perennial.core.errors import ConfigError, PerennialError, PermanentError, Problem, RetryableError
from perennial.sources.database.place import Place

_MYSQL = {
    "sign in": {1044, 1045, 1698, 1251},
    "database": {1049},
    "table": {1146},
    "column": {1054},
    "right": {1142, 1143, 1227},
    "syntax": {1064},
    "writes": {1792, 1290},
    "time-out": {3024, 1969},
}
_STATES = [  # the beginning of an SQLSTATE, the longest first
    ("28", "sign in"),
    ("3D", "database"),
    ("42P01", "table"),
    ("3F", "table"),
    ("42703", "column"),
    ("42501", "right"),
    ("25006", "writes"),
    ("57014", "time-out"),
    ("42", "syntax"),
    ("22", "value"),
    ("0A", "syntax"),
]
_SIGN_IN = r"password authentication failed|no pg_hba\.conf entry|role .* does not exist|no password supplied"
_NO_DATABASE = r"database .* does not exist"
_WORDS = [  # of drivers that give no code
    (_SIGN_IN, "sign in"),
    (_NO_DATABASE, "database"),
    (r"statement timeout|^interrupted", "time-out"),
    (r"no such table", "table"),
    (r"no such column", "column"),
    (r"syntax error|incomplete input", "syntax"),
    (r"readonly database", "writes"),
    (r"file is not a database", "database"),
    (r"Could not decode to UTF-8|\bERROR: ", "value"),
]
# What drivers say when a database is not there now; whatever else they say may quote a value and is not shown (L22).
_AWAY = (
    r"server closed the connection|terminating connection|connection (to server|refused|reset|timed out|not open)|"
    r"could not (connect|receive|send|translate host name)|shutting down|starting up|(in|with) recovery|"
    r"too many (clients|connections)|remaining connection slots|timeout expired|SSL|gone away|Lost connection|"
    r"Can't connect|database is locked|deadlock|serialize access|out of (shared )?memory|No space left|broken pipe"
)
_FIXES = {
    "sign in": "correct login and password of connection {id}, and let this machine sign in",
    "database": "correct the database's name (schema) in connection {id}",
    "table": "correct the query in sources.yml",
    "column": "correct the query in sources.yml",
    "right": "grant select on it to the login of connection {id}",
    "syntax": "correct the query in sources.yml",
    "writes": "a source is only ever read: take what writes out of the query",
    "value": "the query meets a value that it cannot convert: cast it in the query, or correct the row",
}
_SAFE = {"table", "column", "syntax", "writes", "right"}  # these messages quote the query, never a row


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Whatever a driver raises in here becomes ConfigError, RetryableError or PermanentError."""
    try:
        yield
    except PerennialError:
        raise
    except sa.exc.DBAPIError as error:
        raise _error(place, error.orig or error) from None
    except (sqlite3.Error, OSError) as error:
        raise _error(place, error) from None
    except Exception as error:
        if not type(error).__module__.startswith(("adbc_driver", "psycopg2", "pymysql", "pyarrow")):
            raise
        raise _error(place, error) from None


def kind_of(error: BaseException) -> str:
    """What went wrong in one word: a key of the fixes, `time-out`, or `away` for a database that is not there now."""
    number = error.args[0] if error.args else None
    for kind, numbers in _MYSQL.items():
        if isinstance(number, int) and number in numbers:
            return kind
    code = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    for prefix, kind in _STATES:
        if code.startswith(prefix):
            return kind
    text = str(error)
    if re.search(_AWAY, text, re.IGNORECASE) and not re.search(f"{_SIGN_IN}|{_NO_DATABASE}", text):
        return "away"
    return next((kind for pattern, kind in _WORDS if re.search(pattern, text, re.IGNORECASE)), "away")


def _error(place: Place, error: BaseException) -> PerennialError:
    kind = kind_of(error)
    if kind == "time-out":
        seconds = place.options.statement_timeout_seconds
        message = f"a statement ran longer than statement_timeout_seconds: {seconds:g} (connection {place.options.id})"
        fix = "put an index on the watermark, narrow the query, or raise statement_timeout_seconds in sources.yml"
        return RetryableError(Problem(place.where, message, fix))
    if kind == "away":
        said = _first_words(error) if re.search(_AWAY, str(error), re.IGNORECASE) else type(error).__name__
        message = f"the database of connection {place.options.id} is not there, or dropped us: {said}"
        return RetryableError(Problem(place.where, message, "it is tried again; see whether the database runs"))
    said = f": {_first_words(error)}" if kind in _SAFE else ""
    problem = Problem(
        place.where, f"the database refuses ({_NAMES[kind]}){said}", _FIXES[kind].format(id=place.options.id)
    )
    return PermanentError(problem) if kind == "value" else ConfigError(problem)


_NAMES = {
    "sign in": "login or password",
    "database": "no such database",
    "table": "no such table",
    "column": "no such column",
    "right": "no right to read",
    "syntax": "the query is not valid",
    "writes": "the session is read-only",
    "value": "a value cannot be converted",
}


def _first_words(error: BaseException) -> str:
    """The first line of what the driver says, without the values that it may quote behind it."""
    text = str(error.args[1]) if len(error.args) > 1 and isinstance(error.args[0], int) else str(error)
    line = next((one for one in text.splitlines() if one.strip()), type(error).__name__)
    line = re.sub(r"^(\w+: )?\[libpq\] ", "", line)
    return re.sub(r"Failed to execute query '.*': ", "", line)[:200]
