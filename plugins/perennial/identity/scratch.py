"""Client records, normalised, in a database of their own in memory that spills to disk (L26).

`r`: one row per record, `id` counting from the earliest (the client_id of a group is that of its smallest id).
`k`: one row per record and identifying value: what (email, phone, tax, card, born_at), v, is_role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.identity import normal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

RECORDS = pa.schema(
    [
        ("client_ref", pa.string()),
        ("namespace", pa.string()),  # whose ids: sources that use the same client keys share one
        ("seq", pa.int64()),  # the batch that first had the record
        ("client_kind", pa.string()),
        ("first_name", pa.string()),
        ("last_name", pa.string()),
        ("birth_date", pa.date32()),
        ("postcode", pa.string()),
        ("company_name", pa.string()),
        ("household_key", pa.string()),
        ("company_ref", pa.string()),
    ]
)
VALUES = pa.schema(
    [("client_ref", pa.string()), ("what", pa.string()), ("value", pa.string()), ("country", pa.string())]
)
_CHUNK = 20_000
_PARTICLES = frozenset(
    [
        "al",
        "bin",
        "da",
        "de",
        "del",
        "della",
        "den",
        "der",
        "di",
        "dos",
        "du",
        "el",
        "ibn",
        "la",
        "le",
        "mac",
        "mc",
        "st",
        "ten",
        "ter",
        "van",
        "von",
        "zu",
    ]
)


@dataclass(frozen=True)
class Rules:
    """What a company may set: `max_group` records of one client, `max_shared` records of one value, further roles."""

    region: str | None = None
    max_group: int = 20
    max_shared: int = 12
    role_words: frozenset[str] = frozenset()


@contextmanager
def open_scratch(
    folder: Path | None, given: Iterable[pa.RecordBatchReader | pa.Table], rules: Rules
) -> Iterator[Connection]:
    """The normalised records; `folder` is where memory that is not enough is spilled to.

    `given`: `RECORDS`, then `VALUES`; each is used up before the next is asked for.
    """
    import duckdb

    config: dict[str, Any] = {"python_enable_replacements": False, "preserve_insertion_order": False}
    if folder is not None:
        config["temp_directory"] = str(folder)
    with duckdb.connect(":memory:", config=config) as connection:
        for table, reader in zip(("records", "vals"), given, strict=True):
            _take(connection, table, reader)
        _make_records(connection)
        _make_keys(connection, rules)
        yield connection


def _take(connection: Connection, table: str, reader: pa.RecordBatchReader | pa.Table) -> None:
    connection.register("arriving", reader)
    connection.execute(f"create temp table {table} as select * from arriving")
    connection.unregister("arriving")


def _make_records(connection: Connection) -> None:
    name = [("plain", pa.string()), ("fold", pa.string()), ("canon", pa.string())]
    people = "select first_name as a, last_name as b from records where coalesce(first_name, last_name) is not null"
    both = [(f"f_{n}", t) for n, t in name] + [(f"l_{n}", t) for n, t in name]
    _map(connection, "names", people, _person, both)
    posts = "select postcode as a from records where postcode is not null"
    _map(connection, "posts", posts, _post, [("v", pa.string())])
    companies = "select company_name as a from records where company_name is not null"
    _map(connection, "companies", companies, _company, [("v", pa.string())])
    connection.execute(_RECORDS)
    for table in ("names", "posts", "companies"):
        connection.execute(f"drop table {table}")


_RECORDS = """
create temp table r as
select
    cast(row_number() over (order by s.seq, s.client_ref) - 1 as integer) as id,
    s.client_ref as ref,
    cast(dense_rank() over (order by s.namespace) as integer) as origin,
    coalesce(lower(s.client_kind), 'person') as kind,
    n.f_plain, n.f_fold, n.f_canon, n.l_plain, n.l_fold, n.l_canon as l_stem,
    s.birth_date as birth,
    p.v as post,
    c.v as company,
    s.namespace || '|' || s.household_key as household,
    s.company_ref
