from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest
from pytest_socket import enable_socket

from factories.tiny_warehouse import build_without_dbt, day_run
from perennial.commands import findings
from perennial.commands.locks import LOCK, digest_of_file, lock_problems
from perennial.core.settings import REPOSITORY
from perennial.warehouse.publish import publish_marts


@pytest.fixture
def wrong(perennial):
    """The errors that `check --json` finds in a part."""

    def look(part: str) -> list[dict]:
        outcome = perennial("check", "--json", "--only", part)
        found = [finding for finding in outcome.json["findings"] if finding["level"] == "error"]
        assert outcome.code == (2 if found else 0)
        assert outcome.json["ok"] == (not found)
        return found

    return look


def test_the_configuration_of_the_demo_shop_is_right(wrong):
    assert wrong("config") == []


def test_each_mistake_is_told_with_its_file_line_and_fix_and_all_at_once(wrong, settings):
    sources, policy = settings.config_dir / "sources.yml", settings.config_dir / "policy.yml"
    sources.write_text(sources.read_text().replace("cadence: on_change", "cadnce: on_change", 1))
    policy.write_text(policy.read_text().replace("max_list_shrink: 0.7", "max_list_shrink: 7"))
    (settings.config_dir / "destinations.yml").write_text("version: 1\ndestinations:\n  a: {kind: pigeon}\n")
    found = {finding["where"]: finding for finding in wrong("config")}
    line = 1 + next(n for n, text in enumerate(sources.read_text().splitlines()) if "cadnce" in text)
    place = next(where for where in found if where.startswith(f"{sources}:{line}:"))
    assert "cadence" in found[place]["fix"]
    files = {where.split(":")[0] for where in found}
    assert files == {str(sources), str(policy), str(settings.config_dir / "destinations.yml")}


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "segments/shop.yml",
            "rfm_monetary >= 4",
            "rfm_monetray >= 4",
            ("13:segments.2.where", "did you mean rfm_monetary?"),
        ),
        (
            "segments/shop.yml",
            "in ('new', 'active', 'growing', 'cooling', 'won_back')\n",
            "in ('new') and best_clients\n",
            ("segments.1.where", "in a circle"),
        ),
        (
            "segments/shop.yml",
            "revenue_365d >= 300",
            "revenue_365d >= 'much'",
            ("17:segments.3.where", "without quotes"),
        ),
        (
            "campaigns/retention.yml",
            "audience: slows_down",
            "audience: slow_down",
            ("8:audience", "did you mean slows_down?"),
        ),
        (
            "campaigns/retention.yml",
            "main_department_365d]",
            "main_departement]",
            ("11:merge_fields.2", "did you mean main_d"),
        ),
        ("campaigns/retention.yml", "priority: 10", "never_propose: [FUEL]", ("13:never_propose", "set next_product")),
        ("campaigns/retention.yml", "id: retention", "id: newsletter", ("2:id", "retention.yml:2:id", "another id")),
        ("campaigns/retention.yml", "sms, call]", "sms, fax]", ("9:channels.2", "'fax' is not one of email, sms")),
        (
            "campaigns/retention.yml",
            "priority: 10",
            "starts_on: 2017-10-05\nends_on: 2017-10-01",
            ("14:ends_on", "is before starts_on 2017-10-05", "correct one of the two"),
        ),
        ("sources.yml", '"[0-9]{5,20}"', '"[0-9{5,20}"', ("16:", "not a regular expression", "mend the expression")),
    ],
)
def test_L23_before_anything_is_published_each_mistake_has_file_line_field_and_fix(
    wrong, settings, file, old, new, told
):
    path = settings.config_dir / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    [finding] = wrong("config")
    shown = " ".join(finding[name] for name in ("where", "message", "fix"))
    assert [part for part in told if part not in shown] == []
    assert finding["where"].startswith(str(settings.config_dir))
    assert finding["fix"]


def test_a_wrong_perennial_yml_is_a_finding_too(perennial, settings):
    (settings.config_dir / "perennial.yml").write_text("version: 1\n\tcompany: x\n")
    outcome = perennial("check")
    assert outcome.code == 2
    assert f"{settings.config_dir / 'perennial.yml'}:2" in outcome.out
    assert "requirements" in outcome.out  # what can be looked at without it is


