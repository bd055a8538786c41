"""Direct e-mail to a real SMTP server of the test's own: each message once, with a way out, and nobody told twice."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import re
from datetime import date

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from contract.emulators.rigs import OurTime
from perennial.contracts.destinations import SmtpConfig
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError, PermanentError, RetryableError
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import ListKey
from perennial.delivery.tools.records import Chunk, Contact, ListTarget, OutcomeUnknown
from perennial.delivery.tools.smtp import Smtp
from perennial.delivery.unsubscribe_links import Unsubscribe, links_of

pytestmark = pytest.mark.integration

SECRET = "0123456789abcdef0123456789abcdef"
DAY = date(2017, 10, 1)
FIELDS = (("first_name", "VARCHAR"), ("offer_code", "VARCHAR"))


class Mailbox:
    """What the server does: keeps messages, refuses whom the test names, and breaks where the test says."""

    def __init__(self):
        self.messages, self.answers, self.breaks_after_data, self.sessions = [], {}, 0, 0

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(self, server, session, envelope, address, options):
        if "MAIL" in self.answers:
            return self.answers["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        if self.breaks_after_data:
            self.breaks_after_data -= 1
            server.transport.abort()
        return self.answers.get("DATA", "250 taken")

    def read(self):
        return [email.message_from_bytes(content, policy=email.policy.default) for _, _, content in self.messages]


class _AnyPort(Controller):
    """A controller that takes a free port, and says which."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture(scope="module")
def server():
    mailbox = Mailbox()
    known = {b"shop": b"a password of the test"}
    controller = _AnyPort(
        mailbox,
        hostname="127.0.0.1",
        port=0,
        auth_require_tls=False,
        authenticator=lambda s, ses, env, how, data: AuthResult(
            success=known.get(data.login) == data.password, handled=False
        ),
    )
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def mailbox(server):
    server.handler.__init__()
    return server.handler


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "news.txt").write_text(
        "Subject: For {{ first_name }}\n\nHi {{ first_name }},\n{% if offer_code %}code {{ offer_code }}\n{% endif %}"
        ".\nLeave: {{ unsubscribe_url }}\n"
    )
    (tmp_path / "news.html").write_text("<p>Hi {{ first_name }}</p><a href='{{ unsubscribe_url }}'>leave</a>")
    return tmp_path


def connections(server, password="a password of the test"):
    extra = {"disable_tls": "true"}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.port, "login": "shop", "password": password}
    links = {"conn_type": "http", "host": "https://m.example.com", "password": SECRET}
    return EnvironmentConnections(
        {
            "AIRFLOW_CONN_MAIL": json.dumps({**mail, "extra": extra}),
            "AIRFLOW_CONN_PERENNIAL_UNSUBSCRIBE": json.dumps(links),
        }
    )


class Shop:
    """One tool with its own time."""

    def __init__(self, runner, templates, store, **config):
        self.time, self.runner, self.store = OurTime(), runner, store
        given = {"kind": "smtp", "channels": ("email",), "connection": "mail", "sender": "A Shöp <news@shop.example>"}
        self.tool = Smtp(
            "mail",
            SmtpConfig.model_validate({**given, **config}),
            store,
            templates,
            pause=self.time.pause,
            monotonic=self.time.monotonic,
        )

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def prepared(self, message="news", fields=FIELDS):
        target = ListTarget(ListKey("news", "email", DAY), "send", fields, "marketing", message)
        return self.run(self.tool.prepare(target))

    def send(self, client="c1", address=None, **fields):
        values = {"first_name": "Ann", "offer_code": None, **fields}
        contact = Contact(client, f"key-{client}", address or f"{client}@example.com", values)
        [outcome] = self.run(self.tool.submit(Chunk(f"chunk-{client}", "add", (contact,)), self.prepared())).outcomes
        assert outcome.client_id == client
        return outcome


@pytest.fixture
def shop(server, mailbox, templates):
    with asyncio.Runner() as runner:
        made = Shop(runner, templates, connections(server))
        yield made
        runner.run(made.tool.close())


def test_a_message_arrives_as_the_template_says_in_text_and_html(shop, mailbox):
    assert shop.send(first_name="Жанна <b>", offer_code="STAY").state == "accepted"
    [(sender, to, _)] = mailbox.messages
    [message] = mailbox.read()
    assert (sender, to) == ("news@shop.example", ["c1@example.com"])
    assert (message["Subject"], message["From"], message["To"]) == (
        "For Жанна <b>",
        "A Shöp <news@shop.example>",
        "c1@example.com",
    )
    text = message.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert text.startswith("Hi Жанна <b>,\ncode STAY\n.\nLeave: https://m.example.com/unsubscribe/")
    assert "Hi Жанна &lt;b&gt;" in message.get_body(("html",)).get_content()


def test_RFC8058_every_message_can_be_left_with_one_click_by_a_link_that_names_who_and_what(shop, mailbox):
    shop.send()
    [message] = mailbox.read()
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.fullmatch(r"<(https://m\.example\.com/unsubscribe/(\S+))>", message["List-Unsubscribe"].replace("\n", ""))
    found = links_of(shop.store.get("perennial_unsubscribe")).verify(link.group(2))
    assert found == Unsubscribe("c1", "email", "marketing", "news", DAY)
    assert link.group(1) in message.get_body(("plain",)).get_content()


def test_L12_a_repeat_is_recognised_by_its_message_id_and_another_client_or_day_has_another(shop, mailbox):
    for client in ("c1", "c1", "c2"):
        shop.send(client)
    first, again, other = [message["Message-ID"] for message in mailbox.read()]
    assert first == again != other
    assert "c1" not in first