from records as s
left join names as n on n.a is not distinct from s.first_name and n.b is not distinct from s.last_name
left join posts as p on p.a = s.postcode
left join companies as c on c.a = s.company_name
"""


def _make_keys(connection: Connection, rules: Rules) -> None:
    def email(text: str, _country: str | None) -> tuple[str | None, bool]:
        found = normal.email(text, rules.role_words)
        return (found.address, found.is_role) if found else (None, False)

    def phone(text: str, country: str | None) -> tuple[str | None, bool]:
        return normal.phone(text, _region(country) or rules.region), False

    makers: dict[str, Callable[[str, str | None], tuple[str | None, bool]]] = {
        "email": email,
        "phone": phone,
        "tax": lambda text, _country: (normal.tax_number(text), False),
        "card": lambda text, _country: (normal.card_number(text), False),
    }
    columns = [("v", pa.string()), ("is_role", pa.bool_())]
    connection.execute("create temp table k (id integer, what varchar, v varchar, is_role boolean)")
    for what, maker in makers.items():
        country = "country" if what == "phone" else "cast(null as varchar)"
        texts = f"select value as a, {country} as b from vals where what = '{what}'"
        _map(connection, "keyed", texts, maker, columns)
        connection.execute(
            f"insert into k select distinct r.id, '{what}', m.v, m.is_role "
            "from vals as s inner join r on r.ref = s.client_ref "
            f"inner join keyed as m on m.a = s.value and m.b is not distinct from {country} "
            f"where s.what = '{what}' and m.v is not null"
        )
        connection.execute("drop table keyed")
    born = "select id, 'born_at', birth || '|' || post, false from r where birth is not null and post is not null"
    connection.execute(f"insert into k {born}")


def _map(
    connection: Connection,
    table: str,
    source: str,
    maker: Callable[..., Sequence[Any]],
    columns: Sequence[tuple[str, pa.DataType]],
) -> None:
    """A table of the source's distinct columns (a, b) with what `maker` makes of them, in chunks."""
    arguments = [name for name, *_ in connection.execute(f"describe {source}").fetchall()]
    schema = pa.schema([*((name, pa.string()) for name in arguments), *columns])
    empty = schema.empty_table()
    connection.register("made", empty)
    connection.execute(f"create temp table {table} as select * from made")
    reading = connection.cursor()
    connection.execute(f"create temp table todo as select distinct * from ({source})")
    total = connection.execute("select count(*) from todo").fetchall()[0][0]
    for offset in range(0, total, _CHUNK):
        rows = connection.execute(
            f"select * from todo where rowid between {offset} and {offset + _CHUNK - 1}"
        ).fetchall()
        made = [(*row, *maker(*row)) for row in rows]
        arrays = [
            pa.array(list(values), field.type) for values, field in zip(zip(*made, strict=True), schema, strict=True)
        ]
        connection.register("made", pa.Table.from_arrays(arrays, schema=schema))
        connection.execute(f"insert into {table} select * from made")
    reading.close()
    connection.unregister("made")
    connection.execute("drop table todo")


def _region(country: str | None) -> str | None:
    code = (country or "").strip().upper()
    return _COUNTRIES.get(code, code if len(code) == 2 and code.isalpha() else None)  # noqa: PLR2004


_COUNTRIES = {
    "UK": "GB",
    "UNITED KINGDOM": "GB",
    "GREAT BRITAIN": "GB",
    "USA": "US",
    "UNITED STATES": "US",
    "RUSSIA": "RU",
    "РОССИЯ": "RU",
    "GERMANY": "DE",
    "DEUTSCHLAND": "DE",
    "FRANCE": "FR",
    "SPAIN": "ES",
    "ITALY": "IT",
    "NETHERLANDS": "NL",
    "EIRE": "IE",
    "IRELAND": "IE",
    "AUSTRALIA": "AU",
    "CANADA": "CA",
}


def _person(first: str | None, last: str | None) -> tuple[str | None, ...]:
    if not (first or "").strip() and last:
        first, last = _split(last)
    elif not (last or "").strip() and first:
        first, last = _split(first) if len(first.split()) > 1 else (first, None)
    one, other = normal.first_name(first), normal.last_name(last)
    return (
        *((one.plain, one.fold, one.canonical) if one else (None, None, None)),
        *((other.plain, other.fold, other.canonical) if other else (None, None, None)),
    )


def _split(full: str) -> tuple[str | None, str | None]:
    """First and last name of a whole name in one column: `Petrov, Ivan` and `Ivan Petrov`."""
    family, comma, given = full.partition(",")
    if comma and given.strip():
        return given, family
    words = full.split()
    if len(words) == 2 and words[0].lower() not in _PARTICLES:  # noqa: PLR2004
        return words[0], words[1]
    return None, full


def _post(text: str) -> tuple[str | None]:
    return (normal.postcode(text),)


def _company(text: str) -> tuple[str | None]:
    return (normal.company_name(text),)
