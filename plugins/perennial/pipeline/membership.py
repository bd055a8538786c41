"""Publishing who is in which segment since when, and who left, as tables of the day."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.targeting.config import Targeting
from perennial.targeting.membership import TABLES, compare_memberships
from perennial.targeting.scan import Known
from perennial.warehouse.engine import Published, publish_table


def publish_memberships(
    settings: Settings, run: DayRun, published: Published, targeting: Targeting, known: Known
) -> str:
    """Publish `client_segments`, `client_segments_history` and `segment_sizes` of the run's day; gives the version.

    `published` has the temporary table of the scan. Of earlier days nothing is touched; the day planned again is the
    same again, for only what was before it is compared with (L2).
    """
    compare_memberships(published, targeting, known)
    version_id = ""
    for name, schema, query in TABLES:
        version_id = publish_table(settings, run, name, reader_of(published.batches(query), schema), step="plan")
    return version_id


def reader_of(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatchReader:
    """The batches under the contract's schema: DuckDB marks every column nullable."""
    return pa.RecordBatchReader.from_batches(
        schema, (pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in batches)
    )
