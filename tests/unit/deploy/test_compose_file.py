"""docker-compose.yml: what the Compose specification says of it, and that everything it names is there."""

from __future__ import annotations

import importlib.metadata
import json
import re

import jsonschema
import pytest

from factories.compose import FILE, NotSet, Variables, image_environment, raw_file, resolved
from perennial.commands.env_file import SECRETS, WANTED, complete_env, read_env
from perennial.core.settings import REPOSITORY

AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer"}
ONCE = {"databases", "init"}


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """What .env has after `perennial up`."""
    path = tmp_path_factory.mktemp("env") / ".env"
    complete_env(path)
    return read_env(path)


@pytest.fixture(scope="module")
def compose(values):
    return resolved(values)[0]


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def test_it_is_valid_by_the_compose_specifications_schema_with_its_variables_and_with_their_values(compose):
    package = importlib.metadata.distribution("check-jsonschema")  # which is not imported: only its copy is wanted
    path = package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    schema = json.loads(path.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(raw_file())] == []
    assert [error.message for error in validator.iter_errors(compose)] == []
    wrong = raw_file()
    wrong["services"]["scheduler"]["helthcheck"] = {}
    assert list(validator.iter_errors(wrong)), "the schema would refuse a key that is misspelt"


def test_every_variable_is_one_that_up_writes_or_has_a_default(values):
    asked = resolved(values)[1]
    must = {name for name, operators in asked.items() if operators & {":?", "?"}}
    assert must == {*SECRETS, "PERENNIAL_DATA"}
    for name, operators in asked.items():
        assert name in must or operators == {":-"}, f"{name} has neither a default nor a message"
    assert set(WANTED) <= set(asked), "up writes nothing that is not used"


@pytest.mark.parametrize("name", SECRETS)
def test_L22_no_secret_has_a_default_and_one_that_is_missing_or_empty_stops_it_with_what_to_do(values, name):
    for lacking in ({k: v for k, v in values.items() if k != name}, {**values, name: ""}):
        with pytest.raises(NotSet, match=r"run \./perennial up"):
            resolved(lacking)


def test_L22_no_password_or_key_stands_in_the_file_itself():
    for name, value in _leaves(raw_file()):
        if re.search(r"(PASSWORD|SECRET|KEY|CONN|_URL)$", name) and "SERVER_URL" not in name:
            assert re.search(r"\$\{\w+:[?-]", value), f"{name} stands in {FILE.name} itself"
    assert "trust" not in FILE.read_text()


def _leaves(value, name=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    elif isinstance(value, str):
        yield name, value


def test_L22_a_service_sees_the_secrets_that_it_needs_and_no_others(services, values):
    def sees(service):
        text = json.dumps(service)
        return {name for name in SECRETS if values[name] in text}

    airflow = set(SECRETS) - {"POSTGRES_PASSWORD", "PERENNIAL_ADMIN_PASSWORD"}
    for name in (*AIRFLOW, "cli"):
        assert sees(services[name]) == airflow, name
    assert sees(services["init"]) == airflow | {"PERENNIAL_ADMIN_PASSWORD"}
    assert sees(services["database"]) == {"POSTGRES_PASSWORD"}
    databases = {"AIRFLOW_DB_PASSWORD", "LEDGER_DB_PASSWORD", "WAREHOUSE_DB_PASSWORD"}
    assert sees(services["databases"]) == databases | {"POSTGRES_PASSWORD"}


def test_every_dependency_is_a_service_that_can_fulfil_it_and_nothing_waits_in_a_circle(services):
    order: list[str] = []
    while len(order) < len(services):
        ready = [n for n in services if n not in order and set(services[n].get("depends_on", {})) <= set(order)]
        assert ready, f"in a circle, or on no service: {set(services) - set(order)}"
        order += ready
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}, which has no check"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no", f"{other} would never be completed"
    for name in AIRFLOW:
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"


def test_every_service_that_stays_has_a_health_check_and_starts_again_and_those_that_end_do_not(services):
    assert set(services) == AIRFLOW | ONCE | {"database", "cli"}
    for name in AIRFLOW | {"database"}:
        check = services[name]["healthcheck"]
        assert check["test"][0] in {"CMD", "CMD-SHELL"}
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)
        assert services[name]["restart"] == "unless-stopped"
    for name in ONCE:
        assert services[name]["restart"] == "no"
        assert "healthcheck" not in services[name]
    assert services["cli"]["profiles"] == ["tools"]


