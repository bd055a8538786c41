"""What every destination must hold, whatever tool is behind it. A new destination adds one line to DESTINATIONS."""

import pyarrow as pa
import pytest

from factories import change_sets
from factories.change_sets import nothing_to_confirm
from factories.remote_places import s3_server, sftp_server
from perennial.contracts.destinations import OutboxConfig as Destination
from perennial.contracts.destinations import RemoteFilesConfig
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import PerennialError, RetryableError
from perennial.delivery.destinations import KINDS
from perennial.delivery.outbox import OutboxDestination
from perennial.delivery.records import OUTCOMES
from perennial.delivery.remote_folder import RemoteFolder


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        server.client().create_bucket(Bucket="lists")
        yield server


def _outbox(request, folder, **config):
    return OutboxDestination("tool", Destination(kind="outbox", channels=("email", "sms"), **config), folder / "outbox")


def _remote(request, folder, kind, **config):
    server = request.getfixturevalue(kind)
    place = f"sftp://127.0.0.1/{folder.name}" if kind == "sftp" else f"s3://lists/{folder.name}"
    given = RemoteFilesConfig(kind=kind, channels=("email", "sms"), url=place, connection="taker", **config)
    connections = EnvironmentConnections({"AIRFLOW_CONN_TAKER": server.connection()})
    return RemoteFolder("tool", given, connections, folder / "handed")


# Makes a destination on its own ground; made again on the same folder it is the same tool, after a restart of ours.
DESTINATIONS = {
    "outbox": _outbox,
    "outbox, csv": lambda request, folder: _outbox(request, folder, formats=("csv",)),
    "outbox, cp1251": lambda request, folder: _outbox(request, folder, encoding="cp1251", delimiter=";"),
    "outbox, xlsx": lambda request, folder: _outbox(request, folder, formats=("xlsx", "jsonl")),
    "sftp": lambda request, folder: _remote(request, folder, "sftp"),
    "s3": lambda request, folder: _remote(request, folder, "s3", formats=("csv", "jsonl")),
}


@pytest.fixture(params=list(DESTINATIONS))
def made(request, tmp_path):
    return lambda: DESTINATIONS[request.param](request, tmp_path)


def change_set(clients, **more):
    return change_sets.change_set(clients, to="tool", **more)


def told(receipt):
    return pa.Table.from_batches(receipt.outcomes(), schema=OUTCOMES).sort_by("client_id").to_pylist()


def accepted_of(receipts):
    return {receipt.list_id: [row["client_id"] for row in told(receipt)] for receipt in receipts}


def left_unmarked(destination, marked=()):
    return [one for name in destination.unfinished(marked) for one in destination.reconcile(name, marked)]


def test_every_kind_of_destination_is_in_this_suite():
    assert {name.partition(",")[0] for name in DESTINATIONS} == set(KINDS)


def test_it_describes_itself_by_its_name_and_its_channels(made):
    described = made().describe()
    assert (described.name, described.channels) == ("tool", ("email", "sms"))
    assert described.kind in KINDS
    assert described.target


def test_its_check_is_of_named_steps_and_changes_nothing(made, tmp_path):
    steps = list(made().check())
    assert len({step.name for step in steps}) == len(steps) > 0
    assert {step.state for step in steps} <= {"passed", "skipped"}
    assert all(step.message for step in steps)
    assert list(tmp_path.iterdir()) == []


def test_L15_it_tells_the_outcome_of_every_row(made):
    changes = change_set(["c1", "c2", "c3"], rejected=2)
    receipt = made().push(changes, nothing_to_confirm)
    assert (receipt.list_id, receipt.key, receipt.list_type) == (changes.list_id, changes.key, "send")
    assert receipt.counts == changes.counts
    assert told(receipt) == [
        {"client_id": one, "action": "add", "row_hash": f"hash-{one}", "state": "accepted", "reason": None}
        for one in ("c1", "c2", "c3")
    ]


@pytest.mark.parametrize("action", ["add", "update", "remove"])
def test_it_does_each_verb_that_it_declares(made, action):
    destination = made()
    assert action in destination.capabilities.actions
    assert [row["action"] for row in told(destination.push(change_set(["c1"], action=action), nothing_to_confirm))] == [
        action
    ]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", 'a "b", c;\nd', "Жанна 🙂", "", " ", "x" * 10_000, "\x00"])
def test_L23_hostile_text_neither_breaks_a_push_nor_changes_who_is_in_it(made, name):
    receipt = made().push(change_set(["c1", "c2"], first_name=name), nothing_to_confirm)
    assert [row["client_id"] for row in told(receipt)] == ["c1", "c2"]


def test_L12_the_same_list_is_not_taken_twice(made):
    made().push(change_set(["c1"]), nothing_to_confirm)
    assert made().capabilities.repeatable
    with pytest.raises(PerennialError):
        made().push(change_set(["c1", "c2"]), nothing_to_confirm)
    assert accepted_of(left_unmarked(made())) == {"2017-10-01/news__email": ["c1"]}


def test_L12_what_was_accepted_and_not_marked_is_read_back_after_a_crash(made):
    pushed = [made().push(change_set(["c1"], campaign_id=name), nothing_to_confirm) for name in ("news", "thanks")]
    assert made().capabilities.readable
    found = left_unmarked(made())
    assert [(one.list_id, one.key, one.list_type, one.counts) for one in found] == [
        (one.list_id, one.key, one.list_type, one.counts) for one in pushed
    ]
    assert [told(one) for one in found] == [told(one) for one in pushed]
    assert [one.list_id for one in left_unmarked(made(), marked={pushed[0].list_id})] == [pushed[1].list_id]
    assert left_unmarked(made(), marked={one.list_id for one in pushed}) == []


def test_reconciling_one_list_leaves_the_others_alone(made):
    for name in ("news", "news_two"):
        made().push(change_set(["c1"], campaign_id=name), nothing_to_confirm)
    assert [one.key.campaign_id for one in made().reconcile("news__email", ())] == ["news"]


def test_L12_a_push_that_breaks_in_the_middle_has_accepted_nobody_and_can_be_repeated(made):
    with pytest.raises(OSError, match="source broke"):
        made().push(change_set(["c1", "c2", "c3"], breaks_after=2), nothing_to_confirm)
    assert left_unmarked(made()) == []
    assert accepted_of([made().push(change_set(["c1", "c2", "c3"]), nothing_to_confirm)]) == {
        "2017-10-01/news__email": ["c1", "c2", "c3"]
    }


def test_L16_nothing_is_accepted_once_the_lock_is_lost(made):
    def lost():
        raise RetryableError("the lock was lost")

    with pytest.raises(RetryableError, match="lock was lost"):
        made().push(change_set(["c1"]), lost)
    assert left_unmarked(made()) == []


def test_a_destination_without_feedback_gives_none_and_keeps_the_cursor(made):
    feedback = made().pull_feedback({"since": 5})
    assert made().capabilities.feedback is False
    assert (list(feedback.batches), feedback.cursor) == ([], {"since": 5})
