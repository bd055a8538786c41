"""The vendor's code of an error, which may be shown: never its message, which may hold people's data (L22)."""

from __future__ import annotations

import re
from typing import Any

from perennial.sources.rest.paths import resolve

_PLACES = (
    "code", "error_code", "error.code", "errors[0].code", "errors[0].extensions.code", "error", "category",
    "subCategory", "error.type", "errors[0].type", "title", "type",
)  # fmt: skip
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\- ]{0,60}")


def code_in(envelope: Any) -> str:
    """` (CODE)`, or an empty text where the answer holds none that is surely a code."""
    for place in _PLACES:
        found = resolve(envelope, place)
        if isinstance(found, str) and _CODE.fullmatch(found):
            return f" ({found})"
    return ""
