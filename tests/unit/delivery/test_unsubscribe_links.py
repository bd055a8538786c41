"""Links that withdraw: what we signed is known again, what another made or changed is not."""

from __future__ import annotations

import json
import string
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError
from perennial.delivery.unsubscribe_links import CONNECTION, Links, Unsubscribe, links_of, sign, verify

SECRET, OTHER = "0123456789abcdef0123456789abcdef", "another secret of thirty-two char"
WHAT = Unsubscribe("c0123456789abcde", "email", "marketing", "news", date(2017, 10, 1))


def links(text):
    return links_of(EnvironmentConnections({f"AIRFLOW_CONN_{CONNECTION.upper()}": text}).get(CONNECTION))


@given(st.builds(Unsubscribe, *([st.text(max_size=40)] * 4), st.dates()))
@settings(max_examples=50, deadline=None)
def test_what_was_signed_is_verified_and_says_what_it_said(what):
    token = sign(what, SECRET)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")
    assert verify(token, [SECRET]) == what
    assert verify(token, [OTHER]) is None


@pytest.mark.parametrize("position", [0, 5, 30, -1, -10])
def test_L23_a_token_that_was_changed_is_not_verified(position):
    token = sign(WHAT, SECRET)
    parts = list(token)
    parts[position] = "A" if parts[position] != "A" else "Q"
    assert verify("".join(parts), [SECRET]) is None


@pytest.mark.parametrize(
    "token", ["", ".", "x", "a.b", "é.é", "." + "A" * 22, "A" * 100_000, "W10.", "a.b.c", "%%%.%%%"]
)
def test_L23_what_is_no_token_is_none_and_nothing_is_raised(token):
    assert verify(token, [SECRET]) is None
    assert verify(token, [""]) is None
    assert verify(token, []) is None


def test_after_a_change_of_the_secret_links_in_old_messages_still_work():
    old = sign(WHAT, OTHER)
    now = {"conn_type": "http", "host": "https://m.example.com/perennial", "password": SECRET}
    assert links(json.dumps(now | {"extra": {"former_secrets": [OTHER]}})).verify(old) == WHAT
    assert links(json.dumps(now)).verify(old) is None


def test_RFC8058_the_two_headers_hold_one_https_link_and_nothing_about_the_person():
    found = links(f"https://:{SECRET}@m.example.com").headers(WHAT, mailto="leave@example.com")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    first, second = found["List-Unsubscribe"].split(", ")
    assert first.startswith("<https://m.example.com/unsubscribe/")
    assert second == "<mailto:leave@example.com?subject=unsubscribe>"
    assert verify(first[:-1].rpartition("/")[2], [SECRET]) == WHAT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"http://:{SECRET}@m.example.com", "no https address"),
        (f"https://:{SECRET}@", "no https address"),
        ("https://:short@m.example.com", "shorter than 16"),
        ("https://m.example.com", "shorter than 16"),
    ],
)
def test_L22_a_link_that_could_be_read_or_guessed_is_refused_without_the_secret_in_the_words(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        links(text)
    assert "short@" not in str(caught.value)


def test_L22_the_secret_does_not_show():
    assert SECRET not in repr(Links("https://m.example.com", (SECRET,)))