def test_nothing_published_and_no_ledger_are_no_errors_and_checking_makes_nothing(wrong, settings):
    assert wrong("connections") == []
    assert not settings.home.exists()


def test_a_published_part_that_is_gone_is_told(perennial, wrong, settings):
    run = day_run()
    build_without_dbt(settings, run, [])
    publish_marts(settings, run)
    assert wrong("connections") == []
    shutil.rmtree(settings.warehouse_dir / "parts")
    found = wrong("connections")
    assert {finding["where"].split("/")[-1] for finding in found} == {"fct_order_lines", "kpi_daily"}
    assert all("perennial run" in finding["fix"] for finding in found)


def test_L22_a_ledger_that_does_not_answer_is_told_without_its_password(perennial, wrong, monkeypatch):
    monkeypatch.setenv("PERENNIAL_LEDGER_URL", "nosuchdialect://user:secret@db/ledger")
    [finding] = wrong("connections")
    assert "PERENNIAL_LEDGER_URL" in finding["fix"]
    assert "secret" not in str(finding)


def test_the_environment_is_looked_at(perennial, settings, monkeypatch):
    enable_socket()
    found = {finding.where: finding for finding in findings.check_environment(settings)}
    assert found["python"].level == "ok"
    assert "GiB free" in found[str(settings.config_dir.parent)].message
    assert f"port {findings._AIRFLOW_PORT}" in found


def test_a_taken_port_is_a_warning_only(monkeypatch):
    enable_socket()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(findings, "_AIRFLOW_PORT", other.getsockname()[1])
        assert findings._port().level == "warning"
    assert findings._port().level == "ok"


@pytest.mark.parametrize(
    ("stamp", "level"), [(None, "warning"), ("0" * 64 + " Python 3.11.7\n", "error"), ("the lock's", "ok")]
)
def test_an_environment_that_was_made_from_another_lock_is_told(stamp, level, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if stamp:
        text = stamp.replace("the lock's", f"{digest_of_file(LOCK)} Python 3.11.7\n")
        (tmp_path / "lock.stamp").write_text(text)
    assert findings._installed().level == level


@pytest.fixture
def locks(tmp_path) -> Path:
    for name in ("pyproject.toml", "requirements.lock", "requirements-test.lock", "requirements-uv.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_the_lock_files_give_what_pyproject_asks_for():
    assert lock_problems() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pyproject.toml", '"duckdb>=2.0.0,<3"', '"duckdb>=3"', "pyproject.toml wants duckdb>=3"),
        ("pyproject.toml", '"duckdb>=2.0.0,<3"', '"somethingnew"', "somethingnew is not in it"),
        ("requirements.lock", "agate==", "agate>=", "not a pin, a hash or a comment"),
        ("requirements.lock", "agate==", "--index-url https://mirror.test/simple\nagate==", "--index-url"),
        ("requirements-test.lock", "agate==", "agate==0", "agate is not pinned as in requirements.lock"),
    ],
)
def test_a_lock_file_that_does_not_fit_is_told_with_the_command_that_mends_it(locks, file, old, new, message):
    text = (locks / file).read_text()
    assert old in text
    (locks / file).write_text(text.replace(old, new, 1))
    problems = [problem for problem in lock_problems(locks) if message in problem.message]
    assert problems
    assert all(problem.fix.startswith(("uv pip compile", "echo uv")) for problem in problems)


def test_a_package_without_a_hash_and_a_missing_file_are_told(locks):
    lines = (locks / "requirements-uv.txt").read_text().splitlines()
    (locks / "requirements-uv.txt").write_text(lines[0].rstrip("\\ ") + "\n")
    (locks / "requirements-test.lock").unlink()
    messages = [f"{problem.where}: {problem.message}" for problem in lock_problems(locks)]
    assert "requirements-uv.txt: uv has no hash" in messages
    assert "requirements-test.lock: the file is missing" in messages
