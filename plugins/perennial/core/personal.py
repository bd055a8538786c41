"""Personal data, as it may be shown: masked (L22)."""

from __future__ import annotations

_SHOWN_DIGITS = 4


def mask_email(address: str | None) -> str:
    """`anna.b@example.com` as `a***@e***.com`; an empty address as an empty text."""
    if not address or "@" not in address:
        return "" if not address else "***"
    local, _, domain = address.partition("@")
    head, _, tail = domain.rpartition(".")
    return f"{local[:1]}***@{head[:1]}***.{tail}"


def mask_phone(number: str | None) -> str:
    """`+12025550123` as `+1***23`."""
    if not number:
        return ""
    return f"{number[:2]}***{number[-2:]}" if len(number) > _SHOWN_DIGITS else "***"
