"""Telling people: alerts and failed tasks, by Airflow's notifiers, to the channels of config/perennial.yml (`alerts`).

What is sent says what happened, what to do and where to look; it holds no row and no secret (L22). The notifiers are
called with plain text: nothing of a message is ever rendered as a template (L23).
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from perennial.contracts.records import Alert, AlertKind
from perennial.core.errors import BatchRefused, PerennialError, Problem, RetryableError
from perennial.core.settings import AlertChannel, Settings, Severity

if TYPE_CHECKING:
    from perennial.core.connections import Connection

_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "error": 2}
_SEVERITIES: dict[AlertKind, Severity] = {
    "stop": "error",
    "fetch": "error",
    "silence": "warning",
    "quarantine": "warning",
    "drift": "info",
}
_SECONDS = 10
_MOST = 20  # troubles written out in one message; the rest is counted
_REDIRECT = 300
_SUBJECT_LENGTH = 120

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Message:
    """One thing to tell; `link` leads to the page about it."""

    severity: Severity
    subject: str
    text: str
    link: str


def tell_alerts(settings: Settings) -> int:
    """Send what nobody was told of yet, once; gives the number of alerts. Without a channel nothing is done.

    Raises RetryableError when a channel failed; what another one took is not sent again.
    """
    from perennial.pipeline.alerts import alerts_told, raise_alerts
    from perennial.pipeline.turns import turn

    if not settings.file.alerts:
        return 0
    with turn(settings, "alerts"):
        alerts = raise_alerts(settings)
        failed = send(settings.file.alerts, [_message(alert) for alert in alerts])
        if len(failed) < len(settings.file.alerts):
            alerts_told(settings, alerts)
    if failed:
        raise RetryableError([Problem(f"alerts: {name}", said, "see its connection") for name, said in failed.items()])
    return len(alerts)


def send(channels: Sequence[AlertChannel], messages: Sequence[Message]) -> dict[str, str]:
    """One message to each channel with all that it wants to hear; by channel why it could not be told."""
    failed: dict[str, str] = {}
    for channel in channels:
        wanted = [one for one in messages if _RANK[one.severity] >= _RANK[channel.min_severity]]
        if not wanted:
            continue
        try:
            _SENDERS[channel.kind](channel, wanted)
        except Exception as error:
            # Whatever a notifier raises: the others are told, and the text of a library's error may hold a secret.
            log.exception("The channel %s (%s) could not be told", channel.connection, channel.kind)
            failed[channel.connection] = f"could not be told ({type(error).__name__})"
    return failed


def task_failed(context: Mapping[str, Any]) -> None:
    """The `on_failure_callback` of every task; a configuration that cannot be read is logged."""
    from perennial.core.settings import load_settings

    error = context.get("exception")
    if isinstance(getattr(error, "__cause__", None), BatchRefused):
        return  # told as an alert, with the batch
    try:
        task = context["ti"]
        text = f"Task {task.dag_id}.{task.task_id} failed: {_first_line(error)} -> see its log, mend it, clear the task"
        message = Message("error", f"{task.dag_id}.{task.task_id}", text, f"/dags/{task.dag_id}/runs/{task.run_id}")
        send(load_settings().file.alerts, [message])
    except PerennialError:  # the configuration cannot be read: nobody knows whom to tell
        log.exception("Nobody could be told that a task failed")


def _first_line(error: object) -> str:
    """Our own errors speak for people (L22); of anybody else's only the kind is told."""
    if type(error).__module__.startswith(("perennial.", "airflow.")) and str(error):
        return str(error).splitlines()[0]
    return type(error).__name__


def _message(alert: Alert) -> Message:
    """What a message is about stands before its first colon: source.entity."""
    about = alert.message.removeprefix("it is over: ").partition(":")[0]
    subject = f"{alert.kind} {about}{' is over' if alert.ended else ''}"
    return Message(_SEVERITIES[alert.kind], subject[:_SUBJECT_LENGTH], alert.message, alert.link)


def _url(link: str) -> str:
    return str(conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/") + link


def _subject(messages: Sequence[Message]) -> str:
    more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"Perennial: {messages[0].subject}{more}".replace("\n", " ").replace("\r", " ")


def _rest(messages: Sequence[Message]) -> str:
    return f"and {len(messages) - _MOST:,} more" if len(messages) > _MOST else ""


def _send_mail(channel: AlertChannel, messages: Sequence[Message]) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    items = [
        f'<li>{html.escape(one.text)} <a href="{html.escape(_url(one.link))}">{html.escape(_url(one.link))}</a></li>'
        for one in messages[:_MOST]
    ]
    body = f"<ul>{''.join(items)}</ul><p>{_rest(messages)}</p>"
    SmtpNotifier(
        smtp_conn_id=channel.connection, to=list(channel.to), subject=_subject(messages), html_content=body
    ).notify({})


def _send_slack(channel: AlertChannel, messages: Sequence[Message]) -> None:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    lines = [f"• {html.escape(one.text, quote=False)} <{_url(one.link)}|look>" for one in messages[:_MOST]]
    text = "\n".join(filter(None, [*lines, _rest(messages)]))
    SlackWebhookNotifier(slack_webhook_conn_id=channel.connection, text=text, timeout=_SECONDS).notify({})


def _send_webhook(channel: AlertChannel, messages: Sequence[Message]) -> None:
    """POST to the connection's URL; its password signs the body as our own webhooks want it (HMAC-SHA256, hex)."""
    import requests

    from perennial.orchestration.connections import AirflowConnections

    connection = AirflowConnections().get(channel.connection)
    body = json.dumps({"alerts": [{**asdict(one), "link": _url(one.link)} for one in messages]}).encode()
    headers = {"Content-Type": "application/json"}
    if connection.password:
        headers["X-Signature"] = hmac.new(connection.password.encode(), body, hashlib.sha256).hexdigest()
    answer = requests.post(_address(connection), data=body, headers=headers, timeout=_SECONDS, allow_redirects=False)
    if answer.status_code >= _REDIRECT:
        raise RetryableError(Problem(f"connection {connection.id}", f"answered {answer.status_code}", "mend its URL"))


def _address(connection: Connection) -> str:
    host = connection.host or ""
    if host.startswith(("http://", "https://")):
        return host
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{host}{port}{connection.extra.get('path', '/')}"


_SENDERS: dict[str, Callable[[AlertChannel, Sequence[Message]], None]] = {
    "email": _send_mail,
    "slack": _send_slack,
    "webhook": _send_webhook,
}
