from __future__ import annotations

from pathlib import Path

import pytest

from factories.published import CLIENTS, METRICS, card, policy, put, write_config
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.targeting.catalogue import catalogue_of, contracted_tables
from perennial.targeting.config import load_campaigns, load_policy, load_rules, load_segments, load_targeting

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


def test_a_chain_of_segments_that_is_too_long_is_told_where_it_is(tmp_path):
    rules = {f"seg_{number:03}": f"seg_{number + 1:03}" for number in range(60)} | {"seg_060": "has_phone"}
    [told] = problems(write_config(tmp_path, segments=rules))
    assert "seg" in told
    assert "a chain of more than 50 segments" in told
    assert len(load_segments(write_config(tmp_path, segments=dict(list(rules.items())[11:])), CATALOGUE)) == 50


def test_a_segment_that_asks_who_entered_it_is_a_circle(tmp_path):
    [told] = problems(write_config(tmp_path, segments={"a": "entered(b, 7)", "b": "exited(a, 3) or has_phone"}))
    assert "in a circle: a -> b -> a" in told


def test_the_response_to_each_card_and_every_declared_score_are_names(tmp_path):
    rules = {"keen": "response_one > 0.1", "soon": "next_purchase_days < 7 and value_365d > 100"}
    settings = write_config(tmp_path, campaigns=[card("one", audience="keen")], segments=rules)
    assert load_targeting(settings, CATALOGUE).segment_rules["keen"].metrics == {"response_one"}
    assert load_rules(settings, CATALOGUE).segment_rules["soon"].metrics == {"next_purchase_days", "value_365d"}
    [told] = problems(write_config(tmp_path, segments={"keen": "response_oen > 0.1"}, campaigns=[card("one")]))
    assert "did you mean response_one?" in told


def test_a_file_beside_the_config_replaces_segments_by_their_id(tmp_path):
    settings = write_config(tmp_path, segments={"a": "has_phone", "b": "a"})
    file = tmp_path / "mine.yml"
    file.write_text(
        "version: 1\nsegments:\n- {id: a, description: x, where: has_email}\n- {id: c, description: x, where: b}\n"
    )
    found = load_rules(settings, CATALOGUE, file)
    assert {segment.id: segment.where for segment in found.segments} == {"a": "has_email", "b": "a", "c": "b"}
    same = load_rules(settings, CATALOGUE, settings.config_dir / "segments" / "all.yml")
    assert {segment.id for segment in same.segments} == {"a", "b"}


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
    assert {"anniversary", "bring_a_friend", "cross_sell", "newsletter", "retention", "win_back"} < set(cards)
    assert {"sun", "wed"} <= set(cards["newsletter"].schedule.weekdays or ())
    assert cards["newsletter"].nature == "informational"
    assert cards["anniversary"].schedule.anniversary_of == "signed_up_on"
    assert cards["cross_sell"].next_product == "cross_sell"
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


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"caps": [{"contacts": 1, "days": 7, "segment": "slepers"}]}, ["caps.0.segment", "did you mean sleepers"]),
        ({"gaps": [{"after": "one", "before": "onne", "days": 7}]}, ["gaps.0.before", "did you mean one"]),
        ({"gaps": [{"after": "one", "before": "one", "days": 7}]}, ["gaps.0", "distance from itself", "cool_down_days"]),
        ({"quiet": {"hours": {"starts": 1260, "ends": "08:00"}}}, ["quiet.hours.starts", "not text"]),
        ({"quiet": {"hours": {"starts": "25:00", "ends": "08:00"}}}, ["quiet.hours.starts", "a time of day in quotes"]),
        ({"quiet": {"zones": {"DE": "Europe/Berln"}}}, ["quiet.zones.DE", "no time zone is called 'Europe/Berln'"]),
        ({"quiet": {"holidays": [{"on": "02-30", "name": "x"}]}}, ["quiet.holidays.0", "no day", "12-25"]),
        ({"quiet": {"channels": ["call"]}}, ["quiet.channels.0", "'call' is not declared"]),
        ({"day_budget": {"money": -1}}, ["day_budget.money", "-1 is less than 0"]),
        ({"hold_out": {"share": 0.0, "since": "2017-09-01"}}, ["hold_out.share", "more than 0"]),
        ({"channels": {"email": {"cost": 0.1, "address": "email", "consent": "not_required", "min_consent_days": 3}}},
         ["channels.email.min_consent_days", "needs no consent"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_policy_is_told_with_its_place(tmp_path, change, parts):
    channels = {"email": {"cost": 0.01, "address": "email"}}
    rules = {"sleepers": "recency_days > 9"}
    given = policy(**{"channels": channels, "caps": [], **change})
    [told] = problems(write_config(tmp_path, campaigns=[card("one")], segments=rules, policy=given))
    assert told.startswith("policy.yml:")
    for part in parts:
        assert part in told


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"arms": [{"id": "a", "share": 0.7}, {"id": "b", "share": 0.7}]}, ["arms", "add up to 1.4: they overlap"]),
        ({"arms": [{"id": "a", "share": 0.5}, {"id": "a", "share": 0.5}]}, ["arms.1.id", "stands twice"]),
        ({"arms": [{"id": "control", "share": 1}]}, ["arms.0.id", "no name for an arm"]),
        ({"pilot": {"share": 0.1}}, ["pilot", "without a control group"]),
        ({"budget": {"money": -5}}, ["budget.money", "-5 is less than 0"]),
        ({"budget": {"money": 5, "money_per_day": 9}}, ["budget.money_per_day", "more than the whole term"]),
        ({"exclusivity": {"group": "offers", "days": 0}}, ["exclusivity.days", "0 is less than 1"]),
    ],
)
def test_a_mistake_in_what_a_card_says_of_budgets_arms_and_pilots_is_told(tmp_path, change, parts):
    [told] = problems(write_config(tmp_path, campaigns=[card("one", **change)]))
    for part in parts:
        assert part in told
