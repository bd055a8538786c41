"""How a tool posts to us what recipients did: the part `feedback` of a destination in config/destinations.yml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perennial.contracts.connections import ConnectionId
from perennial.core.settings import Frozen


class FeedbackConfig(Frozen):
    """The tool's webhook at `/perennial/feedback/<destination>`.

    `secret` names the connection whose password is what the tool signs with (SendGrid: its public key), or the token
    that it sends (Brevo, SNS: `user:password`); its extra `previous` still counts while a secret is changed. Without
    it no webhook is taken. `window_seconds`: how old a signed call may be (against replays), where the vendor signs a
    time. `per_minute`: calls beyond it are told to come later.
    """

    secret: ConnectionId | None = None
    window_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    max_bytes: Annotated[int, Field(ge=1_000, le=50_000_000)] = 5_000_000
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 3_000
