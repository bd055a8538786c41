"""Whose an address is: looked up in the private store of contacts, kept nowhere (L22).

What is written down of an address is a salted digest of its canonical form, so that an event whose client is found
later can still be given to her.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping

import pyarrow as pa

from perennial.warehouse.engine import Published

CONTACTS = "f_contacts"  # the run's addresses, registered by the caller
_WANTED = "f_wanted"
_ALIASES = "client_aliases"
_PHONE_SIGNS = "+0123456789"


def canonical(address: str) -> str:
    """An address as it is compared: without spaces, lower case, its domain in ASCII; a phone number as its digits."""
    text = unicodedata.normalize("NFC", address).strip().lower()
    local, at, domain = text.rpartition("@")
    if at:
        return f"{local}@{_ascii(domain)}"
    return "".join(sign for sign in text if sign in _PHONE_SIGNS)


def address_key(salt: str, address: str) -> str:
    """What is kept of an address: nobody without the salt finds it by trying. As `book` makes it in SQL."""
    text = "\x1f".join((salt, "address", canonical(address)))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def phone_sql(column: str) -> str:
    """SQL for the canonical form of a phone number."""
    return f"regexp_replace({column}, '[^0-9+]', '', 'g')"


def records(published: Published, client_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every record (client_ref) of these clients, themselves first: what one withdraws, all of them do (L9).

    A join of records may be undone: then the word must stand with each of them.
    """
    ids = sorted(set(client_ids))
    found: dict[str, tuple[str, ...]] = {one: (one,) for one in ids}
    if not ids or _ALIASES not in published.tables():
        return found
    published.register(_WANTED, pa.table({"client_id": pa.array(ids, pa.string())}))
    query = f"select client_ref, client_id from {_ALIASES} where client_id in (select client_id from {_WANTED})"
    for row in published.query(f"{query} order by client_id, client_ref").to_pylist():
        if row["client_ref"] != row["client_id"]:
            found[row["client_id"]] = (*found[row["client_id"]], row["client_ref"])
    return found


def reachable(published: Published, client_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """Of these clients those who have an address now, each with the channels that it serves."""
    ids = sorted(set(client_ids))
    if not ids:
        return {}
    published.register(_WANTED, pa.table({"client_id": pa.array(ids, pa.string())}))
    has = "select client_id, email is not null as by_mail, phone is not null as by_phone"
    rows = published.query(f"{has} from {CONTACTS} where client_id in (select client_id from {_WANTED})").to_pylist()
    found = {}
    for row in rows:
        channels = [*(["email"] if row["by_mail"] else []), *(["sms", "call"] if row["by_phone"] else [])]
        found[row["client_id"]] = frozenset(channels)
    return found


def _ascii(domain: str) -> str:
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return domain


def first_of(owners_by_key: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """One client for each key: the first by id."""
    return {key: clients[0] for key, clients in owners_by_key.items()}
