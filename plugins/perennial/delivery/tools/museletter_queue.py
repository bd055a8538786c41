"""Amazon SES's notifications on an SQS queue (by SNS): what became of each message."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from perennial.core.connections import ConnectionStore
from perennial.core.errors import PermanentError, Problem, RetryableError
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind
from perennial.delivery.tools.words import masked

_AT_ONCE = 10  # what SQS gives and deletes in one call
_FORBIDDEN = (401, 403)
log = logging.getLogger("perennial")

_FIX = "check the connection to AWS, the queue's URL and its policy (ReceiveMessage, DeleteMessage)"


class Queue:
    """The queue `url`, opened by the connection `account` (login, password, extra: region_name, endpoint_url)."""

    def __init__(self, name: str, url: str, account: str, connections: ConnectionStore) -> None:
        self._name, self._url, self._account, self._connections = name, url, account, connections

    def _client(self) -> Any:
        from aiobotocore.session import get_session

        connection = self._connections.get(self._account)
        return get_session().create_client(
            "sqs",
            region_name=connection.extra.get("region_name", "us-east-1"),
            endpoint_url=connection.extra.get("endpoint_url"),
            aws_access_key_id=connection.login,
            aws_secret_access_key=connection.password,
            aws_session_token=connection.extra.get("aws_session_token"),
        )

    async def check(self) -> str:
        """That the queue is there and can be read."""
        async with self._client() as client:
            asked = client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
            told = await self._call(asked)
        return f"{told['Attributes']['ApproximateNumberOfMessages']} notifications wait"

    async def pages(self) -> AsyncIterator[list[FeedbackEvent]]:
        """Events until the queue gives no more.

        The messages of a page are deleted when the next one is asked for: by then it was written down. Else they come
        again.
        """
        async with self._client() as client:
            while True:
                asked = client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=1)
                messages = (await self._call(asked)).get("Messages", [])
                if not messages:
                    return
                yield [event for message in messages for event in events_in(message["Body"])]
                done = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
                await self._call(client.delete_message_batch(QueueUrl=self._url, Entries=done))

    async def _call(self, asked: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self._name}: queue of notifications"
        try:
            return await asked
        except ClientError as error:
            told = error.response
            code, status = told.get("Error", {}).get("Code", ""), told["ResponseMetadata"].get("HTTPStatusCode", 0)
            if status in _FORBIDDEN or "NonExistent" in code or "InvalidAddress" in code:
                raise PermanentError(Problem(where, f"SQS says no: {status} ({code})", _FIX)) from None
            raise RetryableError(Problem(where, f"SQS answered {status} ({code})", "it is tried again")) from None
        except (BotoCoreError, OSError):
            raise RetryableError(Problem(where, "SQS cannot be reached", _FIX)) from None


class _Recipient(BaseModel):
    address: str = Field(alias="emailAddress", repr=False)
    diagnostic: str | None = Field(None, alias="diagnosticCode", repr=False)


class _Bounce(BaseModel):
    kind: str = Field(alias="bounceType")
    timestamp: AwareDatetime
    people: list[_Recipient] = Field(alias="bouncedRecipients")


class _Complaint(BaseModel):
    kind: str | None = Field(None, alias="complaintFeedbackType")
    timestamp: AwareDatetime
    people: list[_Recipient] = Field(alias="complainedRecipients")


class _Delivery(BaseModel):
    timestamp: AwareDatetime
    people: list[str] = Field(alias="recipients", repr=False)


class _Mail(BaseModel):
    number: str = Field(alias="messageId")


class _Notification(BaseModel):
    """What SES says of one message: a notification of an identity, or an event of a configuration set."""

    mail: _Mail
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None
    delivery: _Delivery | None = None


class _Envelope(BaseModel):
    """What SNS wraps around it, unless the subscription is of raw delivery."""

    message: str = Field(alias="Message")


def events_in(body: str) -> list[FeedbackEvent]:
    """The events of one message: SNS's envelope or SES's notification itself; of what is neither, none."""
    with suppress(ValidationError):  # not wrapped
        body = _Envelope.model_validate_json(body).message
    try:
        told = _Notification.model_validate_json(body)
    except ValidationError:
        log.warning("a message of the queue of notifications is none of SES's, and was left out")
        return []
    number = told.mail.number
    return [
        FeedbackEvent(
            event_id(number, kind, address.lower(), at.isoformat()), kind, at, address, message_id=number, detail=detail
        )
        for kind, address, at, detail in _recipients(told)
    ]


def _recipients(told: _Notification) -> Iterator[tuple[FeedbackKind, str, datetime, str | None]]:
    if told.bounce:
        kind: FeedbackKind = "hard_bounce" if told.bounce.kind == "Permanent" else "soft_bounce"
        for one in told.bounce.people:
            yield kind, one.address, told.bounce.timestamp.astimezone(UTC), masked(one.diagnostic or "") or None
    if told.complaint:
        for one in told.complaint.people:
            yield "complaint", one.address, told.complaint.timestamp.astimezone(UTC), told.complaint.kind
    if told.delivery:
        for address in told.delivery.people:
            yield "delivered", address, told.delivery.timestamp.astimezone(UTC), None
