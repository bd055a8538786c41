from __future__ import annotations

from factories.tiny_warehouse import open_days


def test_before_anything_has_landed_it_says_what_is_waited_for(perennial):
    outcome = perennial("status")
    assert outcome.code == 0
    assert "Published: nothing yet" in outcome.out
    assert "no file has been landed yet" in outcome.out


def test_L1_each_batch_is_told_with_its_rows_and_each_day_with_its_state(perennial, settings):
    open_days(settings)
    found = perennial("status", "--json").json
    for batch in found["batches"]:
        assert batch["landed"] == batch["loaded"] + batch["quarantined"] + batch["duplicate"]
    assert found["batches"][0]["batch_id"] == "order_lines-2017-10-02"
    assert [(run["run_id"], run["state"], len(run["batch_ids"])) for run in found["runs"]] == [
        ("2017-10-02.r1", "open", 3),
        ("2017-10-01.r1", "open", 2),
    ]
    shown = perennial("status", "--last", "1").out
    assert "2017-10-02.r1" in shown
    assert "2017-10-01.r1" not in shown
