"""What crosses rooms about identity: the map from client records to clients, and what people decided."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

# One row per record that is joined to an earlier one, or has a household or a company; every other record is a client
# of its own. No personal data: `evidence` is masked.
IDENTITY_MAP = pa.schema(
    [
        ("client_ref", pa.string()),
        ("client_id", pa.string()),
        ("rule", pa.string()),  # null where the record is joined to none
        ("evidence", pa.string()),
        ("household_id", pa.string()),
        ("company_id", pa.string()),
    ]
)
# The records of joined clients, those under their own name included: client_ref, client_id.
MEMBERS = pa.schema([("client_ref", pa.string()), ("client_id", pa.string())])


@dataclass(frozen=True)
class Decision:
    """What a person decided of two client records, and why; `merge` or `apart` (an undone decision is none)."""

    decision_id: int
    decision: str
    left_ref: str
    right_ref: str
    reason: str = ""
    decided_by: str = ""


@dataclass(frozen=True)
class IdentityChange:
    """A client record that belongs to another client than it did in the run before."""

    client_ref: str
    event: str  # merged | split
    from_client_id: str
    to_client_id: str
    because: str
