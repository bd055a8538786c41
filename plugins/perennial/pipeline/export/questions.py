"""Questions about lists in words, for a person who answers in Airflow, and what her answer does."""

from __future__ import annotations

from typing import Any

from perennial.core.errors import PermanentError, Problem
from perennial.core.settings import Settings
from perennial.ledger.approvals import Question, questions
from perennial.ledger.engine import open_ledger
from perennial.pipeline.list_page import Given, answer_list, list_detail

_ROWS_SHOWN = 10
_CHANGES = ("add", "update", "remove", "held")


def in_words(settings: Settings) -> list[dict[str, str]]:
    """Subject and Markdown text of each list that waits and has time left; who is on it is shown masked (L22)."""
    asked = [one for one in questions(open_ledger(settings)) if not one.is_expired]
    return [{"subject": subject_of(one), "body": _body(settings, one)} for one in asked]


def subject_of(question: Question) -> str:
    """What the question is called: date, campaign, channel and destination."""
    return f"{question.as_of.isoformat()} {question.campaign_id} {question.channel} to {question.destination}"


def take(settings: Settings, subject: str, *, approved: bool, by: str, reason: str) -> str:
    """Write the answer down, with what was in view. Raises PermanentError when the list does not wait any more."""
    asked = {subject_of(one): one for one in questions(open_ledger(settings))}
    if subject not in asked:
        raise PermanentError(Problem(subject, "it was answered meanwhile", "see the page of the day's lists"))
    question = asked[subject]
    at_most = sum(int(question.view[name]) for name in _CHANGES)
    given = Given("approved" if approved else "refused", at_most, reason, by, via="airflow")
    answer_list(settings, question.campaign_id, question.channel, question.as_of, given)
    return given.answer


def _body(settings: Settings, question: Question) -> str:
    view = question.view
    reasons = ", ".join(f"{code} {rows:,}" for code, rows in sorted(view["reasons"].items())) or "nobody"
    ends = f"{question.expires_at:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"- asked because: {', '.join(question.why)}; without an answer until {ends} it is not sent",
        f"- size {view['size']:,}: {view['add']:,} to add, {view['update']:,} to change, {view['remove']:,} to remove",
        f"- not sent: {reasons}",
        f"- cost {view['cost']:,} {view['currency']}, expected value {view['expected_value']:,} {view['currency']}",
    ]
    return "\n".join([*lines, *_more(settings, question)])


def _more(settings: Settings, question: Question) -> list[str]:
    """The last list, and ten rows with masked addresses, as the page shows them."""
    found = list_detail(settings, question.campaign_id, question.channel, question.as_of)
    if found is None:
        return []
    last = (
        f"- the last list: {found.line.last_sent:,} on {found.line.last_on}"
        if found.line.last_on
        else "- no list before"
    )
    rows: tuple[dict[str, Any], ...] = found.rows[:_ROWS_SHOWN]
    if not rows:
        return [last]
    names = list(rows[0])
    table = ["", "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [last, *table, *("| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows)]


def _cell(value: Any) -> str:
    """A value that breaks neither the table nor the page (L23)."""
    text = "" if value is None else str(value)
    return "".join(f"\\{sign}" if sign in "\\|`*_[]<>!#" else sign for sign in text if sign.isprintable())
