"""The pages in Airflow's own app: who may see them, what they show, and what they never give away."""

from __future__ import annotations

import json
import os
import re
import warnings
from datetime import date

import pytest

from factories.event_shop import hook_environment, order, signed, write_config
from factories.tiny_warehouse import day_run
from perennial.core.settings import load_settings
from perennial.ledger.cards import StoredCard, record_card, record_decision
from perennial.ledger.checks import ScoreCheck, record_check
from perennial.ledger.engine import open_ledger
from perennial.pipeline.build_reports import report_built, report_failed
from perennial.pipeline.dbt_failures import Failure

pytestmark = pytest.mark.integration

MODEL = "churn_risk-2017-10-01-0123abcd"
PAGES = [
    "/",
    "/batches",
    "/quarantine",
    "/sources",
    "/data-docs",
    "/builds",
    "/builds/2017-10-02.r1",
    "/models",
    f"/models/{MODEL}",
    "/lists",
    "/lists/why",
    "/lists/news/email",
    "/dbt-docs",
    "/dbt-docs/",
    "/style.css",
    "/batches/nothing",
    "/data-docs/x/index.html",
]
USERS = {"admin": "admin-password", "ana": "ana-password"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home in which a good batch, one with bad rows and a refused file were ingested."""
    from perennial.pipeline.ingest import ingest

    folder = tmp_path_factory.mktemp("pages")
    config = write_config(folder / "config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(folder / "home"))
        patch.setenv("PERENNIAL_CONFIG", str(config))
        for name, value in hook_environment().items():
            patch.setenv(name, value)
        link = {"conn_type": "http", "host": "https://shop.example/perennial", "password": "x" * 32}
        patch.setenv("AIRFLOW_CONN_PERENNIAL_UNSUBSCRIBE", json.dumps(link))
        settings = load_settings()
        _land(settings, "web/orders_1.jsonl", [order(number) for number in range(40)])
        ingest(settings)
        bad = [{**order(number), "quantity": "<script>alert(1)</script>"} for number in range(100, 102)]
        _land(settings, "web/orders_2.jsonl", [*(order(number) for number in range(40, 100)), *bad])
        _land(settings, "web/stray <b>.txt", [{}])
        ingest(settings)
        _leave_builds(settings)
        _leave_model(settings)
        yield settings


def _leave_builds(settings):
    """The reports of a build that passed and of one that did not, and the page that dbt made."""
    told = {"mode": "full", "project": "abc", "tests": {"passed": 7, "warned": 1}, "rows": {"kpi_daily": 3}}
    report_built(settings, day_run(date(2017, 10, 1)), {**told, "seconds": {"kpi_daily": 0.5}, "warnings": ["late: 3"]})
    failure = Failure(
        name="assert_orders_add_up",
        kind="test",
        where="dbt_project/tests/assert_orders_add_up.sql",
        message="Got 2 results, configured to fail if != 0",
        compiled="dbt/latest/target/assert_orders_add_up.sql",
        sql="select order_key from fct_orders where amount <> lines",
        rows=({"order_key": "<script>alert(2)</script>", "amount": "7.0000"},),
    )
    report_failed(settings, day_run(date(2017, 10, 2)), [failure])
    page = settings.home / "dbt/docs/abc.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html><title>dbt Docs</title><script>document.title</script></html>")


def _leave_model(settings):
    """A model that was retired with a hostile note, and the check that had stopped it."""
    engine = open_ledger(settings)
    figures = {"model": {"auc": 0.8776}, "champion": {"auc": 0.86}, "recency": {"auc": 0.8098}}
    card = {
        "horizon_days": 28,
        "population": "clients with an order",
        "data_needs": "orders of at least 84 days",
        "cuts": {"final": ["2017-08-06"], "development": ["2017-07-09"], "test": "2017-09-03"},
        "rows": {"2017-09-03": 2433},
        "selection": {"merit": "auc", "by": "validation cut 2017-08-06"},
        "chosen": "linear",
        "figures_at_test": figures,
        "calibration": {
            "slope": 0.9,
            "held_at_test": {"by_tenths": [{"clients": 243, "predicted": 0.5, "observed": 0.4}]},
        },
        "importance": {"recency_days": 0.4},
        "bins": {"recency_days": {"low": 0.0, "high": 192.0}},
        "features": [{"name": "recency_days", "kind": "number"}],
        "versions": {"scikit-learn": "1.9.1"},
        "seed": 1,
        "verdict": {"status": "champion", "reason": None},
    }
    day = date(2017, 10, 1)
    record_card(engine, StoredCard(MODEL, "churn_risk", day, "champion", "models/x.skops", card))
    said = ("recency_days has drifted: PSI 2.31, 2 stops",)
    psi = {"features": {"recency_days": {"psi": 2.31}}}
    record_check(engine, ScoreCheck(day, "churn_risk", MODEL, "stopped", said, psi))
    record_decision(engine, MODEL, "retired", reason="<script>alert(3)</script>", by="ana")


def _land(settings, name, rows):
    path = settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(path, (1_500_000_000, 1_500_000_000))


@pytest.fixture(scope="module")
def airflow(home, airflow_db, tmp_path_factory):
    """A client of Airflow's app with our plugin, as the API server makes it."""
    passwords = tmp_path_factory.mktemp("passwords") / "passwords.json"
    passwords.write_text(json.dumps(USERS))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,ana:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of the tests, long enough for sha-512 " * 2)
        from airflow.api_fastapi.app import create_app
        from starlette.testclient import TestClient

        with TestClient(create_app(), base_url="http://127.0.0.1:8080", follow_redirects=False) as client:
            yield client


@pytest.fixture(scope="module")
def signed_in(airflow):
    """The header of a viewer who has signed in."""
    answer = airflow.post("/auth/token", json={"username": "ana", "password": USERS["ana"]})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _page(airflow, signed_in, path):
    answer = airflow.get(f"/perennial{path}", headers=signed_in)
    assert answer.status_code == 200
    assert "<strong>Perennial</strong>" in answer.text, (
        "Airflow answers 200 with its own page where a plugin is missing"
    )
    return answer.text


def _shown(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("path", PAGES)
def test_L22_a_stranger_sees_nothing_and_learns_nothing(airflow, path):
    for headers in ({}, {"Authorization": "Bearer not.a.token"}, {"Cookie": "_token=nonsense"}):
        answer = airflow.get(f"/perennial{path}", headers=headers)
        assert answer.status_code in {401, 403}, f"{path} is shown to strangers"
        assert "web.orders" not in answer.text


def test_a_stranger_with_a_browser_is_led_to_sign_in_and_back(airflow):
    answer = airflow.get("/perennial/quarantine", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/auth/login?next=")
    assert "perennial%2Fquarantine" in answer.headers["location"]


@pytest.mark.parametrize("path", ["/", "/quarantine", "/sources", "/builds", "/data-docs"])
def test_a_token_and_the_browsers_cookie_are_let_in(airflow, signed_in, path):
    _page(airflow, signed_in, path)
    token = signed_in["Authorization"].removeprefix("Bearer ")
    assert "<strong>Perennial</strong>" in airflow.get(f"/perennial{path}", headers={"Cookie": f"_token={token}"}).text


@pytest.mark.parametrize(
    "path", ["/", "/quarantine", "/sources", "/builds/2017-10-02.r1", "/data-docs", "/batches/nothing", "/?state=x"]
)
def test_every_page_forbids_scripts_other_sites_and_foreign_frames(airflow, signed_in, path):
    headers = airflow.get(f"/perennial{path}", headers=signed_in).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_no_page_has_a_script_or_an_asset_from_elsewhere(airflow, signed_in):
    for path in (
        "/",
        "/quarantine",
        "/sources",
        "/builds",
        "/builds/2017-10-02.r1",
        "/models",
        f"/models/{MODEL}",
        "/data-docs",
    ):
        text = _page(airflow, signed_in, path)
        assert "<script" not in text
        assert not re.search(r"(src|href)=\"(https?:)?//", text)
        assert "style=" not in text


def test_batches_are_shown_newest_first_with_their_fate_and_a_link_to_each(airflow, signed_in):
    text = _page(airflow, signed_in, "/")
    shown = _shown(text)
    assert shown.index("62 60 2 0") < shown.index("40 40 0 0"), "landed, loaded, quarantined, duplicate"
    assert "stray &lt;b&gt;.txt" in text
    links = re.findall(r"href=\"/perennial(/batches/[0-9a-f]+)\"", text)
    assert len(links) == 3
    one = _shown(_page(airflow, signed_in, links[0])) + _shown(_page(airflow, signed_in, links[1]))
    assert "62 landed = 60 loaded + 2 quarantined + 0 duplicate" in one
    assert "web/orders_2.jsonl" in one


def test_batches_can_be_narrowed_to_a_source_and_a_fate(airflow, signed_in):
    assert len(re.findall(r"href=\"/perennial/batches/", _page(airflow, signed_in, "/?source=web&state=refused"))) == 1
    assert "No batch fits" in _page(airflow, signed_in, "/?source=nobody")
    assert airflow.get("/perennial/?state=anything", headers=signed_in).status_code == 422
    assert airflow.get("/perennial/?before=x", headers=signed_in).status_code == 422


def test_quarantine_shows_rules_age_rows_and_first_reasons(airflow, signed_in):
    text = _page(airflow, signed_in, "/quarantine")
    shown = _shown(text)
    assert "2 rows wait" in shown
    assert re.search(r"hours .*type:quantity", shown), shown
    assert "web/orders_2.jsonl:61" in shown
    assert "<script>alert" not in text


def test_what_a_file_holds_is_text_and_never_markup(airflow, signed_in):
    for path in ("/", "/quarantine", "/sources"):
        assert "<script>alert" not in _page(airflow, signed_in, path)
        assert "<b>" not in _page(airflow, signed_in, path)


def test_sources_tell_what_waits_what_is_gathered_and_when_it_came_last(airflow, signed_in, home):
    body, headers = signed(order(7))
    assert airflow.post("/perennial/hooks/web/orders", content=body, headers=headers).status_code == 202
    _land(home, "web/complaints_9.jsonl", [{}])
    shown = _shown(_page(airflow, signed_in, "/sources"))
    assert re.search(r"orders \(order_lines\) web/orders_\*\.jsonl 0 0 [1-9]\d+ bytes", shown), shown
    assert re.search(r"complaints \(interactions\) web/complaints_\*\.jsonl 1 0 0 never no limit", shown), shown
    assert "webhook" in shown


def test_data_docs_are_linked_from_the_batch_and_served(airflow, signed_in):
    listed = re.findall(r"href=\"(/perennial/data-docs/[^\"]+\.html)\"", _page(airflow, signed_in, "/data-docs"))
    assert listed
    batch = next(
        link
        for link in re.findall(
            r"href=\"/perennial(/batches/[0-9a-f]+)\"", _page(airflow, signed_in, "/?state=committed")
        )
    )
    (linked, *_more) = re.findall(r"href=\"(/perennial/data-docs/[^\"]+\.html)\"", _page(airflow, signed_in, batch))
    answer = airflow.get(linked, headers=signed_in)
    assert answer.status_code == 200
    assert "web.orders" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert airflow.get(linked).status_code == 401


def test_builds_are_listed_with_what_failed_one_link_away(airflow, signed_in):
    text = _page(airflow, signed_in, "/builds")
    assert re.search(r"2017-10-01\.r1 2017-10-01 built full 7 1 0", _shown(text)), _shown(text)
    links = re.findall(r"href=\"/perennial(/builds/[^\"]+)\"", text)
    assert set(links) == {"/builds/2017-10-01.r1", "/builds/2017-10-02.r1"}
    shown = _shown(_page(airflow, signed_in, "/builds/2017-10-01.r1"))
    assert "kpi_daily 0.500 3" in shown
    assert "late: 3" in shown


def test_a_failed_test_is_shown_with_its_sql_and_failing_rows_as_text(airflow, signed_in):
    text = _page(airflow, signed_in, "/builds/2017-10-02.r1")
    assert "<pre>select order_key from fct_orders where amount &lt;&gt; lines</pre>" in text
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in text
    assert "assert_orders_add_up test failed" in _shown(text)


def test_a_model_is_shown_with_figures_beside_champion_and_baselines_calibration_and_drift(airflow, signed_in):
    text = _page(airflow, signed_in, "/models")
    assert f'href="/perennial/models/{MODEL}"' in text
    assert "retired stopped 2017-10-01 auc 0.878 at 2017-09-03; best baseline recency 0.810; champion 0.860" in _shown(
        text
    )
    page = _page(airflow, signed_in, f"/models/{MODEL}")
    shown = _shown(page)
    assert "model 0.8776 champion 0.86 recency 0.8098" in shown
    for part in ("orders of at least 84 days", "243 0.5 0.4", "recency_days 0.4 0 192", "recency_days 2.31", "2 stops"):
        assert part in shown
    assert "retired by ana: &lt;script&gt;alert(3)" in page


@pytest.mark.parametrize("version", ["churn_risk", "..%2f..%2fledger", "x" * 3_000])
def test_L23_a_model_that_is_none_is_not_found(airflow, signed_in, version):
    assert airflow.get(f"/perennial/models/{version}", headers=signed_in).status_code == 404


@pytest.mark.parametrize("run", ["2017-10-03.r1", "..%2f..%2fledger", "%2e%2e", "2017-10-02.r1%00", "x" * 3_000])
def test_L23_a_build_that_is_none_is_not_found(airflow, signed_in, run):
    assert airflow.get(f"/perennial/builds/{run}", headers=signed_in).status_code == 404


def test_L22_dbt_docs_are_for_those_signed_in_and_their_scripts_run_without_our_origin(airflow, signed_in, home):
    answer = airflow.get("/perennial/dbt-docs/", headers=signed_in)
    assert "<title>dbt Docs</title>" in answer.text
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[:2] == ["sandbox allow-scripts", "default-src 'none'"]  # no allow-same-origin: no cookie of ours
    assert not [rule for rule in policy if rule.startswith("connect-src") or "http" in rule]
    assert airflow.get("/perennial/dbt-docs/").status_code == 401
    (home.home / "dbt/docs/abc.html").rename(home.home / "dbt/docs/abc.gone")
    assert "made after the first publication" in _page(airflow, signed_in, "/dbt-docs/")
    (home.home / "dbt/docs/abc.gone").rename(home.home / "dbt/docs/abc.html")


ESCAPES = [
    "%2e%2e/ledger.db",
    "..%2fledger.db",
    "%2e%2e%2f%2e%2e%2fconfig/perennial.yml",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "x%00.html",
    ".building-1/index.html",
    "link/secret.html",
    "a" * 5_000 + ".html",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_L23_nothing_but_data_docs_is_served_from_below_data_docs(airflow, signed_in, home, path):
    (home.data_docs / ".building-1").mkdir(exist_ok=True)
    (home.data_docs / ".building-1/index.html").write_text("half a site")
    outside = home.home / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret.html").write_text("secret")
    if not (home.data_docs / "link").is_symlink():
        (home.data_docs / "link").symlink_to(outside)
    answer = airflow.get(f"/perennial/data-docs/{path}", headers=signed_in)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert "assignment_salt" not in answer.text


def test_webhooks_have_no_use_for_airflows_sign_in(airflow, signed_in):
    answer = airflow.post("/perennial/hooks/web/orders", json=order(1), headers=signed_in)
    assert answer.status_code == 401
    assert "signature" in answer.json()["detail"]
    body, headers = signed(order(1))
    assert airflow.post("/perennial/hooks/web/orders", content=body, headers=headers).status_code == 202
    assert airflow.post("/perennial/hooks/nobody/orders", content=body, headers=headers).status_code == 404


def test_no_description_of_the_interface_is_public(airflow, signed_in):
    for path in ("/docs", "/redoc", "/openapi.json", "/hooks/docs", "/hooks/openapi.json"):
        for headers in ({}, signed_in):
            assert airflow.get(f"/perennial{path}", headers=headers).status_code in {401, 404, 405}


def test_a_config_that_cannot_be_read_is_told_on_the_page(airflow, signed_in, home):
    config = home.config_dir / "sources.yml"
    text = config.read_text()
    config.write_text(text.replace("owner:", "ovner:", 1))
    answer = airflow.get("/perennial/sources", headers=signed_in)
    config.write_text(text)
    assert answer.status_code == 500
    assert "ovner" in answer.text
    assert "<strong>Perennial</strong>" in answer.text


def test_the_file_that_the_plugin_manager_executes_is_short_and_imports_nothing_of_ours_when_it_is_read():
    import ast

    from perennial.core.settings import REPOSITORY

    text = (REPOSITORY / "plugins/perennial_plugin.py").read_text()
    assert len(text.splitlines()) <= 40
    imported = [node.module for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    assert imported == ["__future__", "typing", "airflow.plugins_manager"]


def test_airflows_menu_has_the_pages(airflow, signed_in):
    answer = airflow.get("/api/v2/plugins", headers={"Authorization": _admin(airflow)})
    (plugin,) = [one for one in answer.json()["plugins"] if one["name"] == "perennial"]
    views = [(view["name"], view["href"], view["destination"]) for view in plugin["external_views"]]
    assert views == [("Perennial", "/perennial/", "nav"), ("dbt docs", "/perennial/dbt-docs/", "nav")]
    (app,) = plugin["fastapi_apps"]
    assert app["url_prefix"] == "/perennial"


def _admin(airflow):
    answer = airflow.post("/auth/token", json={"username": "admin", "password": USERS["admin"]})
    return f"Bearer {answer.json()['access_token']}"


def test_L22_an_answer_for_a_list_needs_a_role_and_our_own_form(airflow, signed_in):
    said = {"as_of": "2017-10-01", "answer": "approved", "at_most": 1, "reason": "because", "token": "0" * 64}
    assert airflow.post("/perennial/lists/news/email", data=said).status_code == 401
    assert airflow.post("/perennial/lists/news/email", data=said, headers=signed_in).status_code == 403
    admin = airflow.post("/auth/token", json={"username": "admin", "password": USERS["admin"]}).json()["access_token"]
    headers = {"Authorization": f"Bearer {admin}"}
    assert airflow.post("/perennial/lists/news/email", data=said, headers=headers).status_code == 403
    assert "No day has been planned yet" in airflow.get("/perennial/lists", headers=headers).text


def test_L9_an_unsubscribe_link_needs_no_sign_in_and_a_webhook_has_its_own(airflow):
    for answer in (airflow.get("/perennial/unsubscribe/a.b"), airflow.post("/perennial/unsubscribe/a.b")):
        assert (answer.status_code, "This link is not known" in answer.text) == (404, True)
    assert "color-scheme" in airflow.get("/perennial/unsubscribe/style.css").text
    assert airflow.get("/perennial/feedback/nobody").status_code == 200
    assert airflow.post("/perennial/feedback/nobody", json={}).status_code == 503  # the shop has no destinations.yml
