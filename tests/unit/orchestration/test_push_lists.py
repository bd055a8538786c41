"""The tasks that hand lists over: jobs of a tool are waited for outside of the worker, people are asked and answered."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from factories import published, tool_exports
from factories.kept_tool import Manner
from perennial.core.errors import RetryableError
from perennial.delivery import destinations
from perennial.ledger.approvals import answers
from perennial.ledger.delivery_tables import push_chunks
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.orchestration import push
from perennial.orchestration.asking import SEND, AskPerson
from perennial.pipeline.export.progress import require_progress

IDS = [f"c{n}" for n in range(7)]
CONTEXT = {"params": {}, "triggering_asset_events": None}


@pytest.fixture
def made(tmp_path, monkeypatch):
    def make(manner=None, **card):
        registry = dict(destinations.TOOLS)
        tool_exports.use(tmp_path, manner, registry)
        monkeypatch.setattr(destinations, "TOOLS", registry)
        settings = tool_exports.shop(tmp_path, IDS, published.card("news", merge_fields=["first_name"], **card))
        monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
        monkeypatch.setenv("PERENNIAL_CONFIG", str(settings.config_dir))
        tool_exports.approve_before(settings)
        tool_exports.planned(settings, IDS)
        return settings, tool_exports.tool_at(tmp_path, manner)

    return make


def test_while_the_tool_works_on_jobs_the_task_is_deferred_and_looks_again(made):
    _settings, tool = made(Manner(asynchronous=True, looks=2))
    task = PushTask()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(CONTEXT)
    assert deferred.value.method_name == "look_again"
    task.look_again(CONTEXT)
    assert len(tool.members("news__email__2017-10-01")) == 7
    assert set(tool.messages().values()) == {1}


def PushTask():
    return push.PushLists(task_id="push_lists", destination="kept")


def test_a_stall_is_noticed_by_what_has_moved(made, monkeypatch):
    settings, _tool = made(Manner(asynchronous=True, looks=99))
    with pytest.raises(TaskDeferred):
        PushTask().execute(CONTEXT)
    engine = open_ledger(settings)
    with engine.begin() as connection:
        moved = connection.execute(sa.select(sa.func.max(push_chunks.c.moved_at))).scalar_one()
    for minutes, stalls in ((29, False), (31, True)):
        monkeypatch.setenv("PERENNIAL_CLOCK", f"{(moved + timedelta(minutes=minutes)).isoformat()}+00:00")
        if stalls:
            with pytest.raises(RetryableError, match="have not moved since"):
                require_progress(settings, "kept")
        else:
            require_progress(settings, "kept")


def test_one_destination_alone_does_not_end_the_day_and_closing_it_does(made):
    settings, _tool = made()
    PushTask().execute(CONTEXT)
    engine = open_ledger(settings)
    assert last_run(engine).state == "planned"
    events = {"lists": Event()}
    assert push.close_day(None, {}, "lists", events) == {
        "size": 7,
        "sent": 7,
        "rejected": 0,
        "skipped": 0,
        "pending": 0,
    }
    assert last_run(engine).state == "done"
    assert events["lists"].extra["as_of"] == "2017-10-01"


class Event:
    extra = None


def test_a_person_is_asked_with_the_list_in_view_and_what_she_approves_is_handed_over(made):
    settings, tool = made(approval="required")
    assert PushTask().execute(CONTEXT)["pending"] == 7
    [question] = push.questions_or_skip()
    assert question["subject"] == "2017-10-01 news email to kept"
    assert "7 to add" in question["body"]
    assert "@example.com" not in question["body"]
    asked = AskPerson(task_id="ask_person", subject=question["subject"], options=[SEND, "Do not send it"])
    said = asked.execute_complete(CONTEXT, event_of("ann"))
    assert push.push_approved([said], None, {}) == {"approved": 1, "refused": 0, "nothing": 0}
    assert len(tool.members("news__email__2017-10-01")) == 7
    [kept] = answers(open_ledger(settings), published.AS_OF)
    assert (kept["answered_by"], kept["answered_via"], kept["view"]["add"]) == ("ann", "airflow", 7)
    with pytest.raises(AirflowSkipException):
        push.questions_or_skip()


def test_a_question_that_nobody_answered_sends_nothing(made):
    _settings, tool = made(approval="required")
    PushTask().execute(CONTEXT)
    [question] = push.questions_or_skip()
    silent = {"subject": question["subject"], "chosen": ["Do not send it"], "by": "", "reason": ""}
    assert push.push_approved([silent], None, {}) == {"approved": 0, "refused": 0, "nothing": 1}
    assert tool.calls() == []


def event_of(name):
    from datetime import UTC, datetime

    return {
        "chosen_options": [SEND],
        "params_input": {},
        "responded_at": datetime(2017, 10, 1, tzinfo=UTC),
        "responded_by_user": {"id": "1", "name": name},
    }
