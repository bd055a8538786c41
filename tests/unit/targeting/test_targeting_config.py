from __future__ import annotations

from pathlib import Path

import pytest

from factories.published import CLIENTS, METRICS, card, policy, put, write_config
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.targeting.catalogue import catalogue_of, contracted_tables
from perennial.targeting.config import load_campaigns, load_policy, load_segments, load_targeting

_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN", "date32[day]": "DATE"}
CATALOGUE = catalogue_of(
    {
        name: [(field.name, _TYPES.get(str(field.type), "DECIMAL(18,4)")) for field in schema]
        for name, schema in (("client_metrics", METRICS), ("dim_clients", CLIENTS))
    }
)


def problems(settings) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_targeting(settings, CATALOGUE)
    home = str(settings.config_dir) + "/"
    return [str(problem).replace(home, "") for problem in caught.value.problems]


def test_segments_come_in_the_order_of_what_they_stand_on(tmp_path):
    rules = {"a_top": "b_mid or c_low", "b_mid": "c_low and has_phone", "c_low": "recency_days < 3", "z": "true"}
    settings = write_config(tmp_path, segments=rules)
    assert [segment.id for segment in load_segments(settings, CATALOGUE)] == ["c_low", "z", "b_mid", "a_top"]


def test_a_circle_of_segments_is_named_once_and_whole(tmp_path):
    rules = {"a": "b and has_phone", "b": "c", "c": "not a", "d": "a"}
    [told] = problems(write_config(tmp_path, segments=rules))
    assert told.startswith(
        "segments/all.yml:5:segments.0.where: segments name each other in a circle: a -> b -> c -> a"
    )
    assert "metrics only" in told


def test_a_segment_that_names_itself_is_a_circle(tmp_path):
    [told] = problems(write_config(tmp_path, segments={"a": "not a"}))
    assert "in a circle: a -> a" in told


def test_mistakes_of_all_files_are_told_at_once_with_file_line_field_and_fix(tmp_path):
    settings = write_config(
        tmp_path,
        segments={"good": "recency_days < 3", "bad": "recency_dys < 3", "has_phone": "true"},
        campaigns=[card("one", audience="godo", channels=["email", "email"]), card("two", merge_fields=["frst_name"])],
        policy=policy(caps=[{"contacts": 1, "days": 3}, {"contacts": 1, "days": 3}]),
    )
    put(tmp_path, "campaigns/three.yml", "version: 1\nid: [\n")
    told = problems(settings)
    expected = [
        ("policy.yml:", "caps.1", "this cap stands twice"),
        ("segments/all.yml:8:segments.1.where", "'recency_dys'", "did you mean recency_days"),
        ("segments/all.yml:9:segments.2.id", "'has_phone' is the name of a metric", "another id"),
        ("campaigns/one.yml:", "'godo'", "did you mean good"),
        ("campaigns/one.yml:", "channels.1", "'email' is named twice"),
        ("campaigns/two.yml:", "merge_fields.0", "did you mean first_name"),
        ("campaigns/three.yml:", "not YAML", "indentation"),
    ]
    assert len(told) == len(expected), told
    for parts in expected:
        assert any(all(part in one for part in parts) for one in told), (parts, told)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"channels": ["sms"]}, ["channels.0", "policy.yml knows no channel 'sms'", "use one of email"]),
        ({"channels": ["fax"]}, ["channels.0", "fax"]),
        ({"channels": []}, ["name at least one channel"]),
        ({"merge_fields": ["next_product"]}, ["the card proposes no product", "department_not_yet_bought"]),
        ({"merge_fields": ["offer_code"]}, ["the offer has no code", "add offer.code"]),
        ({"never_propose": ["FUEL"]}, ["the card proposes no product", "set next_product"]),
        ({"schedule": {"window_days": 3}}, ["schedule.window_days", "a window without an anniversary"]),
        ({"schedule": {"weekdays": ["sunday"]}}, ["schedule.weekdays.0", "'sunday'"]),
        (
            {"list_type": "audience", "next_product": "department_not_yet_bought"},
            ["an audience list has no next product"],
        ),
        ({"starts_on": "2017-10-02", "ends_on": "2017-10-01"}, ["ends_on 2017-10-01 is before starts_on"]),
        ({"audience": "recency_days > 'a'"}, ["audience", "recency_days is a number, but 'a' is a text"]),
        ({"control_share": 1.5}, ["control_share", "1.5 is more than 1", "or less"]),
        ({"offer": {"text": "x", "cost": -1}}, ["offer.cost", "-1 is less than 0", "or more"]),
        ({"max_contacts_per_day": -1}, ["max_contacts_per_day", "-1 is less than 0"]),
        ({"colour": "red"}, ["colour", "this key is not known"]),
    ],
)
def test_a_mistake_in_a_card_is_told_with_its_place(tmp_path, change, parts):
    channels = {"email": {"cost": 0.01, "consent": "required", "address": "email"}}
    settings = write_config(tmp_path, campaigns=[card("one", **change)], policy=policy(channels=channels))
    [told] = problems(settings)
    assert told.startswith("campaigns/one.yml:")
    for part in parts:
        assert part in told


