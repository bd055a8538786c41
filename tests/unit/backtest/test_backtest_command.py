"""`perennial backtest` from end to end: labelled data in the default suite, transactions in the slow one."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from factories.backtest_data import purchases
from perennial.cli import main
from perennial.core.settings import REPOSITORY


@pytest.fixture
def backtest(bench, capsys):
    def run(*options, **values):
        path = bench.yaml(**values)
        code = main(["backtest", str(path), "--data", str(bench.folder), "--out", str(bench.folder / "out"), *options])
        said = capsys.readouterr()
        report = bench.folder / "out" / "report.json"
        return code, said.out, said.err, json.loads(report.read_text()) if report.exists() else None

    return run


def _figures(report, task):
    rows = next(part["rows"] for part in report["tasks"] if part["task"] == task)
    return [(row["cut"], row["rule"], row["n"], row["figures"]) for row in rows]


def test_labelled_data_with_costs_per_client(bench, backtest):
    random = np.random.default_rng(1)
    rows = [(i, f"{random.normal():.3f}", 5 + i % 9) for i in range(400)]
    rows = [(i, x, int(random.random() < 1 / (1 + np.exp(-2 * float(x)))), cost) for i, x, cost in rows]
    bench.file("a.csv", rows, header=("nr", "x", "churn", "cost"))
    columns = {"client": "nr", "label": "churn", "cost_fn": 60, "cost_tp": "cost", "cost_fp": "cost"}
    code, out, _, report = backtest(kind="labelled", file="a.csv", columns=columns)
    assert code == 0
    assert "savings_to_everybody" in out
    model = next(figures for _, rule, _, figures in _figures(report, "churn") if rule == "model")
    assert model["auc"] > 0.75
    assert model["savings_to_nobody"] > 0.2
    assert model["empc"] > 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--task", "chrun"], 2, "did you mean churn?"),
        (["--task", "response"], 2, "response cannot be judged"),
        (["--data", "/nowhere/at/all"], 2, "there is no folder"),
    ],
)
def test_a_wrong_command_is_told_without_a_trace(bench, backtest, options, code, words):
    bench.file("a.csv", [("a", "2020-01-01", "x", "1")])
    found, _, err, _ = backtest(*options, file="a.csv")
    assert found == code
    assert words in err
    assert "Traceback" not in err


def test_keep_never_clears_a_folder_of_others(bench, backtest, tmp_path):
    bench.file("a.csv", purchases(5))
    other = tmp_path / "mine"
    other.mkdir()
    (other / "diary.txt").write_text("dear diary")
    code, _, err, _ = backtest("--keep", str(other), file="a.csv")
    assert code == 4
    assert "holds something else" in err
    assert (other / "diary.txt").read_text() == "dear diary"


def test_the_schema_is_printed_and_help_imports_nothing_slow():
    script = (
        "import sys; sys.path.insert(0, {!r}); from perennial.cli import main\n"
        "try: main(['backtest', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {{'sklearn', 'duckdb', 'pydantic', 'pandas', 'numpy'}} & set(sys.modules)\n"
        "assert main(['backtest', '--schema']) == 0"
    ).format(str(REPOSITORY / "plugins"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert '"drop_exact_duplicates"' in done.stdout


@pytest.mark.slow
def test_L3_transactions_of_the_future_change_nothing_and_a_kept_home_gives_the_same(bench, backtest, tmp_path):
    rows = purchases()
    cut = {"cuts": ["2020-08-01"], "horizons": 28, "tasks": ["churn", "value"], "file": "a.csv"}
    bench.file("a.csv", [row for row in rows if row[1] < "2020-08-29"])
    kept = ("--keep", str(tmp_path / "kept"))
    code, _, err, first = backtest(*kept, **cut)
    assert (code, err) == (0, "")
    assert _figures(backtest(*kept, **cut)[3], "churn") == _figures(first, "churn")
    bench.file("a.csv", rows)
    *_, second = backtest(*kept, **cut)
    assert second["counts"]["lines"] > first["counts"]["lines"]
    for task in ("churn", "value"):
        assert len(_figures(first, task)) > 2
        assert _figures(first, task) == _figures(second, task)


@pytest.mark.slow
def test_a_shop_of_twenty_days_and_three_clients_is_a_stated_refusal(bench, backtest):
    bench.file("a.csv", [(f"c{i % 3}", f"2020-01-{1 + i:02}", "x", "3.5") for i in range(20)])
    code, out, err, report = backtest(file="a.csv")
    assert code == 1
    assert "refused" in out
    assert "Traceback" not in err
    assert all(not task["rows"] for task in report["tasks"])
