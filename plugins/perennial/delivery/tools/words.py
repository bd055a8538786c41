"""A tool's own words, as they may be kept: its code, and its sentence without addresses and numbers of people (L22)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"[^\s\"'<>()\[\]{},;:|=]+@[^\s\"'<>()\[\]{},;:|]+")
_NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")
_QUOTED = re.compile(r"\"[^\"]{3,}\"|'[^']{3,}'(?!\w)")
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\- ]{0,60}")
_LONGEST = 200


def masked(text: str) -> str:
    """The text with addresses, numbers as long as a phone's and quoted values taken out, on one line, cut short."""
    for pattern in (_ADDRESS, _QUOTED, _NUMBER):
        text = pattern.sub("***", text)
    return " ".join(text.replace("\x00", " ").split())[:_LONGEST]


def bare_link(link: str | None) -> str | None:
    """A link without what may name a person: no query, no fragment, no login."""
    if not link:
        return None
    parts = urlsplit(link)
    return masked(f"{parts.scheme}://{parts.hostname or ''}{parts.path}")


def code_in(given: Any) -> str:
    """` (code)`, or an empty text where the answer holds none that is surely a code."""
    if not isinstance(given, dict):
        return ""
    errors = given.get("errors")
    inner = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    for found in (given.get("code"), given.get("error_code"), given.get("name"), inner.get("code"), given.get("title")):
        if isinstance(found, str) and _CODE.fullmatch(found) and "@" not in found:
            return f" ({found})"
    return ""
