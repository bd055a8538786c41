"""The error file of a SendGrid job: which addresses failed, and the words. Its form is not in the specification."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

from perennial.delivery.tools.words import masked

_LONGEST = 64_000_000
_GZIP = 16 + zlib.MAX_WBITS


def errors_in(content: bytes) -> Iterator[tuple[str, str]]:
    """Address and masked words of each row: CSV, a JSON array or JSON lines, packed or not; nothing of what is none."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = zlib.decompressobj(_GZIP).decompress(content, _LONGEST)
        except zlib.error:
            return
    text = content.decode("utf-8-sig", "replace")
    for row in _table(text):
        lowered = {str(key).lower(): value for key, value in row.items()}
        inner = lowered.get("contact")
        given = lowered.get("email") or (inner.get("email") if isinstance(inner, dict) else None)
        words = next((lowered[key] for key in ("error", "errors", "message", "error_message") if lowered.get(key)), "")
        if given:
            yield str(given).strip().lower(), masked(words if isinstance(words, str) else json.dumps(words))


def _table(text: str) -> Iterator[dict[str, Any]]:
    if not text.lstrip().startswith(("[", "{")):
        yield from csv.DictReader(io.StringIO(text))
        return
    whole = _json(text)
    found = whole.get("errors", [whole]) if isinstance(whole, dict) else whole
    if found is None:
        found = [_json(line) for line in text.splitlines()]
    yield from (row for row in found if isinstance(row, dict))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
