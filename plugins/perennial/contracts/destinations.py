"""The models of config/destinations.yml: one per kind of destination, told apart by `kind`.

Where a tool is and who we are there is said by a connection of Airflow (or `AIRFLOW_CONN_<ID>`), never here (L22):
`connection` names it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perennial.contracts.connections import ConnectionId
from perennial.contracts.feedback import FeedbackConfig
from perennial.contracts.policy import Channel, Slug
from perennial.core.settings import Frozen

Scalar = str | int | float | bool | None


class AnyDestination(Frozen):
    """What every kind has. `campaigns` empty: all lists of its channels that no other destination names."""

    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    campaigns: tuple[Slug, ...] = ()
    feedback: FeedbackConfig = FeedbackConfig()


class Script(Frozen):
    """What a person who calls is told, as templates over the list's fields."""

    why: str = ""
    say: str = ""


class SheetConfig(Frozen):
    """Sheets that people work through, beside the list's files (delivery/sheets.py).

    `capacity`: so many calls are for today, the others are a reserve (the plan's own limit is policy.yml's
    `capacity_per_day`). `hours`: when people work, from and to. `scripts` by campaign, `script` for the others.
    """

    kind: Literal["call_centre", "managers"]
    capacity: Annotated[int, Field(ge=1)] | None = None
    hour_field: str = "usual_buying_hour"
    hours: tuple[Annotated[int, Field(ge=0, le=23)], Annotated[int, Field(ge=1, le=24)]] = (9, 18)
    default_hour: Annotated[int, Field(ge=0, le=23)] = 11
    script: Script = Script()
    scripts: dict[Slug, Script] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hours_are_in_order(self) -> SheetConfig:
        if self.hours[0] >= self.hours[1]:
            raise ValueError("hours end before they begin; write [from, to]")
        return self


class FilesConfig(AnyDestination):
    """Lists as files: in which formats, and how a CSV is written (an old tool wants cp1251 and `;`)."""

    formats: tuple[Literal["csv", "parquet", "xlsx", "jsonl"], ...] = ("csv", "parquet")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    sheet: SheetConfig | None = None


class OutboxConfig(FilesConfig):
    """Files below the home folder's outbox."""

    kind: Literal["outbox"]


class RemoteFilesConfig(FilesConfig):
    """Files in a folder of another machine: `sftp://host/folder` or `s3://bucket/prefix`.

    Who we are there stands in the connection.
    """

    kind: Literal["sftp", "s3"]
    url: str
    connection: ConnectionId | None = None  # S3 without one: the machine's own credentials

    @model_validator(mode="after")
    def _is_its_kind(self) -> RemoteFilesConfig:
        if not self.url.startswith(f"{self.kind}://"):
            raise ValueError(f"the url is not of this kind; write {self.kind}://...")
        return self


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
    """Mailchimp: lists are static segments (tags) of the audience `list_id`.

    `double_opt_in`: who is new confirms by mail first. `batches`: rows go as a job that is followed, not at once.
    `create_fields`: merge fields that the audience lacks are made.
    """

    kind: Literal["mailchimp"]
    list_id: str
    double_opt_in: bool = False
    batches: bool = False
    create_fields: bool = True
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 120.0


