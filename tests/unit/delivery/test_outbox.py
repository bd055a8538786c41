import json
import os

import pyarrow as pa
import pytest

from factories.change_sets import SCHEMA, change_set, nothing_to_confirm
from perennial.contracts.destinations import OutboxConfig as Destination
from perennial.core.errors import ContractViolation, PermanentError
from perennial.delivery.files import sha256_of
from perennial.delivery.outbox import OutboxDestination


@pytest.fixture
def outbox(tmp_path):
    return OutboxDestination("outbox", Destination(kind="outbox", channels=("email",)), tmp_path / "outbox")


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_manifest_tells_the_counts_the_columns_and_the_checksum_of_each_file(outbox):
    receipt = outbox.push(change_set(["c1", "c2"], rejected=1), nothing_to_confirm)
    manifest = json.loads((receipt.path / "manifest.json").read_text())
    assert manifest["counts"] == {"size": 3, "sent": 2, "rejected": 1, "skipped": 0, "pending": 0}
    assert manifest["actions"] == {"add": 2, "update": 0, "remove": 0}
    assert [entry["reason"] for entry in manifest["not_sent"]] == ["no_email"]
    assert manifest["not_sent"][0]["fix"] == "add one in the CRM"
    assert [column["name"] for column in manifest["columns"]] == SCHEMA.names
    assert manifest["key"] == ["campaign_id", "client_id", "channel", "as_of"]
    for file in manifest["files"]:
        path = receipt.path / file["name"]
        assert (file["bytes"], file["sha256"]) == (path.stat().st_size, sha256_of(path))


def test_L22_only_the_owner_can_read_a_list(outbox, tmp_path):
    umask = os.umask(0)
    try:
        receipt = outbox.push(change_set(["c1"]), nothing_to_confirm)
    finally:
        os.umask(umask)
    assert {path.name: path.stat().st_mode & 0o777 for path in receipt.path.iterdir()} == {
        "list.csv": 0o600, "list.parquet": 0o600, "manifest.json": 0o600
    }  # fmt: skip
    folders = [receipt.path, receipt.path.parent, tmp_path / "outbox"]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


def test_L2_the_same_rows_give_the_same_bytes(outbox, tmp_path):
    other = OutboxDestination("outbox", Destination(kind="outbox", channels=("email",)), tmp_path / "other")
    first, second = (one.push(change_set(["c1", "c2"]), nothing_to_confirm).path for one in (outbox, other))
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_a_second_part_of_a_day_lies_beside_the_first(outbox, tmp_path):
    for part, client in ((1, "c1"), (2, "c2")):
        outbox.push(change_set([client], part=part), nothing_to_confirm)
    assert [path.name for path in sorted((tmp_path / "outbox" / "2017-10-01").iterdir())] == [
        "news__email",
        "news__email.2",
    ]


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_L12_a_list_that_was_changed_before_it_was_marked_is_left_to_a_person(outbox, name):
    receipt = outbox.push(change_set(["c1"]), nothing_to_confirm)
    with (receipt.path / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ContractViolation, match=rf"{name} changed .* put the files back"):
        list(outbox.reconcile("news__email", marked=()))


@pytest.mark.parametrize("damage", ["{", "{}", '{"files": [{"name": "gone", "sha256": "x"}]}'])
def test_L12_a_list_whose_manifest_cannot_be_read_is_left_to_a_person(outbox, damage):
    receipt = outbox.push(change_set(["c1"]), nothing_to_confirm)
    (receipt.path / "manifest.json").write_text(damage)
    with pytest.raises(ContractViolation, match="cannot be read"):
        list(outbox.reconcile("news__email", marked=()))


def test_L12_a_list_that_was_moved_to_another_place_is_not_taken_for_that_place(outbox):
    receipt = outbox.push(change_set(["c1"]), nothing_to_confirm)
    receipt.path.rename(receipt.path.with_name("other__email"))
    with pytest.raises(ContractViolation, match=r"manifest\.json changed"):
        list(outbox.reconcile("other__email", marked=()))


def test_what_people_put_into_the_outbox_is_not_touched(outbox, tmp_path):
    theirs = tmp_path / "outbox" / "2017-10-01" / "news__email"
    theirs.mkdir(parents=True)
    (theirs / "note.txt").write_text("mine")
    (tmp_path / "outbox" / "README").write_text("hello")
    assert list(outbox.unfinished(())) == []
    with pytest.raises(PermanentError, match="there is such a folder already"):
        outbox.push(change_set(["c1"]), nothing_to_confirm)
    assert names_below(theirs) == ["note.txt"]


def test_L15_a_change_set_that_does_not_hold_what_it_says_is_not_accepted(outbox, tmp_path):
    with pytest.raises(ContractViolation, match="has 1 rows instead of 2"):
        outbox.push(change_set(["c1"], sent=2), nothing_to_confirm)
    assert names_below(tmp_path / "outbox") == []


def test_a_list_in_csv_alone_can_still_be_read_back(tmp_path):
    config = Destination(kind="outbox", channels=("email",), formats=("csv",))
    receipt = OutboxDestination("outbox", config, tmp_path).push(change_set(["c1"]), nothing_to_confirm)
    manifest = json.loads((receipt.path / "manifest.json").read_text())
    assert "row_hash" not in [column["name"] for column in manifest["columns"]]
    assert pa.Table.from_batches(receipt.outcomes()).column("row_hash").to_pylist() == ["hash-c1"]


def test_a_folder_that_cannot_be_written_to_is_told_by_check(tmp_path):
    (tmp_path / "file").write_text("")
    config = Destination(kind="outbox", channels=("email",), formats=(), encoding="klingon")
    steps = {step.name: step for step in OutboxDestination("outbox", config, tmp_path / "file" / "outbox").check()}
    assert {name: step.state for name, step in steps.items()} == dict.fromkeys(
        ("folder", "encoding", "formats"), "failed"
    )
    assert all(step.fix for step in steps.values())


def test_two_destinations_may_share_a_folder_and_each_reads_back_its_own(tmp_path):
    config = Destination(kind="outbox", channels=("email",))
    for name in ("outbox", "other"):
        OutboxDestination(name, config, tmp_path).push(
            change_set(["c1"], campaign_id=name, to=name), nothing_to_confirm
        )
    assert list(OutboxDestination("other", config, tmp_path).unfinished(())) == ["other__email"]
