import csv
from dataclasses import replace
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from factories import exports, published
from perennial.core.errors import ConfigError, ContractViolation, PermanentError, RetryableError
from perennial.ledger.approvals import Approval, approve
from perennial.ledger.deliveries import lists_of
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold
from perennial.ledger.runs import get_run, open_run
from perennial.ledger.tables import deliveries
from perennial.pipeline.export import export, reconcile, render

PEOPLE = [exports.person(f"c{n}") for n in range(6)]
IDS = [one["client_id"] for one in PEOPLE]
NEWS, THANKS = "2017-10-01/news__email", "2017-10-01/thanks__sms"
TOMORROW = exports.AS_OF + timedelta(days=1)


def shop(tmp_path, *cards, **more):
    settings = exports.settings_with(tmp_path, *(cards or [published.card("news")]), **more)
    exports.consent(settings, IDS)
    return settings


def everyone(campaign_id="news", ids=IDS, **more):
    return [exports.target(campaign_id, one, value=float(n), **more) for n, one in enumerate(ids)]


def clients(settings, list_id):
    return [row["client_id"] for row in exports.rows_of(settings, list_id)]


def counts(report):
    return (report.size, report.sent, report.rejected, report.skipped, report.pending)


def in_ledger(settings, **wanted):
    query = sa.select(deliveries).where(*(deliveries.c[name] == value for name, value in wanted.items()))
    with open_ledger(settings).connect() as connection:
        return sorted(row.client_id for row in connection.execute(query))


