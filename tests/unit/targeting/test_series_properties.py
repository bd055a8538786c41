"""What must hold of series for any steps, clients, failures of tools, exits and rules (hypothesis, day after day)."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.published import AS_OF, card, client
from factories.walked import Walk

TIMES = int(os.environ.get("PERENNIAL_EXAMPLES_TIMES", "1"))
_DAYS = 7
_CLIENTS = ("a", "b", "c", "d")

steps_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "after_days": st.integers(1, 2),
            "when": st.sampled_from([None, None, "recency_days >= 2", "churn_risk > 0.4"]),
        }
    ),
    min_size=1,
    max_size=3,
).map(
    lambda drawn: [
        {"id": f"s{place}", "message": "m", "when": step["when"], "after_days": step["after_days"] if place else 0}
        for place, step in enumerate(drawn)
    ]
)
cards_strategy = st.fixed_dictionaries(
    {
        "control_share": st.sampled_from([0.0, 0.4]),
        "re_entry_days": st.sampled_from([None, None, 2]),
        "audience": st.sampled_from(["true", "recency_days < 3"]),
        "exit_when": st.sampled_from([None, "orders_90d > 6"]),
        "lapse_days": st.sampled_from([1, 60]),
    }
)
states_strategy = st.fixed_dictionaries(
    {
        "recency_days": st.sampled_from([0, 1, 5]),
        "orders_90d": st.sampled_from([1, 1, 1, 9]),
        "churn_risk": st.sampled_from([0.3, 0.9]),
    }
)
# By day and client: her state, and whether the tool takes what is sent to her.
weather_strategy = st.lists(
    st.lists(
        st.tuples(states_strategy, st.sampled_from([True, True, True, False])),
        min_size=len(_CLIENTS),
        max_size=len(_CLIENTS),
    ),
    min_size=_DAYS,
    max_size=_DAYS,
)


def walked(steps: list[dict[str, Any]], values: dict[str, Any], weather: list[list[Any]], **more: Any) -> Walk:
    own = {name: values[name] for name in ("exit_when", "lapse_days") if values[name] is not None}
    plain = {name: value for name, value in values.items() if name not in ("exit_when", "lapse_days")}
    made = card("c", series={"steps": steps, **own}, **{**plain, **more})
    walk = Walk([], [made], policy={"caps": [{"contacts": 1, "days": 1}], "minimum_expected_value": -9})
    for states in weather:
        walk.clients = [client(name, **state) for name, (state, _) in zip(_CLIENTS, states, strict=True)]
        takes = {name: taken for name, (_, taken) in zip(_CLIENTS, states, strict=True)}
        walk.accepts = lambda row, takes=takes: takes[row["client_id"]]
        walk.day()
    return walk


def ways(walk: Walk) -> dict[str, list[tuple[Any, str, str]]]:
    """By client: (day, step taken or rule that refused, step) in the order of the days."""
    sent = {(who, on) for _, who, _, on in walk.sent}
    found = defaultdict(list)
    for row in walk.rows:
        who, on = row["client_id"], row["as_of_date"]
        is_taken = row["outcome"] == "control" or (row["outcome"] == "target" and (who, on) in sent)
        found[who].append((on, "taken" if is_taken else row["rule"], row["series_step"]))
    return found


def each_pass_is_in_order(way: list[tuple[Any, str, str]], steps: list[dict[str, Any]], re_entry: int | None) -> None:
    """No step twice, none skipped, none too early, none after an end, and no new pass before its time."""
    names = [step["id"] for step in steps]
    place, last, over = 0, None, None
    for on, what, step in way:
        assert names.index(step) == place
        if what == "taken":
            if place:
                assert over is None
                assert (on - last).days >= steps[place]["after_days"]
            elif over is not None:
                assert re_entry is not None
                assert (on - over).days >= re_entry
            place, last, over = place + 1, on, None
            if place == len(names):
                place, over = 0, on
        elif place and what in ("series_exited", "series_lapsed"):
            place, over = 0, on


@settings(
    max_examples=4 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(steps_strategy, cards_strategy, weather_strategy)
def test_no_step_comes_twice_or_early_or_after_an_exit_and_none_is_skipped(steps, values, weather):
    walk = walked(steps, values, weather)
    for way in ways(walk).values():
        each_pass_is_in_order(way, steps, values["re_entry_days"])
    keys = [(row["client_id"], row["as_of_date"]) for row in walk.rows]
    assert len(keys) == len(set(keys))
    day = weather[len(weather) // 2]
    walk.as_of = AS_OF + timedelta(days=len(weather) // 2)
    walk.clients = [client(name, **state) for name, (state, _) in zip(_CLIENTS, day, strict=True)]
    assert walk.decide().rows == [row for row in walk.rows if row["as_of_date"] == walk.as_of]


@settings(
    max_examples=2 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(steps_strategy, cards_strategy, weather_strategy)
def test_a_control_group_walks_as_targets_do_whose_tools_take_everything(steps, values, weather):
    calm = [[(state, True) for state, _ in states] for states in weather]
    assert ways(walked(steps, values, calm, control_share=1.0)) == ways(walked(steps, values, calm, control_share=0.0))
