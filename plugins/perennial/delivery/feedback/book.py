"""The book of addresses: which clients have an address, by its key; made once for each published run of contacts.

private/contacts-<run_id>.keys, mode 600: an Arrow file, sorted by key, that is mapped into memory and searched; so a
webhook costs the same with a thousand clients and with a million. It holds salted digests and our own ids, and goes
with the run's contacts (warehouse.private.prune_contacts).
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from perennial.core.files import sync
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.delivery.feedback.addresses import CONTACTS, address_key, phone_sql
from perennial.warehouse.engine import Published

_SCHEMA = pa.schema([("address_key", pa.string()), ("client_id", pa.string())])
_MADE = "f_made"
_ROWS = 100_000
_PLAIN = "^ *[!-~]+ *$"  # what SQL makes the same of as `canonical` does


class Book:
    """Who has an address, by its key; `batches` are those of the file, in its order."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._parts = [(batch.column(0), batch.column(1)) for batch in batches if batch.num_rows]
        self._lasts = [keys[-1].as_py() for keys, _ in self._parts]

    def owners(self, keys: Collection[str]) -> dict[str, tuple[str, ...]]:
        """The clients (client_id, in order) of each key that somebody has."""
        return {key: found for key in sorted(set(keys)) if (found := tuple(self._owners(key)))}

    def _owners(self, key: str) -> Iterator[str]:
        for keys, clients in self._parts[bisect_left(self._lasts, key) :]:
            place = _first(keys, key)
            while place < len(keys) and keys[place].as_py() == key:
                yield clients[place].as_py()
                place += 1
            if place < len(keys):
                return


def _first(keys: pa.Array, key: str) -> int:
    """The first place whose key is not smaller, by halving."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle].as_py() < key:
            low = middle + 1
        else:
            high = middle
    return low


@contextmanager
def open_book(settings: Settings, published: Published, run_id: str) -> Iterator[Book]:
    """The book of a run whose addresses are registered as `f_contacts`; made when it is opened first."""
    path = settings.private_dir / f"contacts-{run_id}.keys"
    if not path.exists():
        _write(path, published, settings.salt)
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        yield Book(file.get_batch(number) for number in range(file.num_record_batches))


def _write(path: Path, published: Published, salt: str) -> None:
    """Two that make it at once write the same; each renames its own file into place."""
    others = [row for batch in published.batches(_OTHERS) for row in batch.to_pylist()]
    made = [{"address_key": address_key(salt, row["address"]), "client_id": row["client_id"]} for row in others]
    published.register(_MADE, pa.Table.from_pylist(made, schema=_SCHEMA))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    being_made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    being_made.touch(mode=0o600)
    with pa.OSFile(str(being_made), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for batch in published.batches(_keys_sql(salt), rows=_ROWS):
            writer.write_batch(batch.cast(_SCHEMA))
    sync(being_made)
    being_made.replace(path)


def _keys_sql(salt: str) -> str:
    """All keys in order; those of plain ASCII addresses are made by the engine itself."""
    key = f"md5(concat_ws(chr(31), {literal(salt)}, 'address', address))"
    return f"""
select distinct address_key, client_id
from (
    select {key} as address_key, client_id
    from (
        select client_id, lower(trim(email)) as address from {CONTACTS}
        where regexp_full_match(email, {literal(_PLAIN)})
        union all
        select client_id, {phone_sql("phone")} as address from {CONTACTS} where phone is not null
    ) as said
    union all
    select address_key, client_id from {_MADE}
) as everyone
order by address_key, client_id
"""


_OTHERS = f"""
select client_id, email as address from {CONTACTS}
where email is not null and not regexp_full_match(email, {literal(_PLAIN)})
order by client_id
"""
