from __future__ import annotations

import shutil

import pytest

from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY, Company, load_settings


def _copy(tmp_path):
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    return config


def test_home_and_config_come_from_the_environment(tmp_path):
    settings = load_settings({"PERENNIAL_HOME": str(tmp_path / "h"), "PERENNIAL_CONFIG": str(_copy(tmp_path))})
    assert settings.home == tmp_path / "h"
    assert settings.landing == tmp_path / "h" / "landing"


def test_another_company_has_another_home(tmp_path):
    default = load_settings({})
    other = load_settings({"PERENNIAL_CONFIG": str(REPOSITORY / "config/examples/online_retail")})
    assert other.home != default.home
    assert other.company.currency == "GBP"


def test_L2_any_change_of_a_card_changes_the_config_digest_and_an_example_does_not(tmp_path):
    config = _copy(tmp_path)
    environment = {"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_CONFIG": str(config)}
    before = load_settings(environment).config_digest()
    (config / "examples/online_retail/policy.yml").write_text("version: 1\n")
    assert load_settings(environment).config_digest() == before
    policy = config / "policy.yml"
    policy.write_text(policy.read_text() + "# a note\n")
    assert load_settings(environment).config_digest() != before


def test_L22_the_salt_can_come_from_the_environment():
    assert load_settings({"PERENNIAL_ASSIGNMENT_SALT": "from-a-secret"}).salt == "from-a-secret"


@pytest.mark.parametrize(
    "name", ["landing", "archive", "refused", "raw", "quarantine", "outbox", "models_dir", "private_dir"]
)
def test_all_state_lives_below_the_home_folder(tmp_path, name):
    settings = load_settings({"PERENNIAL_HOME": str(tmp_path)})
    assert getattr(settings, name).is_relative_to(tmp_path)


def test_one_setting_chooses_postgresql_as_the_warehouse_and_its_password_is_never_shown():
    url = "postgresql://perennial:s3cret@db.example.com/warehouse"
    assert load_settings({}).warehouse_url is None
    settings = load_settings({"PERENNIAL_WAREHOUSE_URL": url})
    assert settings.warehouse_url == url
    assert "s3cret" not in repr(settings)


def test_L22_a_wrong_address_of_the_warehouse_is_refused_without_being_shown():
    with pytest.raises(ConfigError, match="PERENNIAL_WAREHOUSE_URL") as refused:
        load_settings({"PERENNIAL_WAREHOUSE_URL": "mysql://perennial:s3cret@db"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({}, True),
        ({"prices_include_tax": False}, False),
        ({"revenue_includes_tax": False}, False),
        ({"prices_include_tax": False, "revenue_includes_tax": True}, True),
    ],
)
def test_tax_is_counted_as_it_is_delivered_unless_the_settings_say_otherwise(given, counted):
    company = Company(name="Shop", zone="Europe/Berlin", currency="EUR", **given)
    assert (company.counts_tax, company.fiscal_year_starts) == (counted, 1)


def test_a_fiscal_year_starts_in_a_month():
    with pytest.raises(ValueError, match="fiscal_year_starts"):
        Company(name="Shop", zone="Europe/Berlin", currency="EUR", fiscal_year_starts=13)
