from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.published import AS_OF, card, client, granted, policy, publish_shop, write_config
from perennial.cli import main
from perennial.contracts.targeting import Campaign
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY
from perennial.ledger.consents import append_events
from perennial.ledger.engine import open_ledger
from perennial.ledger.forecast_tables import campaign_forecasts
from perennial.pipeline.campaign_calendar import calendar_of, in_html, in_text
from perennial.pipeline.campaign_forecast import check_campaigns, outline
from perennial.pipeline.plan import campaign_summary, plan

CLIENTS = [client(f"c{i:02}", value_90d=100.0 + i, recency_days=i) for i in range(40)]
PRICE = {"text": "5 off", "kind": "price", "cost": 0.5}
SERIES = {
    "steps": [{"id": "one", "message": "m1"}, {"id": "two", "after_days": 5, "message": "m2"}],
    "exit_when": "recency_days > 50",
}


def shop(folder, *campaigns, **values):
    """The settings of a shop in which everyone said yes to everything, and its published day."""
    settings = write_config(folder, campaigns=campaigns, policy=policy(**values))
    said = {"purpose": "marketing", "changed_at": datetime(2017, 1, 1), "known_on": AS_OF, "status": "granted"}
    rows = [
        {"client_ref": who, "channel": channel, **said}
        for who, channel, _ in granted(*(c["client_id"] for c in CLIENTS))
    ]
    with open_ledger(settings).begin() as connection:
        append_events(connection, pa.Table.from_pylist(rows), source="crm")
    return settings, publish_shop(settings, CLIENTS)


def forecast_of(told, campaign_id):
    return next(one for one in told["forecasts"] if one["campaign"] == campaign_id)


