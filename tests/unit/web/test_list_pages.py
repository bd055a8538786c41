"""The marketer's pages: what she sees of a list, what she never sees, and what her answer does."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta

import pytest
from fastapi import Depends, Header, HTTPException

from factories import exports, published
from perennial.ledger import approvals, forecasts
from perennial.ledger.approvals import Question
from perennial.ledger.engine import open_ledger
from perennial.pipeline.export import export

IDS = [f"c{number}" for number in range(14)]
KEY = b"a key of the host"
VIEWER, OPERATOR = {"X-Who": "vera"}, {"X-Who": "olga"}
YESTERDAY = exports.AS_OF - timedelta(days=1)
PAGE = "/lists/news/email?as_of=2017-10-01"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two days of a campaign: the first was handed over, of the second a list waits for an answer."""
    folder = tmp_path_factory.mktemp("lists")
    cards = [
        published.card("news", channels=["email"], approval="required", goal="Tell <b>everyone</b>"),
        published.card("thanks", channels=["sms"]),
    ]
    with pytest.MonkeyPatch.context() as patch:
        settings = exports.settings_with(folder, *cards)
        patch.setenv("PERENNIAL_HOME", str(settings.home))
        patch.setenv("PERENNIAL_CONFIG", str(settings.config_dir))
        patch.setenv("PERENNIAL_CLOCK", "2017-10-01T12:00:00+00:00")
        exports.consent(settings, IDS)
        people = [exports.person(one) for one in IDS]
        targets = [exports.target("thanks", one, channel="sms", value=1.0) for one in IDS[:4]]
        export(settings, exports.planned_day(settings, people, targets, as_of=YESTERDAY))
        both = [exports.target("news", one, value=float(n)) for n, one in enumerate(IDS)]
        refused = exports.target("news", "c99", outcome="refused", rule="no_consent")
        targets = [exports.target("thanks", one, channel="sms") for one in IDS[:6]]
        export(settings, exports.planned_day(settings, people, [*both, *targets, refused]))
        row = {"campaign_id": "news", "as_of": exports.AS_OF, "days": 30, "audience": 20, "size": 14, "contacts": 14}
        row |= {"control": 1, "responders": 2.0, "cost": 1.4, "expected_value": 91.0, "least_difference": None}
        forecasts.record(
            open_ledger(settings), [{**row, "basis": "value_90d", "prior_effect": 0.1, "config_digest": "x"}]
        )
        yield settings


def _signed_in(x_who: str = Header(default="")) -> None:
    if not x_who:
        raise HTTPException(401)


@pytest.fixture(scope="module")
def pages(shop):
    """A client of the pages; who asks is told by a header in Airflow's place."""
    from perennial.web.lists import Host, Person, add_list_pages
    from perennial.web.pages import create_pages

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    app = create_pages(Depends(_signed_in), lambda url: f"/login?next={url}")

    def person(x_who: str = Header(default="")) -> Person:
        return Person(x_who, may_answer=x_who == "olga")

    add_list_pages(app, Host(person, lambda: KEY))
    return TestClient(app, base_url="http://shop.example", follow_redirects=False)


def shown(page):
    assert page.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


def form(pages, who=OPERATOR, **changes):
    token = re.search(r'name="token" value="([0-9a-f]{64})"', pages.get(PAGE, headers=who).text)
    values = {"as_of": "2017-10-01", "answer": "approved", "at_most": 12, "reason": "it was agreed"}
    return {**values, "token": token.group(1) if token else "0" * 64, **changes}


def test_a_day_tells_which_lists_wait_their_sums_and_the_change_since_the_last(pages):
    text = shown(pages.get("/lists", headers=VIEWER))
    assert "1 list waits for an answer: news, email" in text
    assert re.search(r"news email outbox waits for an answer 14 0 first", text), text
    assert re.search(r"thanks sms outbox delivered 6 6 \+2 0 0 0", text), text
    assert shown(pages.get("/lists?as_of=2017-09-30", headers=VIEWER)).count("waits") == 0
    assert "1999-01-01 was not planned" in shown(pages.get("/lists?as_of=1999-01-01", headers=VIEWER))


def test_a_list_tells_why_whom_what_it_costs_and_promises_and_who_is_refused(pages):
    text = shown(pages.get(PAGE, headers=VIEWER))
    assert "14 clients of 15 candidates" in text
    assert "Cost 1.40 USD" in text
    assert "Expected value 91.00 USD" in text
    assert "14 clients, 14 contacts, 2 responders" in text
    assert "the campaign's card asks for it" in " ".join(text.split()).replace("&#39;", "'")
    assert "Who was refused by the plan" in text


def test_L22_ten_rows_are_shown_and_none_of_them_names_anybody(pages):
    text = pages.get(PAGE, headers=VIEWER).text
    assert len(re.findall(r"/lists/why\?client=c", text)) == 10
    assert "c***@e***.com" in text
    assert "@example.com" not in text
    assert "First c" not in text
    assert not re.search(r"\+1\d{5}", text)


