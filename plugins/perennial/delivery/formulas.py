"""Cells that no spreadsheet takes for a formula (L23).

A text cell that begins with a formula sign, also behind spaces or invisible characters and in its full-width and
small variants, gets an apostrophe in front. Numbers stay numbers: a cell that is nothing but a signed number, such
as a phone number, is left as it is. After OWASP, "CSV injection".
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_INVISIBLE = r"[\s\p{Z}\p{C}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}]*"
_SIGNS = r"[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}\x{FE66}\x{FE62}\x{FE63}\x{FE6B}\x{2212}]"
_DANGEROUS = rf"\A{_INVISIBLE}{_SIGNS}"
_ESCAPED = rf"\A'*{_INVISIBLE}{_SIGNS}"
_NUMBER = r"\A[+-]?[0-9]+([.,][0-9]+)?\z"


# First bytes (UTF-8) that begin no sign and nothing invisible: ASCII letters and digits, Latin and Cyrillic letters.
_HARMLESS = np.zeros(256, dtype=bool)
_HARMLESS[[ord(sign) for sign in string.ascii_letters + string.digits]] = True
_HARMLESS[[*range(0xC3, 0xCA), 0xD0, 0xD1]] = True


def safe_texts(texts: pa.Array) -> pa.Array:
    """The strings of `texts`, each that could be read as a formula with an apostrophe in front; nulls stay null.

    Only those are looked at closely that do not begin with a letter or digit.
    """
    suspects = _suspects(texts)
    if not suspects.any():
        return texts
    # Not pa.array(): it would import pandas to look whether this is something of its.
    packed = pa.py_buffer(np.packbits(suspects, bitorder="little"))
    mask = pa.BooleanArray.from_buffers(pa.bool_(), len(suspects), [None, packed])
    cells = texts.filter(mask)
    wrong = pc.and_not(pc.match_substring_regex(cells, _DANGEROUS), pc.match_substring_regex(cells, _NUMBER))
    if not pc.any(wrong).as_py():
        return texts
    prefixed = pc.binary_join_element_wise(pa.scalar("'", cells.type), cells, pa.scalar("", cells.type))
    return pc.replace_with_mask(texts, mask, pc.if_else(wrong, prefixed, cells))


def _suspects(texts: pa.Array) -> Any:
    """Which rows hold a text that begins with another byte than a harmless one (one bool per row)."""
    validity, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return np.zeros(len(texts), dtype=bool)
    found = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    is_text = found[1:] > found[:-1]
    suspects = np.zeros(len(texts), dtype=bool)
    suspects[is_text] = ~_HARMLESS[np.frombuffer(data, dtype=np.uint8)[found[:-1][is_text]]]
    if texts.null_count:
        valid = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")
        suspects &= valid[texts.offset : texts.offset + len(texts)].astype(bool)
    return suspects


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
