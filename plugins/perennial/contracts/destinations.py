"""The models of config/destinations.yml: one per kind of destination, told apart by `kind`.

Where a tool is and who we are there is said by a connection of Airflow (or `AIRFLOW_CONN_<ID>`), never here (L22):
`connection` names it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from perennial.contracts.connections import ConnectionId
from perennial.contracts.policy import Channel, Slug
from perennial.core.settings import Frozen

Scalar = str | int | float | bool | None


class AnyDestination(Frozen):
    """What every kind has. `campaigns` empty: all lists of its channels that no other destination names."""

    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    campaigns: tuple[Slug, ...] = ()


class OutboxConfig(AnyDestination):
    """Files below the home folder's outbox."""

    kind: Literal["outbox"]
    formats: tuple[Literal["csv", "parquet"], ...] = ("csv", "parquet")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"


class ToolConfig(AnyDestination):
    """What every tool has (delivery/tools): an account that rows are handed to in chunks.

    `fields`: our name of a column to the tool's, and no other column leaves the house; without it all go under our
    names, but `value`. `defaults`: what a missing value is instead, by our names; one without a default is left as it
    is in the tool (L19). `rate_share`: how much of the vendor's allowed rate we take.
    """

    connection: ConnectionId
    fields: dict[str, str] | None = None
    defaults: dict[str, Scalar] = Field(default_factory=dict)
    rate_share: Annotated[float, Field(gt=0, le=1)] = 0.8


class MailchimpConfig(ToolConfig):
    """Mailchimp."""

    kind: Literal["mailchimp"]


class BrevoConfig(ToolConfig):
    """Brevo."""

    kind: Literal["brevo"]


class ListmonkConfig(ToolConfig):
    """listmonk."""

    kind: Literal["listmonk"]


class SendgridConfig(ToolConfig):
    """SendGrid."""

    kind: Literal["sendgrid"]


class KlaviyoConfig(ToolConfig):
    """Klaviyo."""

    kind: Literal["klaviyo"]


class ResendConfig(ToolConfig):
    """Resend."""

    kind: Literal["resend"]


class MuseletterConfig(ToolConfig):
    """museletter."""

    kind: Literal["museletter"]


# A new kind: its model above, its name here, its constructor in delivery/destinations.py.
DestinationConfig = Annotated[
    OutboxConfig
    | MailchimpConfig
    | BrevoConfig
    | ListmonkConfig
    | SendgridConfig
    | KlaviyoConfig
    | ResendConfig
    | MuseletterConfig,
    Field(discriminator="kind"),
]


class DestinationsFile(Frozen):
    """config/destinations.yml."""

    version: Literal[1]
    destinations: dict[Slug, DestinationConfig]


def is_tool(config: Any) -> bool:
    """Whether lists are handed to a tool in chunks, and are not files."""
    return isinstance(config, ToolConfig)
