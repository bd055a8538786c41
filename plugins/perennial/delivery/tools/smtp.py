"""Direct e-mail over SMTP, for small shops: one message a call, from the company's own templates.

SMTP can neither be asked what it took nor told the same thing twice without harm: what breaks after the message was
handed over is unknown (L12). Its Message-ID is the same for the same list and client, so that a person, or a mail
server that looks at it, recognises a repeat. Every message can be unsubscribed from with one click (RFC 8058) by a
signed link; mailbox providers want DKIM over those two headers, which the mail server signs.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import date
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from pathlib import Path

from perennial.contracts.destinations import SmtpConfig
from perennial.core import clock
from perennial.core.connections import Connection, ConnectionStore
from perennial.core.errors import ConfigError, PermanentError, Problem, RetryableError, RowRejected
from perennial.core.ids import digest_of
from perennial.delivery.messages import LIST_NAMES, UNSUBSCRIBE, Wording
from perennial.delivery.records import CheckStep, Description
from perennial.delivery.tools.asking import checked
from perennial.delivery.tools.one_way import OneWay
from perennial.delivery.tools.rates import Monotonic, bucket_of
from perennial.delivery.tools.records import (
    Chunk,
    Contact,
    Limits,
    ListTarget,
    OutcomeUnknown,
    RemoteList,
    RowOutcome,
    Submitted,
    ToolCapabilities,
)
from perennial.delivery.tools.rows import normal_address
from perennial.delivery.tools.words import masked
from perennial.delivery.unsubscribe_links import Links, Unsubscribe, links_of

_TLS_PORT, _PORT = 465, 587
_PERMANENT = 500
_CLOSING = 421
_ROUND = 50  # messages of one connection: servers end longer ones
_BROKEN = (OSError, smtplib.SMTPServerDisconnected)


class _RefusedError(Exception):
    """The server's no to one command."""

    def __init__(self, command: str, code: int, words: str) -> None:
        super().__init__(command, code)
        self.command, self.code, self.words = command, code, words


