"""A series through the real steps of a day: planned, exported, accepted in the ledger, and told by explain."""

from __future__ import annotations

from datetime import timedelta

from factories import exports
from factories.published import AS_OF, card, client, policy, publish_shop
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, version_of
from perennial.pipeline.explain import explain
from perennial.pipeline.export import export
from perennial.pipeline.plan import plan
from perennial.warehouse.reader import open_published

STEPS = [{"id": "hello", "message": "m_hello"}, {"id": "tips", "after_days": 2, "message": "m_tips"}]
NAMES = [f"c{i}" for i in range(8)]


def the_day(settings, as_of):
    run = publish_shop(settings, [client(name) for name in NAMES], as_of=as_of)
    exports.write_contacts(settings, run, [exports.person(name) for name in NAMES])
    plan(settings, run)
    run = get_run(open_ledger(settings), run.run_id)
    export(settings, run)
    return run


def test_L2_L8_targets_and_control_walk_the_series_by_what_the_ledger_accepted(tmp_path):
    way = card("way", series={"steps": STEPS}, control_share=0.4)
    settings = exports.settings_with(tmp_path, way, policy=policy(caps=[]))
    exports.consent(settings, NAMES)
    runs = [the_day(settings, AS_OF + timedelta(days=number)) for number in range(4)]
    with open_published(settings, version_of(open_ledger(settings), runs[-1].run_id)) as published:
        rows = published.query("select * from campaign_outcomes order by as_of_date, client_id").to_pylist()
    told = {
        name: [row["rule"] if row["outcome"] == "refused" else row["series_step"] for row in rows if row["client_id"] == name]
        for name in NAMES
    }  # fmt: skip
    assert set(map(tuple, told.values())) == {("hello", "step_not_due", "tips", "re_entry")}
    held = {row["client_id"] for row in rows if row["outcome"] == "control"}
    assert 0 < len(held) < len(NAMES)
    for number, step, message in ((0, "hello", "m_hello"), (2, "tips", "m_tips")):
        sent = exports.rows_of(settings, f"{AS_OF + timedelta(days=number)}/way__email")
        assert {row["client_id"] for row in sent} == set(NAMES) - held
        assert {(row["step"], row["message"]) for row in sent} == {(step, message)}
    [about] = explain(settings, NAMES[0], runs[1])["campaigns"]
    assert (about["rule"], about["series_step"]) == ("step_not_due", "tips")
    assert "not due yet" in about["why"]
