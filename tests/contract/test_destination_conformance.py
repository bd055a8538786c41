"""What every destination must hold, whatever tool is behind it. A new destination adds one line to DESTINATIONS."""

from contextlib import closing

import pyarrow as pa
import pytest

from factories import change_sets
from factories.change_sets import nothing_to_confirm
from factories.remote_places import s3_server, sftp_server
from perennial.contracts.destinations import OutboxConfig as Destination
from perennial.contracts.destinations import RemoteFilesConfig
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ContractViolation, PerennialError, PermanentError, RetryableError
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


def _remote(request, folder, kind, *, home=None, **config):
    server = request.getfixturevalue(kind)
    place = f"sftp://127.0.0.1/{folder.name}" if kind == "sftp" else f"s3://lists/{folder.name}"
    given = RemoteFilesConfig(kind=kind, channels=("email", "sms"), url=place, connection="taker", **config)
    connections = EnvironmentConnections({"AIRFLOW_CONN_TAKER": server.connection()})
    return RemoteFolder("tool", given, connections, (home or folder) / "handed")


# Makes a destination on its own ground; made again on the same folder it is the same tool, after a restart of ours.
DESTINATIONS = {
    "outbox": _outbox,
    "outbox, csv": lambda request, folder: _outbox(request, folder, formats=("csv",)),
    "outbox, cp1251": lambda request, folder: _outbox(request, folder, encoding="cp1251", delimiter=";"),
    "outbox, xlsx": lambda request, folder: _outbox(request, folder, formats=("xlsx", "jsonl")),
    "sftp": lambda request, folder: _remote(request, folder, "sftp"),
    "s3": lambda request, folder: _remote(request, folder, "s3", formats=("csv", "jsonl")),
}


# S3's requests are dear: by default it is tried by the tests of other machines below only.
_PARAMS = [pytest.param(name, marks=[pytest.mark.slow] if name == "s3" else []) for name in DESTINATIONS]


@pytest.fixture(params=_PARAMS)
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


# On other machines ---------------------------------------------------------------------------------------------------
@pytest.fixture(params=["sftp", "s3"])
def remote(request, tmp_path):
    """Makes the destination; with another folder it is one whose home was lost."""
    return lambda home=tmp_path: _remote(request, tmp_path, request.param, home=home)


def there(destination):
    """Everything that lies in the folder of the other machine."""
    with closing(destination._open()) as system:
        found = system.fs.find(system.root) if system.fs.exists(system.root) else []
        return sorted(filter(None, (path.removeprefix(system.root).strip("/") for path in found)))


def take_away(destination, only=""):
    with closing(destination._open()) as system:
        for path in system.fs.find(system.root):
            if path.endswith(only):
                system.fs.rm_file(path)
        if only:
            return
        if system.has_folders:
            system.fs.rmdir(f"{system.root}/2017-10-01/news__email")


def test_L12_a_list_that_the_taker_fetched_and_deleted_before_it_was_marked_was_accepted(remote):
    pushed = remote().push(change_set(["c1", "c2"]), nothing_to_confirm)
    take_away(remote())
    assert accepted_of(left_unmarked(remote())) == {pushed.list_id: ["c1", "c2"]}
    with pytest.raises(PermanentError, match="there is such a list already"):
        remote().push(change_set(["c1", "c2"]), nothing_to_confirm)
    assert left_unmarked(remote(), marked={pushed.list_id}) == []


def test_L12_a_list_that_the_taker_has_begun_to_clear_away_was_accepted(remote):
    pushed = remote().push(change_set(["c1"]), nothing_to_confirm)
    take_away(remote(), only="manifest.json")
    assert accepted_of(left_unmarked(remote())) == {pushed.list_id: ["c1"]}


def test_L12_a_list_is_read_back_from_the_other_machine_where_our_own_home_was_lost(remote, tmp_path):
    pushed = remote().push(change_set(["c1", "c2"], rejected=1), nothing_to_confirm)
    [found] = left_unmarked(remote(tmp_path / "a new home"))
    assert (found.counts, told(found)) == (pushed.counts, told(pushed))


def test_L12_what_was_sent_and_not_accepted_is_taken_away_there(remote):
    def lost():
        raise RetryableError("the lock was lost")

    with pytest.raises(RetryableError):
        remote().push(change_set(["c1"]), lost)
    assert there(remote()) != []
    assert left_unmarked(remote()) == []
    assert there(remote()) == []


def test_a_list_that_was_changed_there_before_it_was_marked_is_told_and_not_marked(remote):
    remote().push(change_set(["c1"]), nothing_to_confirm)
    with closing(remote()._open()) as system:
        system.fs.pipe_file(f"{system.root}/2017-10-01/news__email/list.csv", b"other")
    with pytest.raises(ContractViolation, match=r"list\.csv changed"):
        left_unmarked(remote())


def test_of_a_marked_list_no_client_stays_in_our_note(remote, tmp_path):
    receipt = remote().push(change_set(["c1"]), nothing_to_confirm)
    assert {path.name for path in receipt.path.iterdir()} == {
        "about",
        "accepted",
        "keys.parquet",
        "manifest.json",
        "sent_as",
    }
    assert left_unmarked(remote(), marked={receipt.list_id}) == []
    assert {path.name for path in receipt.path.iterdir()} == {"about", "accepted", "manifest.json", "sent_as"}
    assert "c1@example.com" not in "".join(path.read_text() for path in receipt.path.iterdir())


def test_L22_a_wrong_password_is_told_by_the_check_and_shown_nowhere(request, sftp, tmp_path):
    given = RemoteFilesConfig(kind="sftp", channels=("email",), url="sftp://127.0.0.1/x", connection="taker")
    wrong = sftp.connection().replace("correct horse", "a wrong secret")
    made = RemoteFolder("tool", given, EnvironmentConnections({"AIRFLOW_CONN_TAKER": wrong}), tmp_path)
    steps = {step.name: step for step in made.check()}
    assert (steps["connect"].state, steps["encoding"].state) == ("failed", "passed")
    assert "a wrong secret" not in repr(steps)
    with pytest.raises(PermanentError):
        made.push(change_set(["c1"]), nothing_to_confirm)
