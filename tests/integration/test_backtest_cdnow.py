"""`perennial backtest` on the CDNOW sample: the published figures, through the product's whole chain."""

from __future__ import annotations

import json

import pytest

from perennial.core.settings import REPOSITORY
from perennial.pipeline.backtest import backtest
from reference import reference

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_L3_the_published_figures_come_out_of_client_features(tmp_path):
    data = reference("data/cdnow_sample/CDNOW_sample.txt.gz").parents[1]
    card = REPOSITORY / "config" / "backtests" / "cdnow_sample.yml"
    backtest(card, data=data, out=tmp_path / "out", tasks=["purchases"])
    (task,) = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]
    figures = {row["rule"]: row["figures"] for row in task["rows"]}
    bg, pareto = figures["BG/NBD x Gamma-Gamma"], figures["Pareto/NBD x Gamma-Gamma"]
    assert [bg["expected"], pareto["expected"]] == pytest.approx([1653.4, 1665.5], abs=0.05)
    assert [bg["correlation"], pareto["correlation"]] == pytest.approx([0.6256, 0.6302], abs=5e-5)
    assert [bg["curve_mape"], pareto["curve_mape"]] == pytest.approx([2.63, 1.31], abs=0.005)
    assert [bg["actual"], bg["spend_actual"]] == pytest.approx([1882, 70_976.39])
    assert bg["spend_expected"] == pytest.approx(59_932, abs=1)
    assert bg["spend_gini"] == pytest.approx(0.638, abs=0.0005)
    assert "cumulative repeat purchases" in (tmp_path / "out" / "report.html").read_text().lower()
