"""Asking tools what came back: page by page, with a cursor that stands behind what is written and nowhere else."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime

import pytest

from factories import exports, published
from perennial.core.errors import ConfigError, PermanentError, RetryableError
from perennial.delivery import destinations
from perennial.delivery.records import Description
from perennial.delivery.tools.records import FeedbackEvent, ToolCapabilities, Withdrawal
from perennial.ledger.consents import consent_state
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback import counts, cursor_of, pulls
from perennial.ledger.locks import hold
from perennial.pipeline.export import export
from perennial.pipeline.feedback_pull import pull

IDS = [f"c{number}" for number in range(6)]
AT = datetime(2017, 10, 1, 9, tzinfo=UTC)
FILE = {
    "version": 1,
    "destinations": {
        "outbox": {"kind": "outbox", "channels": ["sms", "call", "account_manager"]},
        "letters": {"kind": "outbox", "channels": ["email"]},
        "chimp": {"kind": "mailchimp", "channels": ["email"], "campaigns": ["x"], "connection": "c", "list_id": "a"},
    },
}


class AccountOfRecords:
    """A tool's account that tells what a test wrote into it, two items a page, from wherever the cursor stands."""

    def __init__(self):
        self.withdrawn: list[Withdrawal] = []
        self.events: list[FeedbackEvent] = []
        self.breaks_after: int | None = None
        self.asked: list[tuple[str, int]] = []
        self.closed = 0
        self.capabilities = ToolCapabilities(
            actions=("add",),
            list_types=("send",),
            repeatable=True,
            readable=True,
            knows_withdrawals=True,
            feedback=("delivered", "open", "soft_bounce"),
        )

    def withdrawals(self, cursor):
        return self._pages("withdrawals", self.withdrawn, cursor)

    def feedback(self, cursor):
        return self._pages("feedback", self.events, cursor)

    async def _pages(self, stream, items, cursor):
        place = cursor.get("from", 0)
        while place < len(items):
            if self.breaks_after is not None and place >= self.breaks_after:
                raise RetryableError("the line is dead")
            self.asked.append((stream, place))
            yield items[place : place + 2], {"from": min(place + 2, len(items))}
            place += 2

    def describe(self):
        return Description("chimp", "mailchimp", ("email",), "the account of a test")

    async def close(self):
        self.closed += 1


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A planned shop that is copied for each test."""
    folder = tmp_path_factory.mktemp("pattern")
    settings = exports.settings_with(folder, published.card("news", channels=["email"]), destinations=FILE)
    exports.consent(settings, IDS)
    people = [exports.person(one) for one in IDS]
    return folder, settings, exports.planned_day(settings, people, [exports.target("news", one) for one in IDS])


@pytest.fixture
def shop(pattern, tmp_path, monkeypatch):
    """The planned shop, at noon of its day."""
    folder, settings, _ = pattern
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T12:00:00+00:00")
    places = {name: tmp_path / getattr(settings, name).relative_to(folder) for name in ("home", "config_dir")}
    return settings.model_copy(update=places)


@pytest.fixture
def account(monkeypatch):
    """The account that the tool of the shop's file opens."""
    made = AccountOfRecords()
    monkeypatch.setitem(destinations.TOOLS, "mailchimp", lambda *_: made)
    return made


def opened(client, number=1):
    return FeedbackEvent(f"open-{client}-{number}", "open", AT, f"{client}@example.com")


def withdrew(client, kind="unsubscribe"):
    return Withdrawal(f"{client}@example.com", kind, AT)


def withdrawn(shop):
    state = consent_state(open_ledger(shop), date.max).to_pylist()
    return sorted({row["client_ref"] for row in state if (row["purpose"], row["status"]) == ("all", "withdrawn")})


def test_L9_who_withdrew_in_one_tool_is_left_out_of_the_lists_of_every_other(shop, account, pattern):
    account.withdrawn = [withdrew("c1"), withdrew("c2", "complaint"), withdrew("c3", "hard_bounce")]
    [report] = pull(shop)
    assert (report.destination, report.pages, report.taken.new, report.problem) == ("chimp", 2, 3, None)
    export(shop, pattern[2])
    rows = exports.rows_of(shop, "2017-10-01/news__email")
    assert [row["client_id"] for row in rows] == ["c0", "c4", "c5"]


