from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from factories.tiny_warehouse import open_first_day, open_second_day, tiny_settings
from perennial.contracts.builds import BuildRecord, BuildState
from perennial.pipeline.changes import build_digest, plan_build

DIGEST = "models and variables"


@pytest.fixture
def settings(tmp_path):
    return tiny_settings(tmp_path)


@pytest.fixture
def days(settings):
    first = open_first_day(settings)
    return first, open_second_day(settings, first)


def built(run, *, mode="full", digest=DIGEST):
    return BuildState(run.run_id, run.as_of, run.batch_ids, digest, mode)


def test_L4_the_day_after_a_complete_build_is_a_change_by_the_batches_that_came(settings, days):
    first, second = days
    change = plan_build(settings, second, BuildRecord(complete=built(first)), DIGEST)
    assert (change.mode, change.previous_as_of, change.goes_on) == ("change", first.as_of, False)
    new = [batch for batch in second.batch_ids if batch not in first.batch_ids]
    assert [row[0] for row in change.batches if not row[3]] == new
    assert {path.stem for paths in change.files.values() for path in paths} == {row[0] for row in change.batches}
    assert change.batches_table()["batch_id"].to_pylist() == [row[0] for row in change.batches]


def test_L4_a_batch_with_rows_of_later_dates_has_changed_once_these_dates_have_come(settings, days):
    first, second = days
    known = {row[0] for row in plan_build(settings, second, BuildRecord(built(first)), DIGEST).batches if row[3]}
    assert known <= set(first.batch_ids)  # the tiny batches do not say which dates they hold: they may hold any
    assert known


def test_L1_a_change_that_came_to_no_end_is_gone_on_with_from_the_last_complete_build(settings, days):
    first, second = days
    begun = built(second, mode="change")
    change = plan_build(settings, second, BuildRecord(built(first), begun), DIGEST)
    assert (change.mode, change.goes_on, change.record.complete) == ("change", True, built(first))
    assert change.variables == {"previous_as_of": first.as_of.isoformat(), "goes_on": True}
    assert change.record.finished() == BuildRecord(begun)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda first, second: (None, second), "no complete build"),
        (lambda first, second: (BuildRecord(None, built(first)), second), "no complete build"),
        (lambda first, second: (BuildRecord(built(first), built(second)), second), "came to no end"),
        (lambda first, second: (BuildRecord(built(first), built(second, mode="part")), second), "came to no end"),
        (lambda first, second: (BuildRecord(built(first, digest="others")), second), "have changed"),
        (lambda first, second: (BuildRecord(built(first)), replace(second, is_latest=False)), "past"),
        (lambda first, second: (BuildRecord(built(second)), replace(first, is_latest=True)), "of 2017-10-02"),
        (lambda first, second: (BuildRecord(built(first)), replace(second, as_of=date(2017, 12, 1))), "of 2017-10-01"),
        (
            lambda first, second: (BuildRecord(replace(built(first), batch_ids=("gone",))), second),
            "1 batches of the last build are no longer there",
        ),
    ],
)
def test_L4_what_cannot_be_changed_is_built_whole_and_says_why(settings, days, spoil, reason):
    record, run = spoil(*days)
    change = plan_build(settings, run, record, DIGEST)
    assert (change.mode, change.previous_as_of, change.batches) == ("full", None, ())
    assert reason in change.reason


def test_a_part_that_a_person_builds_leaves_nothing_to_be_changed(settings, days):
    first, second = days
    part = plan_build(settings, second, BuildRecord(built(first)), DIGEST, part=True)
    assert part.mode == "part"
    assert plan_build(settings, second, part.record, DIGEST).mode == "full"


def test_a_record_survives_as_text(days):
    first, second = days
    record = BuildRecord(built(first), built(second, mode="change"))
    assert BuildRecord.from_text(record.as_text()) == record
    with pytest.raises(KeyError):
        BuildRecord.from_text("{}")


def test_the_digest_follows_models_and_variables_and_not_the_date(settings):
    given = {"as_of": "2017-10-01", "as_of_dates": ["2017-10-01"], "zone": "UTC"}
    same = build_digest(settings, "project", {**given, "as_of": "2017-10-02"})
    assert build_digest(settings, "project", given) == same
    assert build_digest(settings, "project", {**given, "zone": "Asia/Tokyo"}) != same
    assert build_digest(settings, "another project", given) != same
