"""Rows of many past dates as one matrix with its truth, sampled so that memory is bounded."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.core.errors import ContractViolation, Problem
from perennial.scoring.features import FeatureSchema, Matrix, column, dates, to_matrix

MAX_ROWS = 200_000
Strings = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Frame:
    """Rows: `clients` (ids), `cuts` (datetime64[D]), `X` (features, then history), `label` (NaN: not observed)."""

    clients: Strings
    cuts: npt.NDArray[np.datetime64]
    X: Matrix
    label: Matrix

    def at(self, mask: npt.NDArray[np.bool_]) -> Frame:
        """The rows of the mask."""
        return Frame(self.clients[mask], self.cuts[mask], self.X[mask], self.label[mask])

    def of(self, days: tuple[date, ...]) -> Frame:
        """The rows of these cuts."""
        return self.at(np.isin(self.cuts, np.array(days, dtype="datetime64[D]")))

    def __len__(self) -> int:
        return len(self.clients)


def frame_of(
    table: pa.Table, schema: FeatureSchema, history_start: date, *, label: str | None = None, max_rows: int = MAX_ROWS
) -> Frame:
    """The table as a Frame, in the order of (date, client), at most about `max_rows` rows by a hash of client and date.

    Raises ContractViolation for a feature that is no number, or without `recency_days`.
    """
    _check_readable(schema)
    table = hashed_sample(table, max_rows).sort_by([("as_of_date", "ascending"), ("client_id", "ascending")])
    names = [name for name, _ in schema]
    return Frame(
        clients=np.asarray(table.column("client_id").to_pylist(), dtype=object),
        cuts=dates(table),
        X=to_matrix(table, names, history_start),
        label=column(table, label) if label else np.full(table.num_rows, np.nan),
    )


def _check_readable(schema: FeatureSchema) -> None:
    fix = "mend the model client_features: keys, then numbers only"
    wrong = [
        Problem(f"client_features:{name}", f"a feature must be a number, this is {kind}", fix)
        for name, kind in schema
        if kind not in ("number", "boolean")
    ]
    if "recency_days" not in [name for name, _ in schema]:
        wrong.append(Problem("client_features:recency_days", "the feature is missing; models tell clients by it", fix))
    if wrong:
        raise ContractViolation(wrong)


def hashed_sample(table: pa.Table, max_rows: int) -> pa.Table:
    """All rows, or about `max_rows` of them: the same ones whenever the same rows come, in whatever order (L2)."""
    if table.num_rows <= max_rows:
        return table
    limit = int(2**32 * max_rows / table.num_rows)
    days = dates(table).astype(str)
    keys = zip(table.column("client_id").to_pylist(), days, strict=True)
    keep = [zlib.crc32(f"{client}|{day}".encode()) < limit for client, day in keys]
    return table.filter(pa.array(keep))


def observed(frame: Frame, horizon_days: int, as_of: date) -> Frame:
    """Rows whose label is known and ends at or before `as_of`."""
    last = np.datetime64(as_of - timedelta(days=horizon_days))
    return frame.at(~np.isnan(frame.label) & (frame.cuts <= last))


def folds(clients: Strings, count: int) -> npt.NDArray[np.int64]:
    """A fold from 0 to count - 1 per row, by a hash of the client, so that all her dates fall in one."""
    names: list[Any] = clients.tolist()
    return np.array([zlib.crc32(str(name).encode()) % count for name in names], dtype=np.int64)
