"""What makes an event of feedback the same event when it is read again."""

from __future__ import annotations

import hashlib
import json


def event_id(*parts: str) -> str:
    """The digest of what makes an event, for tools whose events have no id of their own."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
