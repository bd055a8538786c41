"""What comes back works at once: consents that end, suppressions, events that are kept, nothing twice."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from factories import exports, published
from perennial.delivery.tools.records import FeedbackEvent
from perennial.delivery.unsubscribe_links import Unsubscribe
from perennial.ledger.consents import consent_state
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback_tables import feedback_events
from perennial.ledger.suppressions import suppressed
from perennial.pipeline.export import export
from perennial.pipeline.feedback import Intake, list_of

PEOPLE = [exports.person(f"c{n}") for n in range(4)]
IDS = [one["client_id"] for one in PEOPLE]
AT = datetime(2017, 10, 1, 9, tzinfo=UTC)
NEWS = "news__email__2017-10-01"


@pytest.fixture(autouse=True)
def noon(monkeypatch):
    """The operational clock stands at noon of the lists' day."""
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T12:00:00+00:00")


CARDS = [published.card("news", channels=["email"]), published.card("survey", channels=["email"], purpose="surveys")]


def made(folder, people=PEOPLE):
    """A shop with two campaigns, of which everyone is a target, and consents; None for people: nothing is published."""
    settings = exports.settings_with(folder, *CARDS)
    exports.consent(settings, IDS)
    exports.consent(settings, IDS, purpose="surveys")
    return settings if people is None else (settings, planned(settings, people))


