"""The delta as a property: whatever is wanted and whatever was accepted before, for all sets of six clients."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import chain

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import exports, published
from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Offer
from perennial.core.errors import ContractViolation
from perennial.delivery.consent import ConsentNow
from perennial.delivery.delta import compute, require_sum
from perennial.delivery.records import Counts, ListKey
from perennial.delivery.rows import CONTACTS, ROWS, Field, ListSpec
from perennial.ledger.deliveries import ACCEPTED
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import version_of
from perennial.warehouse.private import private_contacts_path
from perennial.warehouse.reader import open_published

CLIENTS = [f"c{n}" for n in range(6)]
WITHDRAWN, NO_ADDRESS = "c4", "c5"
REACHABLE = set(CLIENTS) - {WITHDRAWN, NO_ADDRESS}
AS_OF = exports.AS_OF
NO_LIMITS = PolicyFile.model_validate({**published.policy(), "max_list_shrink": 1.0, "max_list_growth": 1000.0})
LIMITS = PolicyFile.model_validate(
    {**published.policy(), "max_list_shrink": 0.5, "growth_counts_from": 0, "max_list_growth": 2.0}
)

subsets = st.sets(st.sampled_from(CLIENTS))
# What was accepted before, day by day: who came in, and who of those that were in went out.
histories = st.lists(st.tuples(subsets, subsets), max_size=4)


def campaign(wanted):
    return f"w{sum(1 << CLIENTS.index(one) for one in wanted)}"


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """One published day with 64 campaigns: every set of the six clients is the target of one."""
    settings_of_shop = exports.settings_with(tmp_path_factory.mktemp("delta"))
    people = [exports.person(one) for one in CLIENTS]
    people[5]["email"] = None
    exports.consent(settings_of_shop, CLIENTS)
    exports.consent(settings_of_shop, [WITHDRAWN], "withdrawn", on=date(2017, 9, 1))
    subsets_of_all = [{one for n, one in enumerate(CLIENTS) if mask >> n & 1} for mask in range(64)]
    targets = [
        exports.target(campaign(wanted), one, value=float(CLIENTS.index(one)))
        for wanted in subsets_of_all
        for one in wanted
    ]
    run = exports.planned_day(settings_of_shop, people, targets)
    engine = open_ledger(settings_of_shop)
    with open_published(settings_of_shop, version_of(engine, run.run_id)) as version:
        version.register_parquet(CONTACTS, private_contacts_path(settings_of_shop, run))
        ConsentNow(engine, version, AS_OF, live=True).refresh()
        yield version


def spec(wanted, list_type="audience"):
    return ListSpec(
        key=ListKey(campaign(wanted), "email", AS_OF),
        list_type=list_type,
        destination="outbox",
        address="email",
        needs_consent=True,
        purpose="marketing",
        planned=True,
        fields=(
            Field("revenue_365d", "client_metrics", "DECIMAL(18,4)"),
            Field("churn_risk", "client_scores", "DOUBLE"),
        ),
        offer=Offer(text="ten off", valid_days=7),
        shows_product=False,
        minor_digits=2,
        salt="salt",
    )


def accepted_rows(history):
    """The history as the ledger gives it; only who is out is added, only who is in is removed."""
    rows, members = [], set()
    for nth, (coming, leaving) in enumerate(history):
        on = AS_OF - timedelta(days=len(history) - nth)
        for action, clients in (("add", coming - members), ("remove", leaving & members)):
            rows += [
                {"client_id": one, "action": action, "row_hash": "old", "as_of": on, "nth": nth} for one in clients
            ]
        members = (members | coming) - (leaving & members)
    return rows, members


def history_of(rows):
    return lambda: pa.Table.from_pylist(rows, schema=ACCEPTED).to_batches(max_chunksize=3)


def changes(delta):
    return list(chain.from_iterable(batch.to_pylist() for batch in delta.batches()))


def applied(members, delta):
    """The list after the changes; a change that does not fit it is an error, as it would be in a tool."""
    members = set(members)
    for change in changes(delta):
        assert (change["client_id"] in members) == (change["action"] != "add")
        (members.discard if change["action"] == "remove" else members.add)(change["client_id"])
    return members


def as_accepted(delta):
    return [
        {"client_id": c["client_id"], "action": c["action"], "row_hash": c["row_hash"], "as_of": AS_OF, "nth": 100}
        for c in changes(delta)
    ]


@settings(deadline=None, max_examples=40)
@given(wanted=subsets, history=histories)
def test_L13_the_list_is_what_is_wanted_after_its_changes_and_then_nothing_is_new(day, wanted, history):
    rows, members = accepted_rows(history)
    first = compute(day, spec(wanted), history_of(rows), NO_LIMITS, None)
    stays_unreached = members & wanted & {NO_ADDRESS}  # a lost address erases nothing in the tool (L19)
    assert applied(members, first) == (wanted & REACHABLE) | stays_unreached
    assert first.counts.size == len(wanted | members)
    assert first.counts.is_right
    again = compute(day, spec(wanted), history_of([*rows, *as_accepted(first)]), NO_LIMITS, None)
    assert changes(again) == []
    assert again.counts.sent == 0


@settings(deadline=None, max_examples=40)
@given(wanted=subsets, sent=subsets)
def test_L12_a_send_adds_whom_it_has_not_reached_and_takes_nothing_back(day, wanted, sent):
    rows = [{"client_id": one, "action": "add", "row_hash": "h", "as_of": AS_OF, "nth": 0} for one in sent]
    delta = compute(day, spec(wanted, "send"), history_of(rows), NO_LIMITS, None)
    assert {(one["client_id"], one["action"]) for one in changes(delta)} == {
        (one, "add") for one in (wanted & REACHABLE) - sent
    }
    assert delta.counts.size == len(wanted)
    assert delta.counts.reasons.get("already_sent", 0) == len(wanted & sent)
    assert delta.counts.is_right


@settings(deadline=None, max_examples=40)
@given(wanted=subsets, history=histories)
def test_L11_too_many_removals_wait_and_additions_inside_the_limit_go(day, wanted, history):
    rows, members = accepted_rows(history)
    delta = compute(day, spec(wanted), history_of(rows), LIMITS, None)
    by_action = {name: {c["client_id"] for c in changes(delta) if c["action"] == name} for name in ("add", "remove")}
    leaving = members - wanted - {WITHDRAWN}
    held = leaving if len(leaving) > 0.5 * len(members) else set()
    assert by_action["remove"] == (leaving - held) | (members & {WITHDRAWN})
    assert delta.counts.reasons.get("held_shrink", 0) == len(held)
    coming = (wanted & REACHABLE) - members
    assert len(by_action["add"]) == (min(len(coming), 2 * len(members)) if members else len(coming))
    assert delta.counts.is_right


def test_L11_the_best_of_the_additions_go_first(day):
    rows, _ = accepted_rows([({"c0"}, set())])
    delta = compute(day, spec(REACHABLE), history_of(rows), LIMITS, None)
    assert [c["client_id"] for c in changes(delta)] == ["c3", "c2", "c0"]
    assert delta.counts.reasons == {"held_growth": 1}


def test_L11_a_first_list_has_no_earlier_day_to_be_compared_with(day):
    assert compute(day, spec(REACHABLE), history_of([]), LIMITS, None).counts.sent == 4
    assert compute(day, spec(REACHABLE, "send"), history_of([]), LIMITS, 1).counts.sent == 2


def test_L11_a_short_list_may_grow_by_chance(day):
    generous = LIMITS.model_copy(update={"growth_counts_from": 2})
    assert compute(day, spec(REACHABLE, "send"), history_of([]), generous, 1).counts.sent == 4


def test_an_update_is_sent_when_a_field_changed_and_only_then(day):
    first = compute(day, spec({"c1"}), history_of([]), NO_LIMITS, None)
    yesterday = [{**row, "as_of": AS_OF - timedelta(days=1)} for row in as_accepted(first)]
    dearer = replace(spec({"c1"}), offer=Offer(text="twenty off"))
    assert [c["action"] for c in changes(compute(day, dearer, history_of(yesterday), NO_LIMITS, None))] == ["update"]
    assert [c["offer_text"] for c in changes(compute(day, dearer, history_of(yesterday), NO_LIMITS, None))] == [
        "twenty off"
    ]


def test_the_offer_of_an_audience_ends_so_many_days_after_the_client_came_in(day):
    came_in = AS_OF - timedelta(days=3)
    rows = [{"client_id": "c1", "action": "add", "row_hash": "old", "as_of": came_in, "nth": 0}]
    both = compute(day, spec({"c1", "c2"}), history_of(rows), NO_LIMITS, None)
    assert {c["client_id"]: c["valid_until"] for c in changes(both)} == {
        "c1": came_in + timedelta(days=7),
        "c2": AS_OF + timedelta(days=7),
    }


def test_a_removal_names_the_client_and_nothing_else(day):
    rows, _ = accepted_rows([({"c1", "c2", "c3"}, set())])
    delta = compute(day, spec({"c2", "c3"}), history_of(rows), NO_LIMITS, None)
    removal = next(c for c in changes(delta) if c["action"] == "remove")
    known = {name: value for name, value in removal.items() if value is not None}
    assert known == {
        "client_id": "c1", "action": "remove", "client_key": "key-c1", "email": "c1@example.com", "row_hash": "old"
    }  # fmt: skip


def test_an_audience_whose_campaign_did_not_run_today_loses_only_those_who_withdrew(day):
    rows, _ = accepted_rows([({"c1", "c2", WITHDRAWN}, set())])
    standing = replace(spec(set()), planned=False)
    delta = compute(day, standing, history_of(rows), LIMITS, None)
    assert [(c["client_id"], c["action"]) for c in changes(delta)] == [(WITHDRAWN, "remove")]
    assert delta.counts.reasons == {"unchanged": 2}


def test_L15_each_rejected_row_has_its_reason_and_the_fix_in_plain_words(day):
    delta = compute(day, spec({"c1", NO_ADDRESS}), history_of([]), NO_LIMITS, None)
    rejects = [row for batch in delta.rejects() for row in batch.to_pylist()]
    assert [(row["client_id"], row["action"], row["state"]) for row in rejects] == [(NO_ADDRESS, "add", "rejected")]
    assert rejects[0]["reason"] == (
        "the client has no e-mail address; add one in the CRM; tried again by itself in the next run"
    )


def test_the_hash_of_a_row_does_not_tell_an_address_without_the_salt(day):
    one = spec({"c1"})
    hashes = {
        changes(compute(day, made, history_of([]), NO_LIMITS, None))[0]["row_hash"]
        for made in (one, replace(one, salt="x"))
    }
    assert len(hashes) == 2


def test_a_client_who_is_planned_twice_stops_the_list(day):
    day.execute("create or replace temp table twice as select * from published.main.campaign_outcomes")
    day.execute("insert into twice select * from twice where campaign_id = 'w2'")
    day.execute("create or replace temp view campaign_outcomes as select * from twice")
    try:
        with pytest.raises(ContractViolation, match="stand in it twice"):
            compute(day, spec({"c1"}, "send"), history_of([]), NO_LIMITS, None)
    finally:
        day.execute("drop view temp.campaign_outcomes")
    assert day.query(f"select count(*) as n from {ROWS}").to_pylist() == [{"n": 2}]


def test_L15_a_list_whose_parts_do_not_add_up_fails():
    require_sum("list", Counts(4, 1, 1, 1, 1))
    with pytest.raises(ContractViolation, match="1 sent \\+ 1 rejected \\+ 1 skipped \\+ 0 pending is not the size 4"):
        require_sum("list", Counts(4, 1, 1, 1, 0))
