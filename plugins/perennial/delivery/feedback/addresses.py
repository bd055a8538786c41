"""Whose an address is: looked up in the private store of contacts, kept nowhere (L22).

What is written down of an address is a salted digest of its canonical form, so that an event whose client is found
later can still be given to her.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping

import pyarrow as pa

from perennial.core.ids import digest_of
from perennial.warehouse.engine import Published

CONTACTS = "f_contacts"  # the run's addresses, registered by the caller
_WANTED = "f_wanted"
_ALIASES = "client_aliases"
_KEY_LENGTH = 32
_PHONE_SIGNS = "+0123456789"


def canonical(address: str) -> str:
    """An address as it is compared: without spaces, lower case, its domain in ASCII; a phone number as its digits."""
    text = unicodedata.normalize("NFC", address).strip().lower()
    local, at, domain = text.rpartition("@")
    if at:
        return f"{local}@{_ascii(domain)}"
    return "".join(sign for sign in text if sign in _PHONE_SIGNS)


def address_key(salt: str, address: str) -> str:
    """What is kept of an address: nobody without the salt finds it by trying."""
    return digest_of([salt, "address", canonical(address)], length=_KEY_LENGTH)


def owners(published: Published, addresses: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The clients (client_id, in order) of each address, by its canonical form; `f_contacts` is registered."""
    forms = {form: canonical(address) for address in addresses for form in _forms(address)}
    if not forms:
        return {}
    wanted = pa.table({"form": pa.array(forms, pa.string()), "address": pa.array(forms.values(), pa.string())})
    published.register(_WANTED, wanted)
    rows = published.query(_OWNERS).to_pylist()
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row["address"]] = (*found.get(row["address"], ()), row["client_id"])
    return found


def owners_of_keys(published: Published, salt: str, keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The clients of each address key: every contact is looked at, in batches (L26)."""
    wanted, found = set(keys), dict[str, tuple[str, ...]]()
    for batch in published.batches(f"select client_id, email, phone from {CONTACTS} order by client_id"):
        for row in batch.to_pylist():
            for address in (row["email"], row["phone"]):
                key = address_key(salt, address) if address else ""
                if key in wanted and row["client_id"] not in found.get(key, ()):
                    found[key] = (*found.get(key, ()), row["client_id"])
    return found


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


_OWNERS = f"""
select distinct w.address, c.client_id
from (
    select client_id, lower(trim(email)) as form from {CONTACTS} where email is not null
    union all
    select client_id, regexp_replace(phone, '[^0-9+]', '', 'g') as form from {CONTACTS} where phone is not null
) as c
inner join {_WANTED} as w on w.form = c.form
order by w.address, c.client_id
"""


def _forms(address: str) -> tuple[str, ...]:
    """How the store may write the address: with its domain in ASCII or in its own script."""
    made = canonical(address)
    local, at, domain = made.rpartition("@")
    if not at:
        return (made,)
    written = unicodedata.normalize("NFC", address).strip().lower()
    return tuple(dict.fromkeys((made, written, f"{local}@{_unicode(domain)}")))


def _ascii(domain: str) -> str:
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _unicode(domain: str) -> str:
    try:
        return domain.encode().decode("idna") if "xn--" in domain else domain
    except UnicodeError:
        return domain


def first_of(owners_by_key: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """One client for each key: the first by id."""
    return {key: clients[0] for key, clients in owners_by_key.items()}
