"""What every connector does with the rows of a chunk before it calls: addresses, values, and what no tool can take."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import idna

from perennial.delivery.tools.records import Cell, Contact, RowOutcome

_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_DOMAIN = re.compile(r"(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_NULL = "\x00"

Plain = str | int | float | bool


@dataclass
class SortedRows:
    """The rows of a chunk by the address as the tool is given it (`good`), and those that cannot be handed in."""

    good: dict[str, Contact] = field(default_factory=dict)
    outcomes: list[RowOutcome] = field(default_factory=list)

    def refuse(self, address: str, code: str, words: str | None = None) -> None:
        """The tool refuses the row of this address; of one that was not handed in nothing is said."""
        contact = self.good.pop(address, None)
        if contact is not None:
            self.outcomes.append(RowOutcome(contact.client_id, "rejected", code, words))

    def accept_the_rest(self) -> tuple[RowOutcome, ...]:
        """The outcomes of all rows: those that are still good are accepted."""
        accepted = [RowOutcome(contact.client_id, "accepted") for contact in self.good.values()]
        return (*self.outcomes, *accepted)


def normal_address(address: str) -> str | None:
    """The address in lower case, its domain in ASCII (IDNA); None where no mailing tool takes it."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        return None
    try:
        written = idna.encode(domain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return None
    return f"{local.lower()}@{written}" if _DOMAIN.fullmatch(written) else None


def sort_rows(contacts: Iterable[Contact], *, longest_text: int | None = None) -> SortedRows:
    """Rows by normal address; refused with their reason: bad addresses, one address twice, null bytes, too long texts.

    `longest_text` counts the characters that a field of the tool takes.
    """
    rows = SortedRows()
    for contact in contacts:
        address = normal_address(contact.address)
        if address is None:
            words = (
                "only letters without accents, digits and .!#$%&'*+/=?^_`{|}~- stand before the @, a domain behind it"
            )
            rows.outcomes.append(RowOutcome(contact.client_id, "rejected", "bad_address", words))
        elif address in rows.good:
            rows.outcomes.append(RowOutcome(contact.client_id, "rejected", "shared_address"))
        elif wrong := _wrong_field(contact, longest_text):
            rows.outcomes.append(RowOutcome(contact.client_id, "rejected", "bad_field", wrong))
        else:
            rows.good[address] = contact
    return rows


def _wrong_field(contact: Contact, longest_text: int | None) -> str | None:
    for name, cell in contact.fields.items():
        if isinstance(cell, str) and _NULL in cell:
            return f"{name} holds a null byte, which no tool takes"
        if isinstance(cell, str) and longest_text is not None and len(cell) > longest_text:
            return f"{name} has {len(cell)} characters, and the tool takes {longest_text}"
    return None


def set_fields(contact: Contact) -> Iterator[tuple[str, Plain]]:
    """The fields that have a value, as JSON has them: what is unset or empty is not sent and erases nothing (L19)."""
    for name, cell in contact.fields.items():
        is_number = not (isinstance(cell, float) and not math.isfinite(cell))  # JSON knows no NaN
        if cell is not None and cell != "" and is_number:
            yield name, plain(cell)


def plain(cell: Cell) -> Plain:
    """A value as JSON has it: dates as ISO 8601, moments in UTC, whole decimals as integers."""
    match cell:
        case datetime():
            return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        case date():
            return cell.isoformat()
        case Decimal():
            return int(cell) if cell == cell.to_integral_value() else float(cell)
        case None:
            return ""
        case _:
            return cell
