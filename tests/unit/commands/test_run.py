from __future__ import annotations

import json
from datetime import date

import pytest

from perennial.commands import run as command
from perennial.contracts.records import BatchReport, DayRun, ListReport, StepReport
from perennial.pipeline.day import DayResult

RUN = DayRun("2017-10-01.r1", date(2017, 10, 1), 1, "done", ("b1",), "digest", is_latest=True)
REFUSED = BatchReport("b2", "shop", "sales", None, "refused", ("shop/x.csv",), reasons=("the file is empty",))


def test_without_any_file_it_says_what_it_waits_for_and_can_be_tried_again(perennial):
    outcome = perennial("run", "--json")
    assert outcome.code == 75
    assert outcome.json["run"] is None
    assert outcome.json["notes"] == ["no file has been landed yet"]


def test_L6_a_date_that_is_not_complete_is_refused_with_what_is_missing(perennial):
    outcome = perennial("run", "--as-of", "2017-10-01")
    assert outcome.code == 3
    assert "shop.sales has not been landed for 2017-10-01" in outcome.err
    assert "Traceback" not in outcome.err


def test_what_was_refused_is_told_and_is_an_error_when_nothing_could_run(perennial, settings):
    (settings.landing / "shop").mkdir(parents=True)
    (settings.landing / "shop" / "sales_2017-10-01.csv.gz").write_bytes(b"")
    outcome = perennial("run", "--json")
    assert outcome.code == 4
    assert "shop.sales refused: " in outcome.err
    assert [batch["state"] for batch in outcome.json["batches"]] == ["refused"]


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (DayResult(RUN), 0),
        (DayResult(RUN, (REFUSED,), (StepReport("2017-10-01.r1", date(2017, 10, 1), "build"),)), 0),
        (DayResult(RUN, (REFUSED,)), 4),
        (DayResult(None, (REFUSED,)), 4),
        (DayResult(None), 75),
    ],
)
def test_the_exit_code_says_whether_to_mend_wait_or_go_on(result, code):
    assert command._code(result) == code


def test_people_see_batches_steps_and_lists(capsys):
    batch = BatchReport("b1", "shop", "sales", date(2017, 10, 1), "committed", ("f",), 10, 8, 1, 1)
    step = StepReport(RUN.run_id, RUN.as_of, "plan", notes=("newsletter is not due today",))
    one = ListReport("l1", "win_back", "email", RUN.as_of, 5, 4, 1, 0, 0, "outbox/l1")
    result = DayResult(RUN, (batch,), (step,), (one,), ("a note",), {"ingest": 1.5, "plan": 0.25})
    command._show(result, [one])
    shown = capsys.readouterr().out
    assert "newsletter is not due today\na note\n" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["shop", "sales", "2017-10-01", "committed", "10", "8", "1", "1"] in lines
    assert ["plan", "0.25"] in lines
    assert lines.count(["win_back", "email", "5", "4", "1", "0", "0", "outbox/l1"]) == 2
    assert ["2017-10-01.r1", "is", "done"] in lines


def test_machines_see_the_same_as_json(capsys):
    from perennial.commands.output import print_json

    print_json(command._as_data(DayResult(RUN, (REFUSED,), seconds={"ingest": 1.23456}), []))
    data = json.loads(capsys.readouterr().out)
    assert data["run"]["run_id"] == "2017-10-01.r1"
    assert data["batches"][0]["reasons"] == ["the file is empty"]
    assert data["seconds"] == {"ingest": 1.235}