def test_a_list_has_a_row_for_each_target_the_best_first_and_is_marked_in_the_ledger(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    [report] = export(settings, run)
    assert (report.list_id, counts(report), report.path) == (NEWS, (6, 6, 0, 0, 0), str(settings.outbox / NEWS))
    assert clients(settings, NEWS) == ["c5", "c4", "c3", "c2", "c1", "c0"]
    assert in_ledger(settings, state="accepted", list_id=NEWS) == IDS
    [record] = lists_of(open_ledger(settings), "outbox")
    assert (record.state, record.path, record.run_id) == ("delivered", f"outbox/{NEWS}", run.run_id)
    assert get_run(open_ledger(settings), run.run_id).state == "done"


def test_equal_values_are_ordered_by_client(tmp_path):
    settings = shop(tmp_path)
    export(settings, exports.planned_day(settings, PEOPLE, [exports.target("news", one) for one in reversed(IDS)]))
    assert clients(settings, NEWS) == IDS


def test_a_row_carries_the_address_the_merge_fields_and_the_offer(tmp_path):
    offer = {"text": "Ten off", "code": "TEN", "valid_days": 14}
    fields = ["first_name", "revenue_365d", "churn_risk", "recency_days", "country", "next_product", "offer_code"]
    sends = published.card(
        "news", merge_fields=fields, offer=offer, next_product="department_not_yet_bought", channels=["sms"]
    )
    settings = shop(tmp_path, sends)
    one = published.client("c1", revenue_365d="12.3450", churn_risk=0.123456, country="PT")
    targets = [exports.target("news", "c1", channel="sms", value=2.345, next_product="DELI")]
    export(
        settings, exports.planned_day(settings, [exports.person("c1", phone="+12025550123")], targets, clients=[one])
    )
    [row] = exports.rows_of(settings, "2017-10-01/news__sms")
    del row["row_hash"]
    assert {name: str(value) for name, value in row.items()} == {
        "client_id": "c1", "action": "add", "client_key": "key-c1", "phone": "+12025550123", "first_name": "First c1",
        "revenue_365d": "12.35", "churn_risk": "0.1235", "recency_days": "3", "country": "PT", "next_product": "DELI",
        "offer_text": "Ten off", "offer_code": "TEN", "valid_until": "2017-10-15", "value": "2.35",
    }  # fmt: skip
    assert list(row)[:5] == ["client_id", "action", "client_key", "phone", "first_name"]
    with (settings.outbox / "2017-10-01/news__sms/list.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["phone"] == "+12025550123"


def test_L23_a_hostile_name_is_no_formula_in_the_csv_and_itself_in_parquet(tmp_path):
    settings = shop(tmp_path)
    people = [exports.person("c1", first_name='=HYPERLINK("x")')]
    export(settings, exports.planned_day(settings, people, everyone(ids=["c1"])))
    with (settings.outbox / NEWS / "list.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["first_name"] == '\'=HYPERLINK("x")'
    assert exports.rows_of(settings, NEWS)[0]["first_name"] == '=HYPERLINK("x")'


def test_L8_a_control_client_and_a_refused_one_are_in_no_list(tmp_path):
    settings = shop(tmp_path)
    others = [exports.target("news", "c1", outcome="control"), exports.target("news", "c2", outcome="refused")]
    [report] = export(settings, exports.planned_day(settings, PEOPLE, [exports.target("news", "c0"), *others]))
    assert counts(report) == (1, 1, 0, 0, 0)
    assert clients(settings, NEWS) == ["c0"]


@pytest.mark.parametrize("channels", [["email"], ["all"]])
def test_L9_who_withdrew_between_plan_and_export_is_not_sent_to(tmp_path, channels):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    exports.consent(settings, ["c1"], "withdrawn", channels=channels, on=exports.AS_OF)
    [report] = export(settings, run)
    assert (counts(report), report.reasons) == ((6, 5, 0, 1, 0), {"consent_withdrawn": 1})
    assert "c1" not in clients(settings, NEWS)
    assert in_ledger(settings, client_id="c1") == []


def test_L9_a_withdrawal_that_became_known_after_the_day_counts_at_once_and_a_later_consent_does_not(tmp_path):
    settings = exports.settings_with(tmp_path, published.card("news"))
    exports.consent(settings, ["c0", "c1"])
    exports.consent(settings, ["c1"], "withdrawn", on=TOMORROW)
    exports.consent(settings, ["c2"], on=TOMORROW)
    [report] = export(settings, exports.planned_day(settings, PEOPLE, everyone(ids=IDS[:3])))
    assert clients(settings, NEWS) == ["c0"]
    assert report.reasons == {"consent_withdrawn": 1, "no_consent": 1}


def test_L9_a_withdrawal_in_one_channel_or_for_another_purpose_leaves_the_others_alone(tmp_path):
    settings = shop(tmp_path)
    exports.consent(settings, ["c1"], "withdrawn", channels=["sms"], on=exports.AS_OF)
    exports.consent(settings, ["c2"], "withdrawn", purpose="surveys", on=exports.AS_OF)
    [report] = export(settings, exports.planned_day(settings, PEOPLE, everyone()))
    assert report.sent == 6


def test_L9_a_channel_without_need_of_consent_still_respects_a_withdrawal(tmp_path):
    settings = shop(tmp_path, published.card("news", channels=["account_manager"]))
    exports.consent(settings, ["c1"], "withdrawn", channels=["all"], purpose="all", on=exports.AS_OF)
    targets = everyone(channel="account_manager")
    [report] = export(settings, exports.planned_day(settings, [{**one, "email": None} for one in PEOPLE], targets))
    assert (report.sent, report.reasons) == (5, {"consent_withdrawn": 1})


def test_L12_a_rerun_finds_nothing_new_and_writes_nothing(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    export(settings, run)
    before, written_at = exports.tree(settings.outbox), (settings.outbox / NEWS / "list.csv").stat().st_mtime_ns
    [report] = export(settings, run)
    assert (counts(report), report.reasons) == ((6, 0, 0, 6, 0), {"already_sent": 6})
    assert exports.tree(settings.outbox) == before
    assert (settings.outbox / NEWS / "list.csv").stat().st_mtime_ns == written_at


def test_a_day_without_targets_writes_no_folder(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, [exports.target("news", "c0", outcome="control")])
    assert export(settings, run) == []
    assert not settings.outbox.exists()


def test_L12_a_second_revision_of_the_day_sends_only_the_new_clients_in_a_second_part(tmp_path):
    settings = shop(tmp_path)
    export(settings, exports.planned_day(settings, PEOPLE, everyone(ids=IDS[:4])))
    [report] = export(settings, exports.planned_day(settings, PEOPLE, everyone(ids=IDS[2:]), batches=("late",)))
    assert (report.list_id, counts(report)) == (f"{NEWS}.2", (4, 2, 0, 2, 0))
    assert clients(settings, f"{NEWS}.2") == ["c5", "c4"]
    assert in_ledger(settings, state="accepted") == IDS


def test_L12_the_next_day_is_another_list(tmp_path):
    settings = shop(tmp_path)
    for day in (exports.AS_OF, TOMORROW):
        run = exports.planned_day(settings, PEOPLE, everyone(), as_of=day, batches=(str(day),))
        assert [report.sent for report in export(settings, run)] == [6]
    assert in_ledger(settings, state="accepted", client_id="c0") == ["c0", "c0"]


def test_L15_a_client_without_a_usable_address_is_rejected_with_the_reason_and_tried_again(tmp_path):
    settings = shop(tmp_path)
    bad = ["", "no-at-sign", "two@@example.com", "a b@example.com", "c4@example.com, d@example.com"]
    people = [exports.person(one, email=address) for one, address in zip(IDS, [*bad, "C5@EXAMPLE.com"], strict=True)]
    [report] = export(settings, exports.planned_day(settings, people, everyone()))
    assert (counts(report), report.reasons) == ((6, 1, 5, 0, 0), {"bad_email": 4, "no_email": 1})
    assert clients(settings, NEWS) == ["c5"]
    assert in_ledger(settings, state="rejected") == IDS[:5]
    mended = [exports.person(one) for one in IDS]
    [second] = export(settings, exports.planned_day(settings, mended, everyone(), batches=("mended",)))
    assert (second.list_id, counts(second)) == (f"{NEWS}.2", (6, 5, 0, 1, 0))
    assert in_ledger(settings, state="accepted") == IDS


def test_nobody_is_written_to_twice_because_two_clients_share_an_address(tmp_path):
    settings = shop(tmp_path)
    people = [exports.person("c1", email="home@example.com"), exports.person("c2", email="Home@Example.com")]
    [report] = export(settings, exports.planned_day(settings, people, everyone(ids=["c1", "c2"])))
    assert (clients(settings, NEWS), report.reasons) == (["c2"], {"shared_address": 1})


def test_L15_a_list_of_which_nothing_can_be_sent_is_written_down_and_has_no_folder(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, [exports.person("c1", email=None)], everyone(ids=["c1"]))
    for _ in range(2):
        [report] = export(settings, run)
        assert (counts(report), report.path) == ((1, 0, 1, 0, 0), None)
    [record] = lists_of(open_ledger(settings), "outbox")
    assert (record.state, record.path, record.reasons) == ("rejected", None, {"no_email": 1})
    assert not settings.outbox.exists()


def test_L13_an_audience_is_added_to_updated_and_removed_from_until_it_is_as_planned(tmp_path):
    settings = shop(tmp_path, published.card("vip", list_type="audience"))
    export(settings, exports.planned_day(settings, PEOPLE, everyone("vip", IDS[:5])))
    moved = [exports.person("c1", email="new@example.com") if one["client_id"] == "c1" else one for one in PEOPLE]
    run = exports.planned_day(settings, moved, everyone("vip", IDS[1:]), as_of=TOMORROW, batches=("next",))
    [report] = export(settings, run)
    rows = exports.rows_of(settings, "2017-10-02/vip__email")
    assert {row["client_id"]: (row["action"], row["email"]) for row in rows} == {
        "c0": ("remove", "c0@example.com"),
        "c1": ("update", "new@example.com"),
        "c5": ("add", "c5@example.com"),
    }
    assert (counts(report), report.reasons) == ((6, 3, 0, 3, 0), {"unchanged": 3})
    assert [report.sent for report in export(settings, run)] == [0]


def test_L11_an_audience_whose_source_is_empty_is_held_but_for_those_who_withdrew(tmp_path):
    settings = shop(tmp_path, published.card("vip", list_type="audience"), policy=published.policy(max_list_shrink=0.5))
    export(settings, exports.planned_day(settings, PEOPLE, everyone("vip")))
    exports.consent(settings, ["c0"], "withdrawn", on=TOMORROW)
    run = exports.planned_day(settings, PEOPLE, everyone("vip", ["c5"]), as_of=TOMORROW, batches=("empty",))
    for sent, list_id in ((1, "2017-10-02/vip__email"), (0, "2017-10-02/vip__email")):
        [report] = export(settings, run)
        assert (report.list_id, report.sent, report.pending) == (list_id, sent, 4)
        assert report.reasons["held_shrink"] == 4
    assert [(row["client_id"], row["action"]) for row in exports.rows_of(settings, list_id)] == [("c0", "remove")]
    assert [record.state for record in lists_of(open_ledger(settings), "outbox")] == ["delivered", "held"]


def test_L9_who_withdraws_leaves_an_audience_on_a_day_on_which_its_campaign_does_not_run(tmp_path):
    settings = shop(tmp_path, published.card("vip", list_type="audience"), published.card("news"))
    export(settings, exports.planned_day(settings, PEOPLE, everyone("vip")))
    exports.consent(settings, ["c3"], "withdrawn", on=TOMORROW)
    run = exports.planned_day(settings, PEOPLE, everyone("news", ["c1"]), as_of=TOMORROW, batches=("next",))
    reports = {report.campaign_id: report for report in export(settings, run)}
    assert clients(settings, "2017-10-02/vip__email") == ["c3"]
    assert counts(reports["vip"]) == (6, 1, 0, 5, 0)


def test_L9_who_withdraws_leaves_an_audience_whose_card_is_gone(tmp_path):
    settings = shop(tmp_path, published.card("vip", list_type="audience"), published.card("news"))
    export(settings, exports.planned_day(settings, PEOPLE, everyone("vip")))
    (settings.config_dir / "campaigns" / "vip.yml").unlink()
    exports.consent(settings, ["c3"], "withdrawn", on=TOMORROW)
    run = exports.planned_day(settings, PEOPLE, everyone("news", ["c1"]), as_of=TOMORROW, batches=("next",))
    export(settings, run)
    rows = exports.rows_of(settings, "2017-10-02/vip__email")
    assert [(row["client_id"], row["action"]) for row in rows] == [("c3", "remove")]


def test_L11_a_send_list_that_grows_beyond_its_limit_sends_the_best_and_keeps_the_rest(tmp_path):
    limits = published.policy(max_list_growth=2.0, growth_counts_from=0)
    settings = shop(tmp_path, policy=limits)
    export(settings, exports.planned_day(settings, PEOPLE, everyone(ids=IDS[:2])))
    run = exports.planned_day(settings, PEOPLE, everyone(), as_of=TOMORROW, batches=("next",))
    for sent in (4, 0):
        [report] = export(settings, run)
        assert (report.sent, report.pending, report.reasons["held_growth"]) == (sent, 2, 2)
    assert clients(settings, "2017-10-02/news__email") == ["c5", "c4", "c3", "c2"]


def test_L17_a_past_day_is_not_pushed(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    open_run(open_ledger(settings), TOMORROW, (), settings.config_digest())
    [report] = export(settings, run)  # it was opened as the latest; what counts is what it is now
    assert (counts(report), report.reasons) == ((6, 0, 0, 6, 0), {"past_date": 6})
    assert not settings.outbox.exists()
    assert in_ledger(settings) == []
    assert get_run(open_ledger(settings), run.run_id).state == "done"


def test_a_run_whose_day_was_opened_anew_leaves_the_sending_to_the_newer_one(tmp_path):
    settings = shop(tmp_path)
    first = exports.planned_day(settings, PEOPLE, everyone())
    second = exports.planned_day(settings, PEOPLE, everyone(), batches=("late",))
    assert [report.reasons for report in export(settings, first)] == [{"superseded": 6}]
    assert [report.sent for report in export(settings, second)] == [6]


def test_L2_a_past_day_is_rendered_byte_by_byte_as_it_was_handed_over(tmp_path):
    cards = published.card("news", merge_fields=["first_name"]), published.card("vip", list_type="audience")
    settings = shop(tmp_path, *cards)
    first = exports.planned_day(settings, PEOPLE, [*everyone(), *everyone("vip", IDS[:4])])
    export(settings, first)
    export(settings, exports.planned_day(settings, PEOPLE, everyone("vip", IDS[1:]), as_of=TOMORROW, batches=("n",)))
    exports.consent(settings, ["c1"], "withdrawn", on=TOMORROW)
    handed_over = exports.tree(settings.outbox)
    reports = render(settings, first, tmp_path / "again")
    assert exports.tree(tmp_path / "again") == {
        name: data for name, data in handed_over.items() if name.startswith("2017-10-01/")
    }
    assert [report.sent for report in reports] == [6, 4]
    assert reports[0].path == str(tmp_path / "again" / NEWS)
    assert exports.tree(settings.outbox) == handed_over


def test_render_does_not_write_into_a_folder_that_is_in_use(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(PermanentError, match="not empty"):
        render(settings, run, tmp_path / "used")


def test_L16_a_list_that_another_process_is_at_waits_and_the_others_go(tmp_path):
    settings = shop(tmp_path, published.card("news"), published.card("thanks", channels=["sms"]))
    run = exports.planned_day(settings, PEOPLE, [*everyone(), *everyone("thanks", channel="sms")])
    with hold(open_ledger(settings), "outbox/news__email"), pytest.raises(RetryableError, match="another process"):
        export(settings, run)
    assert [path.name for path in (settings.outbox / "2017-10-01").iterdir()] == ["thanks__sms"]
    assert get_run(open_ledger(settings), run.run_id).state == "planned"
    assert {report.list_id: report.sent for report in export(settings, run)} == {NEWS: 6, THANKS: 0}


def test_L19_a_list_that_cannot_be_written_does_not_hold_up_the_others(tmp_path):
    settings = shop(tmp_path, published.card("news"), published.card("thanks", channels=["sms"]))
    run = exports.planned_day(settings, PEOPLE, [*everyone(), *everyone("thanks", channel="sms")])
    blocked = settings.outbox / NEWS
    blocked.mkdir(parents=True)
    (blocked / "theirs").write_text("x")
    with pytest.raises(PermanentError, match="there is such a folder already"):
        export(settings, run)
    assert clients(settings, THANKS) == ["c5", "c4", "c3", "c2", "c1", "c0"]
    assert in_ledger(settings, campaign_id="news") == []


def test_a_disk_that_refuses_is_told_as_something_to_try_again(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    settings.outbox.write_text("a file where the folder should be")
    with pytest.raises(RetryableError, match="it could not be written"):
        export(settings, run)


def test_L12_a_list_that_was_changed_before_it_was_marked_is_neither_marked_nor_sent_again(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    export(settings, run)
    with open_ledger(settings).begin() as connection:
        connection.execute(sa.text("delete from deliveries"))
        connection.execute(sa.text("delete from lists"))
    (settings.outbox / NEWS / "list.csv").write_text("tampered")
    before = exports.tree(settings.outbox)
    with pytest.raises(ContractViolation, match=r"list\.csv changed"):
        export(settings, run)
    assert exports.tree(settings.outbox) == before
    assert in_ledger(settings) == []


def test_L12_lists_of_earlier_days_that_were_never_marked_are_marked_first(tmp_path):
    settings = shop(tmp_path)
    first = exports.planned_day(settings, PEOPLE, everyone())
    export(settings, first)
    with open_ledger(settings).begin() as connection:
        connection.execute(sa.text("delete from deliveries"))
        connection.execute(sa.text("delete from lists"))
        connection.execute(sa.text("update runs set state = 'planned'"))
    exports.planned_day(settings, PEOPLE, [], as_of=TOMORROW, batches=("next",))
    assert reconcile(settings) == [NEWS]
    assert in_ledger(settings, state="accepted", as_of=exports.AS_OF) == IDS
    assert [record.run_id for record in lists_of(open_ledger(settings), "outbox")] == [first.run_id]
    assert reconcile(settings) == []


def test_L12_a_list_that_nobody_can_mark_does_not_keep_the_others_unmarked(tmp_path):
    settings = shop(tmp_path, published.card("news"), published.card("thanks", channels=["sms"]))
    export(settings, exports.planned_day(settings, PEOPLE, [*everyone(), *everyone("thanks", channel="sms")]))
    with open_ledger(settings).begin() as connection:
        connection.execute(sa.text("delete from deliveries"))
        connection.execute(sa.text("delete from lists"))
    (settings.outbox / NEWS / "list.csv").write_text("tampered")
    with pytest.raises(ContractViolation, match=r"list\.csv changed"):
        reconcile(settings)
    assert [record.list_id for record in lists_of(open_ledger(settings), "outbox")] == [THANKS]


def test_a_day_that_is_not_planned_is_not_exported(tmp_path):
    settings = shop(tmp_path)
    run = published.publish_shop(settings, [published.client("c1")])
    with pytest.raises(ContractViolation, match="not planned"):
        export(settings, run)
    with pytest.raises(ContractViolation, match="not planned"):
        render(settings, run, tmp_path / "folder")


def test_L6_a_day_that_was_planned_under_another_config_is_not_exported(tmp_path):
    settings = shop(tmp_path)
    run = exports.planned_day(settings, PEOPLE, everyone())
    published.put(tmp_path, "campaigns/news.yml", published.card("news", offer={"text": "another"}))
    with pytest.raises(ContractViolation, match="changed since"):
        export(settings, run)
    assert not settings.outbox.exists()


def test_a_channel_without_a_destination_is_a_mistake_in_the_config(tmp_path):
    only_sms = {"version": 1, "destinations": {"outbox": {"kind": "outbox", "channels": ["sms"]}}}
    settings = shop(tmp_path, destinations=only_sms)
    with pytest.raises(ConfigError, match="no destination takes the channel email"):
        export(settings, exports.planned_day(settings, PEOPLE, everyone()))


def test_L22_no_address_is_in_the_ledger_or_in_a_report(tmp_path):
    settings = shop(tmp_path)
    people = [*PEOPLE[:5], exports.person("c5", email="broken@@example.com")]
    reports = export(settings, exports.planned_day(settings, people, everyone()))
    stored = b"".join(path.read_bytes() for path in settings.home.glob("ledger.db*"))
    assert b"example.com" not in stored
    assert "example.com" not in repr(reports)


def test_dates_of_the_past_do_not_see_what_was_sent_later(tmp_path):
    settings = shop(tmp_path, published.card("vip", list_type="audience"))
    first = exports.planned_day(settings, PEOPLE, everyone("vip", IDS[:3]))
    export(settings, first)
    later = exports.planned_day(settings, PEOPLE, everyone("vip", IDS[3:]), as_of=TOMORROW, batches=("n",))
    export(settings, later)
    again = render(settings, replace(first, is_latest=False), tmp_path / "again")
    assert [(report.sent, report.as_of) for report in again] == [(3, date(2017, 10, 1))]


def test_L11_an_approval_lets_a_held_list_go_up_to_its_ceiling(tmp_path):
    limits = published.policy(max_list_growth=1.0, growth_counts_from=0)
    settings = shop(tmp_path, policy=limits)
    export(settings, exports.planned_day(settings, PEOPLE, everyone(ids=IDS[:2])))
    run = exports.planned_day(settings, PEOPLE, everyone(), as_of=TOMORROW, batches=("next",))
    assert [(one.sent, one.pending) for one in export(settings, run)] == [(2, 4)]
    given = Approval("news", "email", TOMORROW, additions=5, removals=0, reason="a fair", approved_by="ann")
    approve(open_ledger(settings), given, hours=1)
    assert [(one.sent, one.pending) for one in export(settings, run)] == [(3, 1)]


def test_a_list_of_a_campaign_with_versions_says_which_one_each_client_gets(tmp_path):
    arms = [{"id": "long", "share": 0.5}, {"id": "short", "share": 0.5}]
    settings = shop(tmp_path, published.card("news", arms=arms))
    targets = [exports.target("news", one, arm=("long", "short")[n % 2]) for n, one in enumerate(IDS)]
    export(settings, exports.planned_day(settings, PEOPLE, targets))
    assert [row["arm"] for row in exports.rows_of(settings, NEWS)] == ["long", "short"] * 3
