"""Facts about a client as short sentences with numbers, each from the features alone."""

from __future__ import annotations

import re

import numpy as np

from perennial.scoring.features import HISTORY, Matrix, month_window, quarter_window, window_days

_ALMOST = 1.1  # ratios below this are "as often as"


class Facts:
    """The features of a chunk of clients, the median client they are compared with, and the currency of amounts."""

    def __init__(self, X: Matrix, names: tuple[str, ...], reference: dict[str, float], currency: str) -> None:
        self.columns = {name: X[:, i] for i, name in enumerate((*names, HISTORY))}
        self.names = names
        self.reference = reference
        self.currency = currency

    def silence(self, i: int) -> str:
        """How long ago the last purchase was, beside the client's own usual gap."""
        recency = self.columns["recency_days"][i]
        gap = self.columns.get("gap_days_median", np.full(i + 1, np.nan))[i]
        usual = f"; usually every {_count(gap)}" if gap >= 1 else ""
        if recency < 1:
            return f"bought today{usual}"
        if gap >= 1 and recency <= gap:
            return f"last purchase {_days(recency)} ago{usual}"
        return f"no purchase for {_days(recency)}{usual}"

    def pace(self, i: int) -> str:
        """Orders of the last weeks against the rest of the quarter, per day."""
        month, quarter = str(month_window(self.names, "orders")), str(quarter_window(self.names, "orders"))
        days, whole = window_days(month) or 0, min(float(window_days(quarter) or 0), self.columns[HISTORY][i])
        recent, before = self.columns[month][i], self.columns[quarter][i] - self.columns[month][i]
        rest = whole - days
        if rest < 1 or (recent <= 0 and before <= 0):
            return f"no order in the last {int(whole)} days"
        if before <= 0 or recent <= 0:
            none, some = ("last", "before") if recent <= 0 else ("before", "last")
            spans = {"last": f"in the last {days} days", "before": f"in the {int(rest)} days before"}
            return f"no order {spans[none]}, {_count(max(recent, before))} {spans[some]}"
        ratio = (recent / days) / (before / rest)
        more = ratio > 1
        times = max(ratio, 1 / ratio)
        if times < _ALMOST:
            return f"orders in the last {days} days as often as in the {int(rest)} days before"
        return (
            f"orders in the last {days} days {times:.1f} times {'more' if more else 'less'} often "
            f"than in the {int(rest)} days before"
        )

    def frequency(self, i: int) -> str:
        """Orders of a quarter, or of all time, beside the median client's."""
        name = self._telling("orders", i)
        if name is None:
            return self.about(next(n for n in self.names if n.startswith(("order", "gap"))), i)
        value = self.columns[name][i]
        noun = "order" if value == 1 else "orders"
        return f"{_count(value)} {noun}{self._span(name, i)}; a typical client {_count(self.reference[name])}"

    def spend(self, i: int) -> str:
        """Revenue of a quarter, or of all time, beside the median client's."""
        name = self._telling("revenue", i)
        if name is None:
            return self.about(next(n for n in self.names if n.startswith(("average", "units", "lines"))), i)
        value, typical = self.columns[name][i], self.reference[name]
        return f"spent {value:,.2f} {self.currency}{self._span(name, i)}; a typical client {typical:,.2f}"

    def tenure(self, i: int) -> str:
        """How long she has been a client."""
        name = "tenure_days" if "tenure_days" in self.names else "days_since_first_order"
        return f"client for {_days(self.columns[name][i])}; a typical client for {_days(self.reference[name])}"

    def about(self, name: str, i: int) -> str:
        """Any other feature, by its name."""
        days = window_days(name)
        label = re.sub(r"_\d+d$", "", name).replace("_", " ")
        span = f" in {days} days" if days else ""
        value = self.columns[name][i]
        if np.isnan(value):
            return f"{label}{span} not known"
        shown = _percent if "share" in name else _number
        return f"{label}{span} {shown(value)}; a typical client {shown(self.reference[name])}"

    def _telling(self, measure: str, i: int) -> str | None:
        """The quarter, or the longest window where the client differs more from the median client there."""
        names = [quarter_window(self.names, measure), f"{measure}_365d", f"{measure}_total"]
        known = [name for name in names if name and name in self.names]
        ratios = {name: (self.columns[name][i] + 1) / (abs(self.reference[name]) + 1) for name in known}
        quarter = next(iter(known), None)
        if quarter is None or not 1 / _ALMOST < ratios[quarter] < _ALMOST:
            return quarter
        return max(known, key=lambda name: max(ratios[name], 1 / max(ratios[name], 1e-9)))

    def _span(self, name: str, i: int) -> str:
        days = window_days(name)
        held = self.columns[HISTORY][i] if days is None else min(float(days), self.columns[HISTORY][i])
        return f" in {int(held)} days"


def _count(value: float) -> str:
    return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"  # noqa: PLR2004


def _days(value: float) -> str:
    return "1 day" if round(value) == 1 else f"{value:.0f} days"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.2f}"  # noqa: PLR2004


def _percent(value: float) -> str:
    return f"{value:.0%}"
