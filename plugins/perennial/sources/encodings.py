"""Telling which encoding a file looks like, when it is not in the one that its contract says."""

from __future__ import annotations

import codecs
from itertools import pairwise

_BOMS = (
    (codecs.BOM_UTF8, "utf-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x1f\x8b", "gzip, but its name does not end in .gz"),
    (b"PK\x03\x04", "a zip or Excel file"),
    (b"PAR1", "Parquet"),
)
_CYRILLIC = range(0x0400, 0x0460)
_BYTES_AROUND = 200
_ASCII_END = 128
_TOP_BITS, _CONTINUES = 0xC0, 0x80  # a byte 10xxxxxx continues a UTF-8 character


def by_mark(head: bytes) -> str:
    """The encoding that the first bytes announce: a byte order mark, or the zeros of UTF-16 text; else nothing."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    zeros = head[0::2].count(0), head[1::2].count(0)
    if max(zeros) * 6 < len(head):  # of Latin text every second byte is zero, and of other text at least the signs
        return ""
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def by_sample(sample: bytes) -> str:
    """The likeliest encoding of bytes that are not as expected: UTF-8, cp1251 for Cyrillic words, else cp1252."""
    if _is_utf8(sample):
        return "utf-8"
    high = bytes(byte for byte in sample if byte >= _ASCII_END)
    cyrillic = sum(ord(char) in _CYRILLIC for char in high.decode("cp1251", "ignore"))
    in_words = sum(a >= _ASCII_END and b >= _ASCII_END for a, b in pairwise(sample))
    # Western text has one accented letter among plain ones; Cyrillic text has nothing but high bytes in a word.
    if high and cyrillic == len(high) and in_words * 2 >= len(high):
        return "cp1251"
    return "cp1252"


def around(data: bytes, offset: int) -> bytes:
    """The bytes near the offset, for `by_sample`."""
    return data[max(0, offset - _BYTES_AROUND) : offset + _BYTES_AROUND]


def _is_utf8(sample: bytes) -> bool:
    """Whether the sample is UTF-8 with something beyond ASCII in it; cut characters at its ends do not count."""
    start = next((at for at, byte in enumerate(sample[:4]) if byte & _TOP_BITS != _CONTINUES), 0)
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(sample[start:]).isascii()
    except UnicodeDecodeError:
        return False