def test_L23_what_a_card_says_is_text_and_never_markup(pages):
    text = pages.get(PAGE, headers=VIEWER).text
    assert "<b>" not in text
    assert "&lt;b&gt;everyone" in text


def test_why_a_client_is_on_a_list_is_told_by_her_id_alone(pages):
    for client, wanted in (("c1", "A campaign target sms"), ("c9", "A campaign no candidate")):
        text = pages.get(f"/lists/why?client={client}", headers=VIEWER)
        assert wanted in shown(text), shown(text)
        assert "example.com" not in text.text
    assert pages.get("/lists/why?client=nobody", headers=VIEWER).status_code == 404
    assert pages.get("/lists/why", headers=VIEWER).status_code == 200


@pytest.mark.parametrize("path", ["/lists", "/lists/why?client=c1", PAGE])
def test_L22_a_stranger_sees_no_list(pages, path):
    answer = pages.get(path)
    assert answer.status_code == 401
    assert "news" not in answer.text


def test_L22_who_may_only_read_sees_no_form_and_cannot_answer(pages, shop):
    assert '<button name="answer"' not in pages.get(PAGE, headers=VIEWER).text
    assert pages.post("/lists/news/email", data=form(pages), headers=VIEWER).status_code == 403
    assert approvals.answers(open_ledger(shop), exports.AS_OF) == []


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({"Origin": "https://evil.example"}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({}, {"token": "0" * 64}),
        ({}, {"as_of": "2017-09-30"}),
    ],
)
def test_an_answer_that_another_site_made_is_refused(pages, shop, headers, changes):
    answer = pages.post("/lists/news/email", data=form(pages, **changes), headers={**OPERATOR, **headers})
    assert answer.status_code == 403
    assert approvals.answers(open_ledger(shop), exports.AS_OF) == []


@pytest.mark.parametrize(
    "changes", [{"answer": "perhaps"}, {"at_most": -1}, {"reason": ""}, {"more": "x"}, {"token": "é"}, {"as_of": "x"}]
)
def test_L23_an_answer_of_another_form_is_422(pages, changes):
    assert pages.post("/lists/news/email", data=form(pages, **changes), headers=OPERATOR).status_code == 422


def test_a_list_that_is_not_there_is_404_and_one_that_nobody_asks_about_takes_no_answer(pages):
    from perennial.web.lists import form_token

    assert pages.get("/lists/nothing/email", headers=VIEWER).status_code == 404
    token = form_token(KEY, "olga", "thanks", "sms", exports.AS_OF)
    answer = pages.post("/lists/thanks/sms", data=form(pages, token=token), headers=OPERATOR)
    assert (answer.status_code, "nobody has to answer" in answer.text) == (409, True)


def test_an_approval_is_kept_with_name_ceiling_and_what_was_in_view_and_the_next_export_sends_it(pages, shop):
    assert pages.post("/lists/news/email", data=form(pages, at_most=14), headers=OPERATOR).status_code == 303
    [said] = approvals.answers(open_ledger(shop), exports.AS_OF)
    assert (said["answer"], said["at_most"], said["answered_by"], said["answered_via"]) == (
        "approved",
        14,
        "olga",
        "page",
    )
    assert (said["reason"], said["view"]["size"]) == ("it was agreed", 14)
    text = shown(pages.get(PAGE, headers=VIEWER))
    assert "olga approved it, at most 14 changes" in text
    from perennial.pipeline.list_page import planned_run

    export(shop, planned_run(shop))
    assert len(exports.rows_of(shop, "2017-10-01/news__email")) == 14


def test_a_question_that_nobody_answered_in_time_is_none_any_more(shop, pages):
    engine = open_ledger(shop)
    day = exports.AS_OF - timedelta(days=7)
    asked = Question("news", "email", day, "outbox", ("card",), {"size": 3}, *(_at(day, hour) for hour in (8, 9)))
    approvals.ask(engine, asked)
    assert "waits for an answer" not in shown(pages.get(f"/lists?as_of={YESTERDAY}", headers=VIEWER))


def _at(day, hour):
    from datetime import datetime, time

    return datetime.combine(day, time(hour))


def test_the_command_tells_which_lists_wait_and_why_rows_are_not_sent(shop, capsys):
    from perennial.cli import main

    engine = open_ledger(shop)
    view = {"size": 7, "add": 7, "cost": 0.7}
    asked = Question(
        "news", "call", exports.AS_OF, "outbox", ("card",), view, *(_at(exports.AS_OF, h) for h in (11, 23))
    )
    approvals.ask(engine, asked)
    assert main(["lists"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "news__call of 2017-10-01 waits for an answer until 2017-10-01 23:00 UTC (card; size 7, add 7, cost 0.7)"
        in said
    )
    assert main(["lists", "--json"]) == 0
    assert '"waiting"' in capsys.readouterr().out