class Smtp(OneWay):
    """One mail server of the company's own, or of its provider."""

    def __init__(
        self,
        name: str,
        config: SmtpConfig,
        connections: ConnectionStore,
        templates: Path,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._name, self._config, self._connections, self._templates = name, config, connections, templates
        self._pause, self._monotonic = pause, monotonic
        self._server: smtplib.SMTP | None = None
        self._sent_here = 0
        self._one = asyncio.Lock()
        self._wordings: dict[str, Wording] = {}

    @property
    def capabilities(self) -> ToolCapabilities:
        """It sends, to people, at once; nothing can be read back, and nothing repeated without harm."""
        return ToolCapabilities(
            actions=("add",), list_types=("send",), repeatable=False, readable=False, reaches_people=True
        )

    @property
    def limits(self) -> Limits:
        """One message a call: what is unknown after a crash is one message."""
        rate = self._config.messages_per_second * self._config.rate_share
        return Limits(1, rate, 1, timeout_seconds=self._config.timeout_seconds)

    def describe(self) -> Description:
        """The sender."""
        return Description(self._name, "smtp", self._config.channels, f"e-mail from {_domain(self._config.sender)}")

    async def check(self) -> list[CheckStep]:
        """Connection, links, templates, and whether the server lets us in; nothing is sent."""
        return await checked(
            (
                ("connection", self._check_connection),
                ("unsubscribe links", self._check_links),
                ("templates", self._check_templates),
                ("server", self._check_server),
            )
        )

    async def prepare(self, target: ListTarget) -> RemoteList:
        """See that the message can be said with the fields of the list. Raises ConfigError when it cannot."""
        links_of(self._connections.get(self._config.unsubscribe))
        message = target.message or target.key.campaign_id
        wording = self._wording(message)
        if not wording.has_subject:
            fix = "begin the template with a line `Subject: ...`"
            raise ConfigError(Problem(f"templates/{message}.txt", "it has no subject", fix))
        wording.require({*(name for name, _ in target.fields), *LIST_NAMES, UNSUBSCRIBE})
        ids = {
            "message": message,
            "campaign_id": target.key.campaign_id,
            "channel": target.key.channel,
            "as_of": target.key.as_of.isoformat(),
            "purpose": target.purpose,
        }
        return RemoteList(target.title, ids)

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Send one message. See `Tool.submit`."""
        [contact] = chunk.contacts  # the limit: of several, one that breaks would hide what became of the others
        return Submitted((await self._send_one(contact, where),))

    async def close(self) -> None:
        """Say goodbye to the server."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(_quit, server)

    async def _send_one(self, contact: Contact, where: RemoteList) -> RowOutcome:
        address = normal_address(contact.address)
        if address is None:
            return RowOutcome(contact.client_id, "rejected", "bad_address", "no mail server takes this address")
        try:
            message = self._message(contact, address, where)
        except RowRejected as error:
            return RowOutcome(contact.client_id, "rejected", "missing_value", error.problems[0].message)
        async with self._one:
            await self._turn()
            return await asyncio.to_thread(self._hand_over, contact.client_id, address, message)

    async def _turn(self) -> None:
        connection = self._connection()
        account = digest_of(["smtp", str(connection.host), str(connection.port), str(connection.login)])
        wait = bucket_of(account, self.limits.calls_per_second, self._monotonic).take()
        if wait:
            await self._pause(wait)

    def _message(self, contact: Contact, address: str, where: RemoteList) -> bytes:
        ids = where.ids
        what = Unsubscribe(
            contact.client_id, ids["channel"], ids["purpose"], ids["campaign_id"], date.fromisoformat(ids["as_of"])
        )
        links = self._links()
        lists = {"campaign_id": ids["campaign_id"], "channel": ids["channel"], "as_of": ids["as_of"]}
        values = {**lists, "client_key": contact.client_key, UNSUBSCRIBE: links.url(what), **contact.fields}
        said = self._wording(ids["message"]).said(values)
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = _address(self._config.sender)
        local, _, domain = address.rpartition("@")
        message["To"] = Address(username=local, domain=domain)  # not parsed again: some servers' addresses look odd
        message["Subject"] = said.subject
        message["Date"] = format_datetime(clock.now())
        message["Message-ID"] = f"<{message_key(where.title, contact.client_id)}@{_domain(self._config.sender)}>"
        if self._config.reply_to:
            message["Reply-To"] = _address(self._config.reply_to)
        for header, value in links.headers(what, mailto=self._config.unsubscribe_mailto).items():
            message[header] = value
        message["List-ID"] = f"<{ids['campaign_id']}.{_domain(self._config.sender)}>"
        message.set_content(said.text)
        if said.html is not None:
            message.add_alternative(said.html, subtype="html")
        return message.as_bytes()

    def _hand_over(self, client_id: str, address: str, message: bytes) -> RowOutcome:
        try:
            server = self._connected()
            _command(server, "MAIL", f"FROM:<{parseaddr(self._config.sender)[1]}>")
            try:
                _command(server, "RCPT", f"TO:<{address}>")
            except _RefusedError as refusal:
                _reset(server)
                if refusal.code == _CLOSING:
                    raise
                code = "refused_by_tool" if refusal.code >= _PERMANENT else "try_later"
                return RowOutcome(client_id, "rejected", code, masked(f"{refusal.code} {refusal.words}"))
            _command(server, "DATA", "", good=354)
        except _RefusedError as refusal:
            self._drop()
            raise self._told(refusal) from None
        except _BROKEN as error:
            self._drop()
            raise self._lost(error) from None
        return self._send_content(server, client_id, message)

    def _send_content(self, server: smtplib.SMTP, client_id: str, message: bytes) -> RowOutcome:
        """Once the last byte is out, only the server's answer tells whether the message goes to somebody."""
        try:
            server.send(_dotted(message))
        except _BROKEN as error:
            self._drop()
            raise self._lost(error) from None
        try:
            code, words = server.getreply()
        except _BROKEN:
            self._drop()
            said = "the connection broke after the message was handed over: it may have been accepted"
            fix = "look for it in the mail server's log by its Message-ID, then settle it"
            raise OutcomeUnknown(Problem(f"destination {self._name}", said, fix)) from None
        self._sent_here += 1
        if code == 250:  # noqa: PLR2004 - RFC 5321
            return RowOutcome(client_id, "accepted")
        refusal = _RefusedError("DATA", code, words.decode("utf-8", "replace"))
        told = masked(f"{refusal.code} {refusal.words}")
        if code < _PERMANENT:
            return RowOutcome(client_id, "rejected", "try_later", told)
        return RowOutcome(client_id, "rejected", "refused_by_tool", told)

    def _connected(self) -> smtplib.SMTP:
        """The open connection, or a new one. Raises what the server or the network raises."""
        if self._server is not None and self._sent_here < _ROUND:
            return self._server
        if self._server is not None:
            _quit(self._server)
        connection = self._connection()
        port = connection.port or _PORT
        context = ssl.create_default_context()
        timeout = self._config.timeout_seconds
        if port == _TLS_PORT or _flag(connection, "use_ssl"):
            server: smtplib.SMTP = smtplib.SMTP_SSL(str(connection.host), port, timeout=timeout, context=context)
        else:
            server = smtplib.SMTP(str(connection.host), port, timeout=timeout)
        self._server, self._sent_here = server, 0
        try:
            self._sign_in(server, connection, context)
        except smtplib.SMTPAuthenticationError as error:
            raise _RefusedError("AUTH", error.smtp_code, "") from None
        except smtplib.SMTPNotSupportedError:
            raise _RefusedError("EHLO", _PERMANENT, "the server offers no encryption, or no way to sign in") from None
        except smtplib.SMTPResponseException as error:
            raise _RefusedError("EHLO", error.smtp_code, str(error.smtp_error)) from None
        return server

    def _sign_in(self, server: smtplib.SMTP, connection: Connection, context: ssl.SSLContext) -> None:
        server.ehlo_or_helo_if_needed()
        if not isinstance(server, smtplib.SMTP_SSL) and not _flag(connection, "disable_tls"):
            server.starttls(context=context)
            server.ehlo()
        if connection.login:
            how = _mechanism(server)
            server.user, server.password = connection.login, connection.password or ""
            server.auth(how, getattr(server, f"auth_{how.lower().replace('-', '_')}"))

    def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _told(self, refusal: _RefusedError) -> PermanentError | RetryableError:
        said = masked(f"{refusal.command}: {refusal.code} {refusal.words}")
        where = f"destination {self._name}"
        if refusal.code < _PERMANENT:
            return RetryableError(Problem(where, f"the mail server is busy: {said}", "it is tried again"))
        fix = "mend login, password or sender; nothing was said about any person"
        return PermanentError(Problem(where, f"the mail server refused us: {said}", fix))

    def _lost(self, error: BaseException) -> RetryableError | PermanentError:
        where = f"destination {self._name}"
        if isinstance(error, ssl.SSLCertVerificationError):
            fix = "have its owner mend it, or trust your own authority (SSL_CERT_FILE)"
            return PermanentError(Problem(where, "the server's certificate is not trusted", fix))
        said = f"no connection to the mail server, or it broke ({type(error).__name__}); nothing was handed over"
        return RetryableError(Problem(where, said, "it is tried again"))

    def _connection(self) -> Connection:
        connection = self._connections.get(self._config.connection)
        if not connection.host:
            fix = "write the mail server as its host"
            raise ConfigError(Problem(f"connection {connection.id}", "it has no host", fix))
        return connection

    def _links(self) -> Links:
        return links_of(self._connections.get(self._config.unsubscribe))

    def _wording(self, message: str) -> Wording:
        if message not in self._wordings:
            self._wordings[message] = Wording(self._templates, message)
        return self._wordings[message]

    async def _check_connection(self) -> str:
        return f"connection {self._connection().id} names a server"

    async def _check_links(self) -> str:
        return f"links lead to {self._links().base_url}"

    async def _check_templates(self) -> str:
        found = sorted(path.stem for path in self._templates.glob("*.txt"))
        wrong = [message for message in found if not self._wording(message).has_subject]
        if not found:
            fix = "write config/templates/<message>.txt for each message of the cards"
            raise ConfigError(Problem("config/templates", "there is no template", fix))
        without = f"; without a subject, so not for e-mail: {', '.join(wrong)}" if wrong else ""
        return f"{len(found)} templates can be read{without}"

    async def _check_server(self) -> str:
        async with self._one:
            await asyncio.to_thread(self._try_server)
        return "the server lets us in"

    def _try_server(self) -> None:
        try:
            self._connected().noop()
        except _RefusedError as refusal:
            self._drop()
            raise self._told(refusal) from None
        except _BROKEN as error:
            self._drop()
            raise self._lost(error) from None


def message_key(title: str, client_id: str) -> str:
    """What stands before the @ of a Message-ID: the same for the same list (with its date) and client, and no name."""
    return f"p.{digest_of([title, client_id], length=32)}"


def _command(server: smtplib.SMTP, command: str, argument: str, *, good: int = 250) -> None:
    code, words = server.docmd(command, argument)
    if code != good and not (good == 250 and code == 251):  # noqa: PLR2004 - RFC 5321: 251 is "will forward"
        raise _RefusedError(command, code, words.decode("utf-8", "replace"))


def _mechanism(server: smtplib.SMTP) -> str:
    """One way to sign in, not all of them after each other: servers hang up on who fails often."""
    order = ("PLAIN", "LOGIN", "CRAM-MD5") if isinstance(server.sock, ssl.SSLSocket) else ("CRAM-MD5", "PLAIN", "LOGIN")
    offered = server.esmtp_features.get("auth", "").split()
    found = next((how for how in order if how in offered), None)
    if found is None:
        raise smtplib.SMTPNotSupportedError
    return found


def _reset(server: smtplib.SMTP) -> None:
    server.docmd("RSET")


def _quit(server: smtplib.SMTP) -> None:
    """Best effort: everything that counts was answered before."""
    try:
        server.quit()
    except _BROKEN:
        server.close()


def _dotted(message: bytes) -> bytes:
    """As RFC 5321 wants it: lines that begin with a dot get another, a dot alone ends it."""
    body = message.replace(b"\r\n.", b"\r\n..")
    body = b"." + body if body.startswith(b".") else body
    return body + (b".\r\n" if body.endswith(b"\r\n") else b"\r\n.\r\n")


def _address(text: str) -> Address:
    name, spec = parseaddr(text)
    return Address(display_name=name, addr_spec=spec)


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]


def _flag(connection: Connection, name: str) -> bool:
    return str(connection.extra.get(name, "false")).lower() == "true"