def test_the_schema_for_editors_is_that_of_the_cards(capsys):
    assert main(["campaigns", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"id", "audience", "offer", "expected_value"} <= set(schema["required"])
    stored = REPOSITORY / "config" / "schemas" / "campaign.schema.json"
    assert json.loads(stored.read_text(encoding="utf-8")) == schema, "perennial campaigns schema > config/schemas/..."


def test_every_mistake_of_every_card_is_told_by_file_line_and_fix(tmp_path):
    wrong = card("one", audience="churn_risc > 1", channels=["email", "email"])
    settings = write_config(tmp_path, campaigns=[wrong, card("two", offer={"text": "x", "cots": 1})])
    with pytest.raises(ConfigError) as raised:
        check_campaigns(settings, None)
    told = [str(problem) for problem in raised.value.problems]
    assert len(told) == 3
    assert all(re.match(r".*/campaigns/(one|two)\.yml:\d+:[\w.]+: .+ -> .+", line) for line in told), told
    assert any("did you mean churn_risk" in line for line in told)


def test_without_a_published_day_right_cards_are_right_and_nothing_is_foreseen(tmp_path):
    told = check_campaigns(write_config(tmp_path, campaigns=[card("one")]), None)
    assert told == {"campaigns": 1, "forecasts": [], "clashes": [], "overlaps": []}


def test_the_next_days_keep_caps_cool_downs_and_limits(tmp_path):
    news = card("news", cool_down_days=7, max_contacts_per_day=10, control_share=0.5)
    settings, run = shop(tmp_path, news, caps=[{"contacts": 1, "days": 3}, {"contacts": 3, "days": 30}])
    one = forecast_of(check_campaigns(settings, run, 30), "news")
    assert (one["audience"], one["reachable"], one["clients"]) == (40, 40, 40)
    assert [day["contacts"] for day in one["days"]][:8] == [10, 10, 10, 10, 0, 0, 0, 10]
    assert one["contacts"] == 40 * 3, "three in thirty days"
    assert (one["sent"], one["target"], one["control"]) == (60, 20, 20)
    assert one["responders"] == pytest.approx(60 * 0.1)
    assert one["cost"] == pytest.approx(60 * 0.01)


def test_the_forecast_of_a_day_is_what_the_plan_of_that_day_does(tmp_path):
    settings, run = shop(tmp_path, card("news", control_share=0.2), card("loud", max_contacts_per_day=7, priority=1))
    plan(settings, run)
    planned = {one.campaign_id: one.target + one.control for one in campaign_summary(settings, run)}
    with open_ledger(settings).connect() as connection:
        rows = {row.campaign_id: row for row in connection.execute(sa.select(campaign_forecasts))}
    assert {name: row.as_of for name, row in rows.items()} == {"news": AS_OF, "loud": AS_OF}
    assert planned == {"loud": 7, "news": 33}
    assert (rows["loud"].size, rows["news"].size) == (7, 33), "the same seven are always worth most to the loud one"
    first_day = outline(settings, run, 3)
    assert {one.campaign_id: one.days[0].contacts for one in first_day.foreseen.cards} == {"loud": 0, "news": 0}
    assert sum(one.days[2].contacts for one in first_day.foreseen.cards) == 40, "the cap of three days is over"


def test_a_forecast_is_written_on_the_first_day_and_never_changed_after(tmp_path):
    later = card("later", starts_on=AS_OF + timedelta(days=1))
    settings, run = shop(tmp_path, card("news"), later)
    report = plan(settings, run)
    assert "forecast of 1 campaigns written down on their first day: news" in report.notes

    def written():
        with open_ledger(settings).connect() as connection:
            return connection.execute(sa.select(campaign_forecasts).order_by("campaign_id")).all()

    first = written()
    plan(settings, run)
    assert written() == first
    plan(settings, publish_shop(settings, CLIENTS[:20], as_of=AS_OF + timedelta(days=1)))
    assert [(row.campaign_id, row.as_of) for row in written()] == [
        ("later", AS_OF + timedelta(days=1)),
        ("news", AS_OF),
    ]
    assert written()[1] == first[0]


def test_a_series_is_foreseen_step_by_step(tmp_path):
    settings, run = shop(tmp_path, card("welcome", audience="recency_days < 10", series=SERIES), caps=[])
    days = forecast_of(check_campaigns(settings, run, 12), "welcome")["days"]
    assert [day["contacts"] for day in days] == [10, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0]


def test_a_date_of_the_client_is_foreseen_on_its_day(tmp_path):
    turns = card("anniversary", schedule={"anniversary_of": "signed_up_on", "days_before": 1})
    event = card("month", schedule={"event": {"name": "first_order_on", "delay_days": 950}})
    settings, run = shop(tmp_path, turns, event, caps=[])
    told = check_campaigns(settings, run, 200)
    (day,) = [day["day"] for day in forecast_of(told, "anniversary")["days"] if day["contacts"]]
    assert day == date(2018, 2, 28), "a day before 1 March"
    days = [day["day"] for day in forecast_of(told, "month")["days"] if day["contacts"]]
    assert days[:1] == [date(2015, 3, 2) + timedelta(days=950)]


def test_a_test_that_is_too_small_is_called_so_before_it_starts(tmp_path):
    settings, run = shop(tmp_path, card("small", control_share=0.1))
    told = forecast_of(check_campaigns(settings, run), "small")
    assert "too small a test: it shows a difference of" in told["test"]
    assert "it needs" in told["test"]
    alone, run = shop(tmp_path / "b", card("alone", control_share=0.0))
    assert (
        "it has no control group: what it earns will not be known"
        in forecast_of(check_campaigns(alone, run), "alone")["remarks"]
    )


def test_two_price_offers_in_one_week_to_the_same_clients_clash(tmp_path):
    cards = [
        card("one", offer=PRICE, schedule={"weekdays": ["mon"]}),
        card("two", offer=PRICE, schedule={"weekdays": ["thu"]}),
    ]
    settings, run = shop(tmp_path, *cards)
    told = check_campaigns(settings, run, 14)
    (clash,) = told["clashes"]
    assert (clash["kind"], clash["campaigns"], clash["clients"]) == ("prices", ("one", "two"), 40)
    assert "exclusivity" in clash["fix"]
    apart = [{**one, "exclusivity": {"group": "price", "days": 7}} for one in cards]
    settings, run = shop(tmp_path / "apart", *apart)
    assert check_campaigns(settings, run, 14)["clashes"] == []


def test_price_offers_to_different_clients_do_not_clash(tmp_path):
    cards = [
        card("one", offer=PRICE, audience="recency_days < 20"),
        card("two", offer=PRICE, audience="recency_days >= 20"),
    ]
    settings, run = shop(tmp_path, *cards)
    assert check_campaigns(settings, run, 14)["clashes"] == []


def test_a_contest_beside_a_contest_and_a_third_one_in_a_year_clash(tmp_path):
    def contest(name, starts_on, ends_on):
        return card(name, offer={"text": "win", "kind": "contest"}, starts_on=starts_on, ends_on=ends_on)

    cards = [
        contest("spring", date(2017, 3, 1), date(2017, 5, 31)),
        contest("may", date(2017, 5, 15), date(2017, 7, 1)),
        contest("autumn", date(2017, 9, 1), date(2017, 9, 10)),
    ]
    settings, run = shop(tmp_path, *cards)
    told = check_campaigns(settings, run, 5)
    assert [clash["campaigns"] for clash in told["clashes"]] == [("spring", "may", "autumn"), ("spring", "may")]
    assert "a contest lasts one to four months" in forecast_of(told, "autumn")["remarks"]
    assert f"its term ended on {date(2017, 9, 10)}: it picks nobody any more" in forecast_of(told, "autumn")["remarks"]


def test_more_calls_than_the_call_centre_can_make_are_told(tmp_path):
    channels = {**policy()["channels"], "call": {"cost": 2.0, "address": "phone", "capacity_per_day": 15}}
    settings, run = shop(tmp_path, card("calls", channels=["call"]), channels=channels)
    (clash,) = check_campaigns(settings, run, 5)["clashes"]
    assert (clash["kind"], clash["clients"]) == ("capacity", 40)


def test_the_calendar_is_one_file_without_network_and_what_people_wrote_stays_text(tmp_path):
    hostile = card("loud", name="<script>alert(1)</script>", goal="'><img src=x onerror=alert(1)>", offer=PRICE)
    settings, run = shop(tmp_path, hostile, card("other", offer=PRICE, series=SERIES), caps=[])
    calendar = calendar_of(outline(settings, run, 14))
    page = in_html(calendar)
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(https?:)?//|url\(|@import|<link", page)
    assert "two price offers" in page
    assert page.count("flag") > 14
    assert "Ends early when" in page
    text = in_text(calendar)
    assert re.search(r"Mon 2017-10-02 ! loud 40, other 40", text)


def test_the_calendar_command_writes_the_file_and_its_json_has_every_day(tmp_path, monkeypatch, capsys):
    settings, _run = shop(tmp_path, card("news"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(settings.config_dir))
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    assert main(["campaigns", "calendar", "--days", "7", "--to", str(tmp_path / "c.html")]) == 0
    assert "2017-10-02 to 2017-10-08, 0 clashes" in capsys.readouterr().out
    assert (tmp_path / "c.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["campaigns", "calendar", "--days", "7", "--json"]) == 0
    assert [day["contacts"] for day in json.loads(capsys.readouterr().out)["days"]] == [40, 0, 0, 40, 0, 0, 40]
    assert main(["campaigns", "check"]) == 0
    assert "1 campaigns are right" in capsys.readouterr().out


def test_a_sample_of_many_clients_stands_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("perennial.targeting.forecasting.SAMPLE_CLIENTS", 10)
    settings, run = shop(tmp_path, card("news", max_contacts_per_day=20))
    one = forecast_of(check_campaigns(settings, run, 2), "news")
    assert (one["audience"], one["clients"]) == (40, 40)
    assert [day["contacts"] for day in one["days"]] == [20, 20]


def test_the_shipped_cards_are_of_all_kinds_and_natures_and_none_clashes_by_its_terms():
    from perennial.core.yamlfile import read_yaml, validate

    folder = REPOSITORY / "config" / "campaigns"
    cards = {path.stem: validate(read_yaml(path), Campaign) for path in folder.glob("*.yml")}
    assert set(cards) == {
        *("welcome", "welcome_fresh", "nurture", "replenishment", "service_end", "newsletter", "re_engagement"),
        *("cross_sell", "up_sell", "retention", "retention_few", "win_back", "bring_a_friend", "birthday"),
        *("anniversary", "milestone", "review_request"),
    }
    assert {card.kind for card in cards.values()} == {"acquisition", "development", "retention", "win_back"}
    assert {card.nature for card in cards.values()} == {"informational", "bonus", "emotional"}
    assert {name for name, card in cards.items() if card.series} == {"welcome", "welcome_fresh", "nurture", "win_back"}
    assert all(card.offer.kind != "price" or card.exclusivity for card in cards.values())
