"""Cells that no spreadsheet takes for a formula (L23).

A text cell that begins with a formula sign, also behind spaces or invisible characters and in its full-width and
small variants, gets an apostrophe in front. Numbers stay numbers: a cell that is nothing but a signed number, such
as a phone number, is left as it is. After OWASP, "CSV injection".
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_INVISIBLE = r"[\s\p{Z}\p{C}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}]*"
_SIGNS = r"[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}\x{FE66}\x{FE62}\x{FE63}\x{FE6B}\x{2212}]"
_DANGEROUS = rf"\A{_INVISIBLE}{_SIGNS}"
_ESCAPED = rf"\A'*{_INVISIBLE}{_SIGNS}"
_NUMBER = r"\A[+-]?[0-9]+([.,][0-9]+)?\z"


def safe_texts(texts: pa.Array) -> pa.Array:
    """The strings of `texts`, each that could be read as a formula with an apostrophe in front; nulls stay null."""
    dangerous = pc.match_substring_regex(texts, _DANGEROUS)
    if not pc.any(dangerous).as_py():
        return texts
    number = pc.match_substring_regex(texts, _NUMBER)
    prefixed = pc.binary_join_element_wise(pa.scalar("'", texts.type), texts, pa.scalar("", texts.type))
    return pc.if_else(pc.and_not(dangerous, number), prefixed, texts)


def safe_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with every text column made safe; columns of other types are as they were."""
    columns = [safe_texts(column) if pa.types.is_string(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def escaped_texts(texts: pa.Array) -> pa.Array:
    """The strings as `safe_texts` makes them, and so that `restored_texts` gives the same strings back in every case.

    A text that begins with apostrophes and then a formula sign gets one more, since one will be taken away.
    """
    prefixed = pc.binary_join_element_wise(pa.scalar("'", texts.type), texts, pa.scalar("", texts.type))
    return pc.if_else(_is_escaped(texts), prefixed, texts)


def restored_texts(cells: pa.Array) -> pa.Array:
    """The strings that `escaped_texts` was given."""
    plain = pc.utf8_slice_codeunits(cells, 1)
    return pc.if_else(pc.and_(pc.starts_with(cells, "'"), _is_escaped(plain)), plain, cells)


def _is_escaped(texts: pa.Array) -> pa.Array:
    return pc.and_not(pc.match_substring_regex(texts, _ESCAPED), pc.match_substring_regex(texts, _NUMBER))
