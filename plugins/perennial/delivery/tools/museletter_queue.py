"""Amazon SES's notifications on an SQS queue (by SNS): what became of each message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from perennial.core import clock
from perennial.core.connections import ConnectionStore
from perennial.core.errors import PermanentError, Problem, RetryableError
from perennial.delivery.tools.asking import moment_of
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind
from perennial.delivery.tools.words import masked

_AT_ONCE = 10  # what SQS gives and deletes in one call
_FORBIDDEN = (401, 403)
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


def events_in(body: str) -> list[FeedbackEvent]:
    """The events of one message: SNS's envelope or SES's notification itself; of what is neither, none."""
    try:
        told = json.loads(body)
        told = json.loads(told["Message"]) if isinstance(told, dict) and "Message" in told else told
    except ValueError:
        return []
    if not isinstance(told, dict):
        return []
    mail = told.get("mail") or {}
    number = str(mail.get("messageId") or "")
    found = []
    for kind, address, at, detail in _recipients(told):
        moment = moment_of(at) or clock.now()
        number_of_event = event_id(number, kind, address.lower(), moment.isoformat())
        found.append(FeedbackEvent(number_of_event, kind, moment, address, message_id=number or None, detail=detail))
    return found


def _recipients(told: dict[str, Any]) -> list[tuple[FeedbackKind, str, str | None, str | None]]:
    match str(told.get("notificationType") or told.get("eventType")):
        case "Bounce":
            given = told.get("bounce") or {}
            kind: FeedbackKind = "hard_bounce" if given.get("bounceType") == "Permanent" else "soft_bounce"
            people = given.get("bouncedRecipients") or []
            return [
                (
                    kind,
                    str(one["emailAddress"]),
                    given.get("timestamp"),
                    masked(str(one.get("diagnosticCode") or "")) or None,
                )
                for one in people
            ]
        case "Complaint":
            given = told.get("complaint") or {}
            people = given.get("complainedRecipients") or []
            detail = given.get("complaintFeedbackType")
            return [("complaint", str(one["emailAddress"]), given.get("timestamp"), detail) for one in people]
        case "Delivery":
            given = told.get("delivery") or {}
            return [("delivered", str(one), given.get("timestamp"), None) for one in given.get("recipients") or []]
    return []
