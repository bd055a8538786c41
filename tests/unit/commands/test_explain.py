from __future__ import annotations

import shutil

import pytest

from factories.published import card, client, publish_shop, write_config
from perennial.pipeline.plan import plan


@pytest.fixture
def planned(settings, tmp_path):
    """A planned day: everyone gets the newsletter who consented, and nobody has."""
    shutil.rmtree(settings.config_dir)
    campaigns = [card("newsletter"), card("win_back", audience="lost and orders_90d = 0")]
    config = write_config(tmp_path, campaigns=campaigns, segments={"lost": "churn_risk > 0.9", "all": "orders_90d > 1"})
    run = publish_shop(config, [client("c1"), client("c2", churn_risk=0.95)])
    plan(config, run)


def test_L7_why_a_client_is_in_or_out_is_one_command(perennial, planned):
    told = perennial("explain", "c1", "--as-of", "2017-10-01", "--json").json
    assert (told["client_id"], told["as_of"]) == ("c1", "2017-10-01")
    assert told["metrics"]["orders_90d"] == 5
    assert {score["score"]: score["reasons"] for score in told["scores"]}["churn_risk"] == ["has not bought for long"]
    newsletter = next(one for one in told["campaigns"] if one["campaign"] == "newsletter")
    assert (newsletter["in"], newsletter["outcome"], newsletter["rule"]) == (False, "refused", "no_consent")


def test_people_see_the_term_that_does_not_hold_with_the_value_found(perennial, planned):
    outcome = perennial("explain", "key-c1")
    assert outcome.code == 0
    assert "Client c1 (key key-c1) on 2017-10-01" in outcome.out
    assert "has not bought for long" in outcome.out
    assert "churn_risk > 0.9 (churn_risk is 0.5)" in outcome.out
    assert "lost (lost is False); orders_90d = 0 (orders_90d is 5)" in outcome.out
    assert "Consents: none" in outcome.out


def test_an_unknown_client_or_day_is_told_in_one_line(perennial, planned):
    unknown = perennial("explain", "nobody", "--json")
    assert (unknown.code, unknown.out) == (1, "")
    assert "no client has the id or key 'nobody'" in unknown.err
    assert perennial("explain", "c1", "--as-of", "2017-09-30").code == 3