@pytest.mark.parametrize(
    ("answer", "code"),
    [("550 5.1.1 no mailbox c1@example.com here", "refused_by_tool"), ("450 4.2.0 greylisted", "try_later")],
)
def test_L15_a_refused_recipient_is_one_rejected_row_and_the_next_one_goes_on(shop, mailbox, answer, code):
    mailbox.answers["c1@example.com"] = answer
    refused, taken = shop.send("c1"), shop.send("c2")
    assert (refused.state, refused.code, taken.state) == ("rejected", code, "accepted")
    assert refused.code in REASONS
    assert "c1@example.com" not in refused.words
    assert mailbox.sessions == 1


def test_a_row_without_a_value_that_the_message_shows_is_rejected_and_nobody_is_greeted_as_none(shop, mailbox):
    outcome = shop.send(first_name=None)
    assert (outcome.state, outcome.code) == ("rejected", "missing_value")
    assert mailbox.messages == []


@pytest.mark.parametrize("address", ["no address", "a@b@c", "a\r\nBcc: x@example.com", "жанна@example.com", ""])
def test_L23_an_address_that_no_server_takes_is_told_and_never_spoken_to_the_server(shop, mailbox, address):
    assert shop.send(address=address or " ").code == "bad_address"
    assert mailbox.messages == []


def test_L23_a_hostile_value_neither_adds_a_header_nor_ends_the_message(shop, mailbox):
    shop.send(first_name="x\r\nBcc: y@example.com\r\n\r\n.\r\nMAIL FROM:<z@example.com>")
    assert shop.send("c2").state == "accepted"
    first, _ = mailbox.read()
    assert first["Bcc"] is None
    assert first["Subject"] == "For x Bcc: y@example.com . MAIL FROM:<z@example.com>"
    assert [to for _, to, _ in mailbox.messages] == [["c1@example.com"], ["c2@example.com"]]


def test_L12_what_breaks_after_the_message_was_handed_over_is_unknown_and_not_sent_again(shop, mailbox):
    mailbox.breaks_after_data = 1
    with pytest.raises(OutcomeUnknown) as caught:
        shop.send("c1")
    assert "c1" not in str(caught.value)
    assert len(mailbox.messages) == 1
    assert shop.send("c2").state == "accepted"


@pytest.mark.parametrize(
    ("answer", "error"), [("451 4.3.2 busy", RetryableError), ("550 sender unknown", PermanentError)]
)
def test_L12_a_no_to_the_sender_says_nothing_about_any_row(shop, mailbox, answer, error):
    mailbox.answers["MAIL"] = answer
    with pytest.raises(error) as caught:
        shop.send()
    assert not isinstance(caught.value, OutcomeUnknown)
    mailbox.answers.clear()
    assert shop.send().state == "accepted"


def test_a_refusal_of_the_whole_message_is_told_of_its_row(shop, mailbox):
    mailbox.answers["DATA"] = "554 5.7.1 looks like spam"
    assert (shop.send().state, shop.send().code) == ("rejected", "refused_by_tool")


def test_a_wrong_password_is_the_accounts_fault_and_is_not_shown(server, mailbox, templates):
    with asyncio.Runner() as runner:
        shop = Shop(runner, templates, connections(server, "another secret"))
        with pytest.raises(PermanentError, match="AUTH: 535") as caught:
            shop.send()
        steps = {step.name: step.state for step in runner.run(shop.tool.check())}
    assert "another secret" not in str(caught.value)
    assert steps == {"connection": "passed", "unsubscribe links": "passed", "templates": "passed", "server": "failed"}
    assert mailbox.messages == []


def test_L22_without_encryption_nothing_is_said_unless_the_connection_allows_it(server, mailbox, templates):
    store = connections(server)
    store._environ["AIRFLOW_CONN_MAIL"] = store._environ["AIRFLOW_CONN_MAIL"].replace('"disable_tls": "true"', "")
    with asyncio.Runner() as runner, pytest.raises(PermanentError, match="no encryption"):
        Shop(runner, templates, store).send()
    assert mailbox.messages == []


def test_L19_messages_keep_the_rate_of_the_account(server, mailbox, templates):
    with asyncio.Runner() as runner:
        shop = Shop(runner, templates, connections(server), messages_per_second=2, rate_share=0.5)
        for number in range(4):
            shop.send(f"c{number}")
        runner.run(shop.tool.close())
    assert shop.time.moment == pytest.approx(3)


def test_a_server_that_is_not_there_is_retryable(server, mailbox, templates):
    store = connections(server)
    store._environ["AIRFLOW_CONN_MAIL"] = re.sub(r'"port": \d+', '"port": 1', store._environ["AIRFLOW_CONN_MAIL"])
    with asyncio.Runner() as runner, pytest.raises(RetryableError, match="nothing was handed over") as caught:
        Shop(runner, templates, store).send()
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_message_that_cannot_be_said_is_told_before_anything_is_sent(shop, templates):
    with pytest.raises(ConfigError, match="the list has no field offer_code"):
        shop.prepared(fields=FIELDS[:1])
    with pytest.raises(ConfigError, match="no such template"):
        shop.prepared("absent")
    with pytest.raises(ConfigError, match="no name of a template"):
        shop.prepared("../news")
    (templates / "sms.txt").write_text("Hi")
    with pytest.raises(ConfigError, match="no subject"):
        shop.prepared("sms")


def test_its_check_sends_nothing(shop, mailbox):
    steps = shop.run(shop.tool.check())
    assert {step.state for step in steps} == {"passed"}
    assert mailbox.messages == []
