"""Reading databases: any SQLAlchemy URL, read-only, in one snapshot, to Parquet files in bounded memory.

`incremental` reads the rows whose watermark lies between the last one seen (less a look-back) and the newest there is;
`snapshot` reads everything, compares it with the last snapshot, and gives the rows that changed and the keys that went.
Secrets come from the connection (L22), identifiers are quoted, values are bound, a query is only ever wrapped (L23).
"""

from __future__ import annotations

from perennial.sources.database.checks import check
from perennial.sources.database.fetch import fetch

__all__ = ["check", "fetch"]
