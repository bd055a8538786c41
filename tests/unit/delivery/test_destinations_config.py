import pytest

from factories import exports, published
from perennial.core.errors import ConfigError
from perennial.delivery.destinations import check, load_destinations, open_routes
from perennial.pipeline import export


def put(tmp_path, text, *cards):
    settings = exports.settings_with(tmp_path, *cards)
    (settings.config_dir / "destinations.yml").write_text(text)
    return settings


GOOD = """version: 1
destinations:
  outbox:
    kind: outbox
    channels: [email, sms]
    delimiter: ";"
    encoding: cp1251
"""


def test_each_channel_has_its_destination(tmp_path):
    settings = put(tmp_path, GOOD)
    routes = open_routes(settings)
    assert [routes.of("news", channel) is None for channel in ("email", "sms", "call")] == [False, False, True]
    assert routes.of("news", "email").describe().target == str(settings.outbox)


@pytest.mark.parametrize(
    ("line", "written", "told"),
    [
        ("    kind: outbox\n", "    kind: pigeon\n", "destinations.yml:4:destinations.outbox.kind"),
        ("    delimiter", "    delimeter", "did you mean delimiter?"),
        ('";"', '"\\""', "destinations.yml:6:destinations.outbox.delimiter: this cannot separate cells"),
        ('";"', '"\\n"', "this cannot separate cells"),
        ("cp1251", "klingon", "destinations.yml:7:destinations.outbox.encoding: no encoding is called 'klingon'"),
        ("cp1251", "base64", "no encoding is called 'base64'"),
        ("[email, sms]", "[email, telegram]", "destinations.yml:5:destinations.outbox.channels.1"),
        ("[email, sms]", "[email, email]", "'email' goes to 'outbox' already"),
        ("    encoding: cp1251", "    formats: []", "no format is named"),
    ],
)
def test_L23_a_mistake_is_told_with_file_line_field_and_fix(tmp_path, line, written, told):
    with pytest.raises(ConfigError) as error:
        load_destinations(put(tmp_path, GOOD.replace(line, written)))
    assert told in str(error.value)
    assert all(problem.fix for problem in error.value.problems)


def test_two_destinations_may_not_share_a_channel(tmp_path):
    second = "  second:\n    kind: outbox\n    channels: [sms, call]\n"
    with pytest.raises(ConfigError, match=r"destinations\.yml:10:destinations\.second\.channels\.0"):
        load_destinations(put(tmp_path, GOOD + second))


def test_check_tells_a_card_whose_channel_nobody_takes(tmp_path):
    cards = [published.card("news"), published.card("calls", channels=["email", "call"])]
    steps = {step.name: step for _, step in export.check(put(tmp_path, GOOD, *cards))}
    assert {name: step.state for name, step in steps.items()} == {
        "file": "passed",
        "folder": "passed",
        "encoding": "passed",
        "formats": "passed",
        "channels of news": "passed",
        "channels of calls": "failed",
    }
    assert steps["channels of calls"].message == "no destination takes call"


def test_check_tells_a_broken_file_instead_of_raising(tmp_path):
    found = list(check(put(tmp_path, GOOD.replace("kind", "kin")), []))
    assert {(about, step.name, step.state) for about, step in found} == {("destinations", "file", "failed")}
    assert "did you mean kind? (there is 'kin')" in [step.fix for _, step in found]