def planned(settings, people=PEOPLE):
    ids = [one["client_id"] for one in people]
    targets = [exports.target(campaign, one) for campaign in ("news", "survey") for one in ids]
    return exports.planned_day(settings, people, targets)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A planned shop that is copied for each test."""
    folder = tmp_path_factory.mktemp("pattern")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CLOCK", "2017-10-01T08:00:00+00:00")
        return (folder, *made(folder))


@pytest.fixture
def day(pattern, tmp_path):
    """The planned shop, and its run."""
    folder, settings, run = pattern
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    places = {name: tmp_path / getattr(settings, name).relative_to(folder) for name in ("home", "config_dir")}
    return settings.model_copy(update=places), run


@pytest.fixture
def shop(day):
    """The planned shop."""
    return day[0]


def told(kind, client="c1", *, number=1, **more):
    values = {"list_title": NEWS, "address": f"{client}@example.com", **more}
    return FeedbackEvent(event_id=f"{kind}-{client}-{number}", kind=kind, at=values.pop("at", AT), **values)


def take_in(settings, *events, came_by="webhook", **more):
    return Intake(settings).take_in("outbox", events, came_by=came_by, **more)


def rows(settings):
    with open_ledger(settings).connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(feedback_events)).mappings()]


def withdrawn(settings, client="c1"):
    state = consent_state(open_ledger(settings), date.max, client_ref=client).to_pylist()
    return {(row["channel"], row["purpose"]) for row in state if row["status"] == "withdrawn"}


def sent(settings, campaign="news"):
    folder = settings.outbox / f"2017-10-01/{campaign}__email"
    return [row["client_id"] for row in exports.rows_of(settings, folder.relative_to(settings.outbox))]


def test_L9_an_unsubscribe_between_plan_and_push_is_left_out_of_every_list_of_the_channel(day):
    shop, run = day
    assert take_in(shop, told("unsubscribe")).new == 1
    export(shop, run)
    assert sent(shop) == sent(shop, "survey") == ["c0", "c2", "c3"]


def test_L9_an_unsubscribe_from_one_list_ends_the_purpose_of_its_campaign_alone(day):
    shop, run = day
    take_in(shop, told("unsubscribe", scope="list"))
    assert withdrawn(shop) == {("email", "marketing")}
    export(shop, run)
    assert (sent(shop), sent(shop, "survey")) == (["c0", "c2", "c3"], IDS)


def test_L9_an_unsubscribe_from_a_list_that_is_not_ours_ends_every_purpose(shop):
    take_in(shop, told("unsubscribe", scope="list", list_title="another__email"))
    assert ("email", "all") in withdrawn(shop)


def test_a_complaint_ends_consent_and_suppresses_a_hard_bounce_only_suppresses(shop):
    take_in(shop, told("complaint"), told("hard_bounce", "c2"))
    pairs = suppressed(open_ledger(shop), date(2017, 10, 1)).to_pylist()
    assert pairs == [{"client_id": "c1", "channel": "email"}, {"client_id": "c2", "channel": "email"}]
    assert (("email", "all") in withdrawn(shop), withdrawn(shop, "c2")) == (True, set())


@pytest.mark.parametrize("kind", ["hard_bounce", "complaint"])
def test_L9_a_client_who_was_suppressed_after_the_plan_gets_nothing(day, kind):
    shop, run = day
    take_in(shop, told(kind))
    export(shop, run)
    assert sent(shop) == ["c0", "c2", "c3"]


@pytest.mark.parametrize("kind", ["open", "click", "delivered", "soft_bounce", "reply"])
def test_L20_other_kinds_are_kept_and_change_no_list(day, kind):
    shop, run = day
    take_in(shop, told(kind, is_machine=True))
    export(shop, run)
    assert sent(shop) == IDS
    [row] = rows(shop)
    assert (row["kind"], row["is_machine"], row["client_ref"], row["campaign_id"]) == (kind, True, "c1", "news")
    assert (row["as_of"], row["channel"], row["known_on"]) == (exports.AS_OF, "email", exports.AS_OF)


def test_L12_what_is_told_twice_is_one_event_with_its_consequences_once(shop):
    first = take_in(shop, told("complaint"), told("complaint"))
    second = take_in(shop, told("complaint"), told("open"))
    assert ((first.new, first.known), (second.new, second.known)) == ((1, 1), (1, 1))
    with open_ledger(shop).connect() as connection:
        assert connection.execute(sa.text("select count(*) from suppressions")).scalar() == 1


def test_L22_no_address_is_written_down(shop):
    take_in(shop, told("hard_bounce", detail="(address) is unknown"), told("open", "nobody"))
    files = b"".join(path.read_bytes() for path in shop.home.glob("ledger*"))
    assert b"@example.com" not in files
    assert b"hard_bounce" in files


def test_an_event_of_an_unknown_address_waits_and_works_when_the_client_is_known(tmp_path):
    shop = made(tmp_path, None)
    assert take_in(shop, told("unsubscribe"), told("hard_bounce", "c2")).without_client == 2
    assert withdrawn(shop) == set()
    run = planned(shop)
    assert Intake(shop).settle() == 2
    assert Intake(shop).settle() == 0
    export(shop, run)
    assert sent(shop) == ["c0", "c3"]


def test_an_unknown_campaign_is_told_and_kept_and_its_bounce_counts(shop):
    taken = take_in(shop, told("hard_bounce", list_title="Autumn 2016"))
    assert (taken.new, taken.unknown_lists) == (1, ("Autumn 2016",))
    [row] = rows(shop)
    assert (row["campaign_id"], row["list_title"], row["client_ref"]) == (None, "Autumn 2016", "c1")
    assert suppressed(open_ledger(shop), exports.AS_OF).num_rows == 1


def test_L9_everyone_who_has_the_address_is_left_out(tmp_path):
    shop, _ = made(tmp_path, [*PEOPLE[:2], exports.person("c2", email="C1@Example.com ")])
    take_in(shop, told("unsubscribe"))
    assert withdrawn(shop)
    assert withdrawn(shop, "c2")


def test_an_address_is_found_however_its_domain_is_written(tmp_path):
    written = ["c1@müller.example", "C1@xn--mller-kva.example", " c1@MÜLLER.example"]
    shop, _ = made(tmp_path, [exports.person("c1", email="c1@müller.example")])
    events = [told("open", address=address, number=number) for number, address in enumerate(written)]
    assert take_in(shop, *events).without_client == 0


def test_a_later_consent_stands_against_an_older_unsubscribe(shop):
    exports.consent(shop, ["c1"], on=date(2017, 10, 1))  # at noon
    take_in(shop, told("unsubscribe", at=AT - timedelta(days=30)))
    assert ("email", "marketing") not in withdrawn(shop)


def test_a_moment_in_the_future_counts_as_now(shop):
    take_in(shop, told("unsubscribe", at=AT + timedelta(days=400)))
    [row] = rows(shop)
    assert row["happened_at"] == datetime(2017, 10, 1, 12)


def test_L9_a_link_ends_what_it_names_for_all_the_records_of_the_client_and_once(shop):
    what = Unsubscribe("c1", "email", "marketing", "news", exports.AS_OF)
    assert Intake(shop).withdraw(what)
    assert not Intake(shop).withdraw(what)
    assert withdrawn(shop) == {("email", "marketing")}
    assert [row["came_by"] for row in rows(shop)] == ["link"]


def test_L9_a_link_works_again_after_a_new_consent(shop, monkeypatch):
    what = Unsubscribe("c1", "email", "marketing", "news", exports.AS_OF)
    Intake(shop).withdraw(what)
    exports.consent(shop, ["c1"], on=date(2017, 10, 2))
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-03T12:00:00+00:00")
    assert withdrawn(shop) == set()
    assert Intake(shop).withdraw(what)
    assert withdrawn(shop) == {("email", "marketing")}


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("news__email", ("news", "email", None)),
        ("a__b__sms__2017-10-01", ("a__b", "sms", date(2017, 10, 1))),
        ("news__2017-10-01", (None, None, None)),
        ("Autumn", (None, None, None)),
        ("__email", (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_a_title_tells_campaign_channel_and_date(title, found):
    assert list_of(title) == found


def test_a_page_and_its_cursor_are_written_together(shop):
    from perennial.ledger.feedback import cursor_of

    planned(shop)
    take_in(shop, told("open"), came_by="pull", cursor=("feedback", {"page": 2}))
    assert cursor_of(open_ledger(shop), "outbox", "feedback") == {"page": 2}


def test_L26_the_book_of_addresses_is_written_in_parts_and_finds_everyone_who_has_one(tmp_path, monkeypatch):
    from perennial.delivery.feedback import book

    monkeypatch.setattr(book, "_ROWS", 2)
    shared = [exports.person(f"c{number}", email="ONE@example.com", phone="+1 (202) 555-0123") for number in range(5)]
    shop, run = made(tmp_path, [*shared, exports.person("c7"), exports.person("c8", email=None, phone=None)])
    take_in(shop, told("hard_bounce", address="one@example.com"), told("complaint", address="+12025550123", number=2))
    found = suppressed(open_ledger(shop), exports.AS_OF).column("client_id").to_pylist()
    assert found == [f"c{number}" for number in range(5)]
    assert [row["client_ref"] for row in rows(shop)] == ["c0", "c0"]
    assert take_in(shop, told("open", "c7"), told("open", "nobody")).without_client == 1
    path = shop.private_dir / f"contacts-{run.run_id}.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"example" not in path.read_bytes()


def test_L9_whoever_has_another_address_than_the_one_that_bounced_may_be_written_to_again(tmp_path):
    shop, run = made(tmp_path)
    take_in(shop, told("hard_bounce"), told("hard_bounce", "c2"), told("complaint", "c3"))
    Intake(shop).settle()
    held = suppressed(open_ledger(shop), exports.AS_OF).column("client_id").to_pylist()
    assert held == ["c1", "c2", "c3"]
    corrected = [{**one, "email": "right@example.com"} if one["client_id"] in {"c1", "c3"} else one for one in PEOPLE]
    exports.write_contacts(shop, run, corrected)
    (shop.private_dir / f"contacts-{run.run_id}.keys").unlink()
    Intake(shop).settle()
    Intake(shop).settle()
    held = suppressed(open_ledger(shop), exports.AS_OF).column("client_id").to_pylist()
    assert held == ["c2", "c3"]
