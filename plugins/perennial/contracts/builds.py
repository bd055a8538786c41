"""What a build of the warehouse changes against the last complete one, and what is remembered of a build for that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from perennial.contracts.entities import EntityName
from perennial.core.ids import digest_of

BuildMode = Literal["full", "change", "part"]
# The batches whose rows a build may see and the last complete one did not. `is_known`: that one had the batch, and it
# holds rows that were dated after it.
BATCHES_CHANGED = pa.schema(
    [("batch_id", pa.string()), ("batch_seq", pa.int64()), ("entity", pa.string()), ("is_known", pa.bool_())]
)


@dataclass(frozen=True)
class BuildState:
    """What a build was made from: its run, date and batches, and a digest of all else that its tables follow from."""

    run_id: str
    as_of: date
    batch_ids: tuple[str, ...]
    digest: str
    mode: BuildMode

    @property
    def build_id(self) -> str:
        """The same of builds that give the same tables, however they were made (L4)."""
        return digest_of([self.run_id, self.as_of.isoformat(), self.digest, *sorted(self.batch_ids)])


@dataclass(frozen=True)
class BuildRecord:
    """The last complete build that a build database holds, and the one begun since that may have come to no end."""

    complete: BuildState | None = None
    begun: BuildState | None = None

    def finished(self) -> BuildRecord:
        """The record once the begun build has passed its tests."""
        return BuildRecord(self.begun, None)

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps({name: _plain(getattr(self, name)) for name in ("complete", "begun")})

    @classmethod
    def from_text(cls, text: str) -> BuildRecord:
        """From JSON. Raises ValueError, KeyError or TypeError when it is no such record."""
        data = json.loads(text)
        return cls(_state(data["complete"]), _state(data["begun"]))


@dataclass(frozen=True)
class BuildChange:
    """What is built: all (`full`), a part for people, or the change of the last complete build.

    `batches` (of BATCHES_CHANGED) and `files` by entity hold what changed. `goes_on`: a change of the same build came
    to no end, and its units count as changed too. `reason` says in words why it is not a change.
    """

    mode: BuildMode
    record: BuildRecord
    reason: str = ""
    previous_as_of: date | None = None
    goes_on: bool = False
    batches: tuple[tuple[str, int, EntityName, bool], ...] = ()
    files: Mapping[EntityName, Sequence[Path]] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of dbt_project.yml that tell the models."""
        previous = self.previous_as_of.isoformat() if self.previous_as_of else None
        return {"previous_as_of": previous, "goes_on": self.goes_on}

    def batches_table(self) -> pa.Table:
        """The rows of raw.batches_changed."""
        columns = list(zip(*self.batches, strict=True)) or [(), (), (), ()]
        arrays = [pa.array(list(values), kind.type) for values, kind in zip(columns, BATCHES_CHANGED, strict=True)]
        return pa.table(arrays, schema=BATCHES_CHANGED)


FULL = BuildChange("full", BuildRecord())


def _plain(state: BuildState | None) -> dict[str, Any] | None:
    return {**asdict(state), "as_of": state.as_of.isoformat()} if state else None


def _state(data: dict[str, Any] | None) -> BuildState | None:
    if data is None:
        return None
    given = {**data, "as_of": date.fromisoformat(data["as_of"]), "batch_ids": tuple(data["batch_ids"])}
    return BuildState(**given)