def test_every_service_has_an_image_by_its_exact_tag_and_logs_that_end(services):
    for name, service in services.items():
        image, tag = service["image"].split(":")
        assert re.match(r"\d+\.\d+(\.\d+)?(-\w+)?$", tag), f"{name}: {image}:{tag}"
        assert "no-new-privileges:true" in service["security_opt"]
        if service["restart"] != "no":
            assert service["logging"]["options"]["max-file"]
    for name in AIRFLOW | {"cli", "init"}:
        assert services[name]["image"].split(":")[1] == _version(), "our own image carries our own version"
        assert services[name]["build"] == {"context": "."}
        assert services[name]["cap_drop"] == ["ALL"]


def _version():
    from perennial import __version__

    return __version__


def test_ports_are_open_on_this_host_alone(services):
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(ports) == {"api-server", "database"}
    for [port] in ports.values():
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_volumes_are_declared_files_are_there_and_config_is_read_only(compose, services):
    used = set()
    for name, service in services.items():
        for mount in service["volumes"]:
            if mount["type"] == "volume":
                used.add(mount["source"])
            else:
                assert mount["bind"] == {"create_host_path": False}, "Docker would make a folder that root owns"
                if mount["source"] != "./data":  # made by `up`
                    assert (REPOSITORY / mount["source"]).exists(), mount["source"]
                if mount["target"] != "/var/lib/perennial":
                    assert mount["read_only"] is True, f"{name}: {mount['target']}"
    assert used == set(compose["volumes"])
    assert "networks" not in compose, "all are in the project's own network"
    places = image_environment()
    for name in AIRFLOW | {"cli", "init"}:
        targets = {mount["target"] for mount in services[name]["volumes"]}
        assert targets == {places["PERENNIAL_HOME"], places["PERENNIAL_CONFIG"]}


def test_all_state_lies_in_one_mount_since_files_are_moved_by_rename(services):
    for name in AIRFLOW:
        writable = [mount["target"] for mount in services[name]["volumes"] if not mount.get("read_only")]
        assert writable == ["/var/lib/perennial"]


def test_airflows_services_differ_in_nothing_but_their_command_ports_and_health(services):
    def rest(name):
        own = {"command", "ports", "healthcheck", "stop_grace_period"}
        return {key: value for key, value in services[name].items() if key not in own}

    assert all(rest(name) == rest("scheduler") for name in AIRFLOW)
    for name in AIRFLOW:
        assert services[name]["command"] == ["airflow", name]


def test_every_host_in_an_address_is_a_service_and_every_variable_an_option_of_airflow_or_ours(services):
    from airflow.configuration import conf

    for name in (*AIRFLOW, "init", "cli"):
        for key, value in services[name]["environment"].items():
            host = re.search(r"://(?:[^@/]*@)?([a-z-]+):\d+", value)
            assert host is None or host[1] in {*services, "localhost"}, f"{key} names {host[1]}"
            if key.startswith("AIRFLOW__"):
                _, section, option = key.split("__")
                described = conf.configuration_description[section.lower()]["options"]
                assert option.lower() in described, f"Airflow has no option {section}.{option}"


def test_the_ports_that_health_checks_ask_are_those_that_airflow_listens_on(services):
    from airflow.configuration import conf

    api, scheduler = (services[name]["healthcheck"]["test"][-1] for name in ("api-server", "scheduler"))
    assert f"localhost:{conf.getint('api', 'port')}/" in api
    assert f"localhost:{conf.getint('scheduler', 'scheduler_health_check_server_port')}/" in scheduler
    assert services["scheduler"]["environment"]["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "True"
    for name in ("dag-processor", "triggerer"):
        assert '"${HOSTNAME}"' in services[name]["healthcheck"]["test"][-1], "the container's name, not this host's"


@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("a $$X ${A} $A", "a $X 1 1"),
        ("${B:-x}${B-x}${C-y}", "xy"),
        ("${C:-http://h:${A:-9}/}", "http://h:1/"),
        ("${A:+yes}${C+no}${A:?must}", "yes1"),
    ],
)
def test_variables_are_filled_in_as_the_specification_says(text, gives):
    assert Variables({"A": "1", "B": ""}, {}).fill(text) == gives


@pytest.mark.parametrize("text", ["${A", "$ {A}", "${A!b}", "${C:?gone}", "${B:?gone}", "$C"])
def test_a_variable_that_is_not_set_or_not_of_the_specification_is_an_error(text):
    with pytest.raises((ValueError, NotSet, IndexError)):
        Variables({"A": "1", "B": ""}, {}).fill(text)
