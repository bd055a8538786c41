from __future__ import annotations

import logging

from factories.tiny_warehouse import day_run, tiny_settings
from perennial.orchestration.build_links import log_failures
from perennial.pipeline.build_reports import report_failed
from perennial.pipeline.dbt_failures import Failure


def failure(name):
    return Failure(name, "test", f"{name}.sql", "Got 1 result", f"{name}.sql", f"select 1 -- {name}", ({"order": "7"},))


def test_the_tasks_log_has_the_sql_and_the_failing_rows_of_what_failed_now_and_a_link(tmp_path, caplog):
    settings = tiny_settings(tmp_path)
    report_failed(settings, day_run(), [failure("orders_add_up"), failure("failed_in_an_earlier_try")])
    with caplog.at_level(logging.ERROR, logger="perennial"):
        log_failures(settings, day_run().run_id, "tests/x.sql: orders_add_up: Got 1 result")
    assert "test orders_add_up failed: Got 1 result" in caplog.text
    assert "failing row: order=7" in caplog.text
    assert "select 1 -- orders_add_up" in caplog.text
    assert "/perennial/builds/2017-10-01.r1" in caplog.text
    assert "earlier_try" not in caplog.text


def test_a_build_that_left_no_report_adds_nothing_to_the_log(tmp_path, caplog):
    log_failures(tiny_settings(tmp_path), day_run().run_id, "the disk is full")
    assert caplog.text == ""