def test_a_cap_on_a_channel_that_is_not_declared_is_a_mistake(tmp_path):
    channels = {"email": {"cost": 0.01, "address": "email"}}
    caps = [{"contacts": 1, "days": 7, "channel": "sms"}]
    [told] = problems(write_config(tmp_path, policy=policy(channels=channels, caps=caps)))
    assert told.startswith("policy.yml:")
    assert "caps.0: the cap names the channel 'sms', which is not declared" in told


def test_two_cards_or_segments_with_one_id_are_told_with_both_places(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("one")], segments={"good": "true"})
    put(tmp_path, "campaigns/other.yml", card("one"))
    put(
        tmp_path, "segments/other.yml", {"version": 1, "segments": [{"id": "good", "description": "", "where": "true"}]}
    )
    told = problems(settings)
    assert len(told) == 2
    assert any("other.yml" in one and "is taken by" in one and "one.yml" in one for one in told)
    assert any("segments/other.yml:3:segments.0.id" in one and "segments/all.yml:" in one for one in told)


def test_an_empty_or_missing_file_is_told_and_does_not_hide_the_others(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("one", audience="nobody_knows")])
    put(tmp_path, "segments/empty.yml", "")
    (tmp_path / "config" / "policy.yml").unlink()
    told = problems(settings)
    assert [one.split(":")[0] for one in sorted(told)] == ["campaigns/one.yml", "policy.yml", "segments/empty.yml"]


def test_the_order_of_files_and_entries_decides_nothing(tmp_path):
    rules = {"a": "true", "b": "recency_days < 3", "c": "a and b"}
    one = load_targeting(write_config(tmp_path / "x", segments=rules, campaigns=[card("p"), card("q")]), CATALOGUE)
    turned = dict(reversed(rules.items()))
    two = write_config(tmp_path / "y", segments=turned)
    put(tmp_path / "y", "campaigns/1.yml", card("q"))
    put(tmp_path / "y", "campaigns/2.yml", card("p"))
    assert load_targeting(two, CATALOGUE) == one


def test_without_anything_published_names_are_not_checked_but_the_rest_is(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("one", audience="later_metric > 3")])
    assert [campaign.id for campaign in load_campaigns(settings)] == ["one"]
    put(tmp_path, "campaigns/one.yml", card("one", audience="now() > 3"))
    with pytest.raises(ConfigError):
        load_campaigns(settings)


def _shipped(folder: Path):
    return load_settings({"PERENNIAL_CONFIG": str(folder), "PERENNIAL_HOME": str(folder / "nowhere")})


def test_the_shipped_cards_cover_what_the_shop_needs():
    targeting = load_targeting(_shipped(REPOSITORY / "config"))
    cards = {campaign.id: campaign for campaign in targeting.campaigns}
    assert set(cards) == {"anniversary", "bring_a_friend", "cross_sell", "newsletter", "retention", "win_back"}
    assert {"sun", "wed"} <= set(cards["newsletter"].schedule.weekdays or ())
    assert cards["newsletter"].nature == "informational"
    assert cards["anniversary"].schedule.anniversary_of == "signed_up_on"
    assert cards["cross_sell"].next_product == "department_not_yet_bought"
    assert cards["bring_a_friend"].list_type == "audience"
    assert any({"sms", "call"} & set(campaign.channels) for campaign in cards.values())
    assert all(0 < campaign.control_share < 1 for campaign in cards.values())


@pytest.mark.parametrize("folder", ["config", "config/examples/online_retail"])
def test_L3_the_shipped_rules_use_only_names_that_the_dbt_project_contracts(folder):
    settings = _shipped(REPOSITORY / folder)
    tables = contracted_tables(settings.dbt_project_dir)
    assert set(tables) == {"client_metrics", "dim_clients", "client_product_matrix", "client_lifecycle_events"}
    assert catalogue_of(tables)["gap_days_median"].kind == "number"
    assert load_targeting(settings, catalogue_of(tables)).campaigns


def test_the_wholesaler_of_the_example_needs_no_consent_of_its_accounts():
    targeting = load_targeting(_shipped(REPOSITORY / "config" / "examples" / "online_retail"))
    assert targeting.policy.channels["account_manager"].consent == "not_required"
    assert {campaign.channels for campaign in targeting.campaigns} == {("account_manager",)}
    assert load_policy(_shipped(REPOSITORY / "config" / "examples" / "online_retail")) == targeting.policy