def test_L10_the_same_withdrawal_told_by_a_pull_and_again_by_the_next_counts_once(shop, account):
    account.withdrawn = [withdrew("c1")]
    pull(shop)
    account.withdrawn = [withdrew("c1"), withdrew("c4")]
    [report] = pull(shop)
    assert (report.taken.new, report.taken.known) == (1, 0)
    assert withdrawn(shop) == ["c1", "c4"]


def test_L12_a_pull_that_breaks_keeps_its_pages_and_goes_on_behind_the_last(shop, account):
    account.events = [opened(one) for one in IDS]
    account.breaks_after = 4
    [report] = pull(shop)
    assert (report.pages, report.taken.new, isinstance(report.problem, RetryableError)) == (2, 4, True)
    assert cursor_of(open_ledger(shop), "chimp", "feedback") == {"from": 4}
    assert "the line is dead" in str(pulls(open_ledger(shop)))
    account.breaks_after = None
    [report] = pull(shop)
    assert (report.pages, report.taken.new, report.taken.known) == (1, 2, 0)
    assert account.asked == [("feedback", 0), ("feedback", 2), ("feedback", 4)]
    assert [row["events"] for row in counts(open_ledger(shop))] == [6]
    assert [row["last_error"] for row in pulls(open_ledger(shop))] == [None, None]
    assert account.closed == 2


def test_L12_a_page_whose_cursor_was_not_written_is_asked_for_again_and_nothing_is_counted_twice(
    shop, account, monkeypatch
):
    account.events = [opened("c1"), opened("c2"), opened("c3")]
    from perennial.ledger import feedback

    real, calls = feedback._write_cursor, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(feedback, "_write_cursor", dies)
    with pytest.raises(KeyboardInterrupt):
        pull(shop)
    monkeypatch.setattr(feedback, "_write_cursor", real)
    [report] = pull(shop)
    assert [row["events"] for row in counts(open_ledger(shop))] == [3]
    assert report.problem is None


def test_L16_two_pulls_of_one_tool_do_not_cross(shop, account):
    account.events = [opened("c1")]
    with hold(open_ledger(shop), "feedback/chimp"):
        [report] = pull(shop)
    assert isinstance(report.problem, RetryableError)
    assert account.asked == []


def test_L9_a_push_waits_for_a_pull_that_is_at_work(shop, account, monkeypatch):
    from contextlib import ExitStack

    from perennial.pipeline import feedback_pull

    account.withdrawn = [withdrew("c1")]
    with ExitStack() as other:
        other.enter_context(hold(open_ledger(shop), "feedback/chimp"))
        monkeypatch.setattr(feedback_pull.time, "sleep", lambda _seconds: other.close())
        report = feedback_pull.pull_withdrawals(shop, "chimp")
    assert (report.problem, withdrawn(shop)) == (None, ["c1"])


def test_a_tool_that_says_no_is_told_and_an_unknown_one_too(shop, monkeypatch):
    def revoked(*_arguments):
        raise PermanentError("the key was revoked")

    monkeypatch.setitem(destinations.TOOLS, "mailchimp", revoked)
    [report] = pull(shop, "chimp")
    assert "revoked" in str(report.problem)
    with pytest.raises(ConfigError, match="nobody"):
        pull(shop, "nobody")


def test_files_have_nothing_to_tell(shop):
    assert pull(shop, "letters") == []


def test_the_command_tells_what_came_back_and_what_is_known(shop, account, monkeypatch, capsys):
    from perennial.cli import main

    monkeypatch.setenv("PERENNIAL_HOME", str(shop.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(shop.config_dir))
    account.events = [opened("c1"), opened("nobody")]
    assert main(["feedback", "pull"]) == 0
    assert main(["feedback", "status"]) == 0
    said = capsys.readouterr().out
    assert "chimp was asked for feedback" in said
    assert "example.com" not in said
    account.events.append(opened("c2"))
    account.breaks_after = 2
    assert main(["feedback", "pull", "chimp", "--json"]) == 75
    assert main(["destinations", "list"]) == 0
    assert "mailchimp" in capsys.readouterr().out
