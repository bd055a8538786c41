"""The services of docker-compose.yml started for real, without Docker, to the lists of a day on PostgreSQL."""

from __future__ import annotations

import json
import re

import pytest

from factories.compose_stack import AIRFLOW, Stack
from factories.small_shop import UNTIL, land_one_more_day, land_small_shop
from integration.running import tree
from perennial.core.settings import load_settings
from perennial.demo.airflow_api import AirflowApi
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAY_SECONDS = 1200
DAGS = {"ingest_sales", "ingest_crm", "build_warehouse", "train_models", "score_clients", "plan_campaigns"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """All services, each started when those that it depends on are as it wants them."""
    stack = Stack(tmp_path_factory.mktemp("compose"))
    try:
        stack.start_database()
        stack.until_healthy("database", 30)
        for service in ("databases", "init"):
            done = stack.run(service)
            assert done.returncode == 0, done.stdout + done.stderr
        for service in AIRFLOW:
            stack.start(service)
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def api(stack):
    return AirflowApi(stack.url, "admin", stack.values["PERENNIAL_ADMIN_PASSWORD"])


@pytest.fixture(scope="module")
def done_day(stack, api):
    """The small shop's files landed, and the chain carried them to the lists of the day."""
    engine = open_ledger(load_settings(stack.environment("scheduler")))
    stack.until(lambda: set(api.dags()) >= DAGS, 300, "the DAGs are read")
    assert api.import_errors() == []
    land_small_shop(stack.home / "landing")
    _until_done(stack, api, engine, UNTIL)
    return engine


def _until_done(stack, api, engine, day):
    def done():
        failed = [f"{task.dag_id}.{task.task_id}" for task in api.task_instances() if task.state == "failed"]
        assert not failed, (failed, stack.log("scheduler"))
        run = last_run(engine)
        return run is not None and run.as_of == day and run.state == "done"

    stack.until(done, DAY_SECONDS, f"the day {day} is done")


def _lists(home, day):
    return {name: digest for name, digest in tree(home / "outbox").items() if name.startswith(str(day))}


@pytest.mark.parametrize("service", AIRFLOW)
def test_every_service_becomes_healthy_by_its_own_check(stack, service):
    stack.until_healthy(service)


def test_airflow_says_that_all_its_parts_are_healthy_and_lets_nobody_in_without_the_password(stack, api):
    stack.until(api.healthy, 120, "all parts are healthy")
    for password in ("admin", "", stack.values["AIRFLOW_DB_PASSWORD"]):
        with pytest.raises(OSError, match=r"40[01]"):
            AirflowApi(stack.url, "admin", password).dags()
    assert (stack.home / "airflow/passwords.json").stat().st_mode & 0o777 == 0o600


def test_init_run_again_changes_nothing(stack):
    before = (stack.home / "airflow/passwords.json").read_text()
    done = stack.run("init")
    assert done.returncode == 0, done.stderr
    assert (stack.home / "airflow/passwords.json").read_text() == before


def test_L2_the_day_by_the_services_gives_the_lists_of_the_command_line_byte_for_byte(stack, done_day, small_home):
    assert _lists(stack.home, UNTIL) == _lists(small_home.path, UNTIL) != {}


def test_the_ledger_and_the_metadata_are_in_their_databases_and_nothing_of_them_is_a_file(stack, done_day):
    import sqlalchemy as sa

    assert done_day.dialect.name == "postgresql"
    with done_day.connect() as connection:
        assert connection.execute(sa.text("select count(*) from batches where state = 'committed'")).scalar() > 0
    assert not list(stack.home.rglob("*.db"))


def test_L22_no_secret_is_in_a_log_of_a_service_a_task_or_the_database(stack, done_day):
    logs = [*stack.folder.glob("*.log"), *(stack.home / "airflow/logs").rglob("*.log")]
    assert len(logs) > len(AIRFLOW)
    texts = {str(path): path.read_text(errors="replace") for path in logs} | {"database": stack.database_log()}
    secret = {name: value for name, value in stack.values.items() if re.search("PASSWORD|SECRET|KEY", name)}
    assert len(secret) == 8
    for place, text in texts.items():
        assert not [name for name, value in secret.items() if value in text], place
        assert "@example.com" not in text, place


def test_a_service_that_is_stopped_is_unhealthy_and_healthy_when_it_is_started_again(stack, done_day):
    stack.stop("scheduler")
    assert stack.check("scheduler").returncode != 0
    stack.start("scheduler")
    stack.until_healthy("scheduler")


def test_L2_L4_one_more_day_follows_what_changed_to_the_same_lists(stack, api, done_day, small_home):
    land_one_more_day(stack.home / "landing", small_home.days[1])
    _until_done(stack, api, done_day, small_home.days[1])
    assert _lists(stack.home, small_home.days[1]) == _lists(small_home.path, small_home.days[1])
    assert _lists(stack.home, UNTIL) == _lists(small_home.path, UNTIL), "what was handed over stays"


def test_the_cli_sees_what_the_services_see(stack, done_day):
    stack.services["cli"]["command"] = [*stack.services["cli"]["entrypoint"], "lists", "--json"]
    done = stack.run("cli")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["as_of"] >= str(UNTIL)
