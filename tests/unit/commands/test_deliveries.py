"""From a list that waits to one that is settled, by the command line alone."""

import json

import pytest

from factories import tool_exports
from factories.kept_tool import Manner
from perennial.cli import main
from perennial.delivery import destinations

IDS = [f"c{n}" for n in range(6)]
LIST = "2017-10-01/news__email"


@pytest.fixture
def shop(tmp_path, monkeypatch, capfd):
    """A planned day for a new tool that gives no answers, and what runs a command of it."""
    manner = Manner(repeatable=False, readable=False, connections=1, bad=("c5@example.com",))
    registry = dict(destinations.TOOLS)
    tool_exports.use(tmp_path, manner, registry)
    monkeypatch.setattr(destinations, "TOOLS", registry)
    settings = tool_exports.shop(tmp_path, IDS)
    tool_exports.planned(settings, IDS)
    for name, value in {
        "PERENNIAL_HOME": settings.home,
        "PERENNIAL_CONFIG": settings.config_dir,
        "COLUMNS": 200,
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(*arguments):
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return run, tool_exports.tool_at(tmp_path, manner)


def test_a_list_waits_is_looked_at_approved_sent_and_settled(shop):
    run, tool = shop
    code, out, _ = run("export", "--json")
    assert (code, json.loads(out)["lists"][0]["reasons"]) == (0, {"awaits_approval": 6})
    code, out, _ = run("export", "--dry-run")
    assert "a person would be asked first (new_destination)" in out
    code, out, _ = run("approve", "news", "email", "--because", "looked at it", "--by", "ann")
    assert (code, "6 to add" in out, "approved, until" in out) == (0, True, True)
    tool.break_at(n1="reset_after")
    code, out, _ = run("export")
    assert (code, "unknown_outcome 5" in out) == (0, True)
    code, out, _ = run("deliveries", "unknown", "--json")
    [unknown] = json.loads(out)["unknown"]
    assert (unknown["list_id"], unknown["rows"]) == (LIST, 5)
    code, out, _ = run("deliveries", "settle", LIST, "--as", "accepted")
    assert (code, "5 rows count as delivered" in out) == (0, True)
    code, _, err = run("deliveries", "settle", LIST, "--as", "accepted")
    assert (code, "it has no unknown rows" in err) == (1, True)
    code, out, _ = run("deliveries", "unknown")
    assert "it is known what became of it" in out


def test_a_refusal_is_kept_and_an_answer_to_no_question_is_told(shop):
    run, tool = shop
    run("export")
    code, out, _ = run("approve", "news", "email", "--refuse", "--because", "wrong offer", "--json")
    assert (code, json.loads(out)["answer"]) == (0, "refused")
    code, out, _ = run("export", "--json")
    assert json.loads(out)["lists"][0]["reasons"] == {"not_approved": 6}
    code, _, err = run("approve", "news", "email", "--because", "again")
    assert (code, "nobody is asked about the list" in err) == (2, True)
    assert tool.calls() == []


def test_L18_a_send_is_begun_by_tools_that_can_alone(shop):
    run, _tool = shop
    run("export")
    code, _, err = run("deliveries", "start", LIST)
    assert (code, "begins no send of a list" in err) == (1, True)