class BrevoConfig(ToolConfig):
    """Brevo: lists stand in the folder `folder`. `create_fields`: attributes that the account lacks are made."""

    kind: Literal["brevo"]
    folder: str = "Perennial"
    create_fields: bool = True
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class ListmonkConfig(ToolConfig):
    """listmonk. `double_opt_in`: new lists ask who is new to confirm by mail."""

    kind: Literal["listmonk"]
    double_opt_in: bool = False
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class SendgridConfig(ToolConfig):
    """SendGrid. `unsubscribe_groups`: whoever leaves one of these has withdrawn (without any: one of all groups)."""

    kind: Literal["sendgrid"]
    unsubscribe_groups: tuple[int, ...] = ()
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class KlaviyoConfig(ToolConfig):
    """Klaviyo."""

    kind: Literal["klaviyo"]
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class ResendConfig(ToolConfig):
    """Resend. `reads_contacts`: whoever unsubscribed is found by reading all contacts, 100 a call, before each push."""

    kind: Literal["resend"]
    reads_contacts: bool = True
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class MuseletterConfig(ToolConfig):
    """museletter: lists are tags of its list `list` (by slug).

    `feedback_queue`: URL of an SQS queue that Amazon SES's notifications come to (by SNS); `aws_connection` opens it.
    """

    kind: Literal["museletter"]
    list: str = "default"
    feedback_queue: str | None = None
    aws_connection: ConnectionId | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class SmtpConfig(ToolConfig):
    """Direct e-mail from templates (config/templates), through the mail server of the connection.

    `sender` is `Name <address>`. `unsubscribe` is the connection that says where our endpoint is and holds the secret
    of its links; `unsubscribe_mailto` adds an address to them.
    """

    kind: Literal["smtp"]
    sender: Annotated[str, Field(pattern=r"^[^@\r\n]*[^@\s<>]+@[^@\s<>]+>?$")]
    reply_to: Annotated[str, Field(pattern=r"^[^@\r\n]*[^@\s<>]+@[^@\s<>]+>?$")] | None = None
    unsubscribe: ConnectionId = "perennial_unsubscribe"
    unsubscribe_mailto: Annotated[str, Field(pattern=r"^[^@\s<>,?]+@[^@\s<>,?]+$")] | None = None
    messages_per_second: Annotated[float, Field(gt=0, le=1000)] = 5.0
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0


class HttpCall(Frozen):
    """One call of a tool that we know by its description only (delivery/tools/generic.py).

    Every text of `body`, however deep, and of `headers` is a template over a row's fields; `{each: ...}` is a list with
    one entry a row. `path` has `{names}` of fields.
    """

    path: Annotated[str, Field(pattern=r"^/")]
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    encode: Literal["json", "form"] = "json"
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None


class HttpAnswer(Frozen):
    """Where a tool's answer says what became of the rows: dotted paths into its JSON; without any, 2xx is a yes.

    `ok_path`: of the whole call. `rows_path`: a list of rows, told apart by `key_path` (what was sent as `key`), else
    by their order; `row_ok_path` in one. `words_path` says why not (of a row where there are rows).
    """

    ok_path: str | None = None
    ok_values: tuple[Scalar, ...] = (True,)
    rows_path: str | None = None
    key_path: str | None = None
    row_ok_path: str | None = None
    row_ok_values: tuple[Scalar, ...] = (True,)
    words_path: str | None = None


class HttpConfig(ToolConfig):
    """A tool that takes rows over HTTP, such as an SMS gateway, a call centre's or a CRM's API.

    `idempotency_header` is where it takes a key that makes a repeat harmless; without, a call that breaks is unknown.
    `reaches_people`: what it takes goes out at once. `check_path`: a GET that changes nothing.
    """

    kind: Literal["http"]
    add: HttpCall
    update: HttpCall | None = None
    remove: HttpCall | None = None
    answer: HttpAnswer = HttpAnswer()
    auth: Literal["bearer", "basic", "header", "none"] = "bearer"
    auth_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "Authorization"
    idempotency_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    check_path: Annotated[str, Field(pattern=r"^/")] | None = None
    rows_per_call: Annotated[int, Field(ge=1, le=10_000)] = 1
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] = 5.0
    connections: Annotated[int, Field(ge=1, le=100)] = 4
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0
    reaches_people: bool = True


class WebhookOutConfig(ToolConfig):
    """Rows posted to a program of the company's own, signed with the connection's password (tools/webhook.py)."""

    kind: Literal["webhook"]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Perennial-Signature"
    rows_per_call: Annotated[int, Field(ge=1, le=10_000)] = 500
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0
    reaches_people: bool = False


# A new kind: its model above, its name here, its constructor in delivery/destinations.py.
DestinationConfig = Annotated[
    OutboxConfig
    | RemoteFilesConfig
    | MailchimpConfig
    | BrevoConfig
    | ListmonkConfig
    | SendgridConfig
    | KlaviyoConfig
    | ResendConfig
    | MuseletterConfig
    | SmtpConfig
    | HttpConfig
    | WebhookOutConfig,
    Field(discriminator="kind"),
]


class DestinationsFile(Frozen):
    """config/destinations.yml."""

    version: Literal[1]
    destinations: dict[Slug, DestinationConfig]


def is_tool(config: Any) -> bool:
    """Whether lists are handed to a tool in chunks, and are not files."""
    return isinstance(config, ToolConfig)
