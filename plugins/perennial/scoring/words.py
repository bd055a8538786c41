"""Facts about a client as short sentences with numbers, each from the features alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from perennial.scoring.features import HISTORY, Matrix, month_window, quarter_window, window_days

_ALMOST = 1.1  # ratios below this are "as often as"
_MUCH = 1.5  # a pace that differs by less from the own year is not told
_SEVERAL = 4  # orders, below which a year has no pace
_MONTHS = 60  # days that still are "the last weeks"

Spoken = Mapping[str, Sequence[str | None]]  # by column (`features.SPOKEN`): a name per row


class Facts:
    """The features of a chunk of clients, the median client they are compared with, and the currency of amounts."""

    def __init__(
        self,
        X: Matrix,
        names: tuple[str, ...],
        reference: dict[str, float],
        currency: str,
        spoken: Spoken | None = None,
    ) -> None:
        self.spoken = spoken or {}
        self.columns = {name: X[:, i] for i, name in enumerate((*names, HISTORY))}
        self.names = names
        self.reference = reference
        self.currency = currency
        # What depends on names alone is looked up once, not per client.
        self._days = {name: window_days(name) for name in names}
        self._quarter = {measure: quarter_window(names, measure) for measure in ("orders", "revenue")}
        self._compared = {measure: self._comparable(measure) for measure in ("orders", "revenue")}
        self._month = str(month_window(names, "orders"))
        orders = [(n, days) for n, days in self._days.items() if days and re.fullmatch(r"orders_\d+d", n)]
        self._weeks = [(name, days) for name, days in orders if days < _MONTHS]

    def _comparable(self, measure: str) -> list[str]:
        names = (self._quarter[measure], f"{measure}_365d", f"{measure}_total")
        return [name for name in names if name and name in self.names]

    def silence(self, i: int) -> str:
        """How long ago the last purchase was, beside the client's own usual gap."""
        recency = self.columns["recency_days"][i]
        gap = self.columns["gap_days_median"][i] if "gap_days_median" in self.columns else np.nan
        usual = f"; usually every {_count(gap)}" if gap >= 1 else ""
        if recency < 1:
            return f"bought today{usual}"
        if gap >= 1 and recency <= gap:
            return f"last purchase {_days(recency)} ago{usual}"
        return f"no purchase for {_days(recency)}{usual}"

    def pace(self, i: int) -> str:
        """Orders of the last weeks against the rest of the quarter, per day, for the window that stands out most."""
        quarter = str(self._quarter["orders"])
        whole, all_orders = min(float(self._days[quarter] or 0), self.columns[HISTORY][i]), self.columns[quarter][i]
        if all_orders <= 0:
            return f"no order in the last {int(whole)} days"
        of_year = self.against_own_year(i)
        if of_year:
            return of_year
        month = self._standing_out(all_orders, whole, i)
        days, recent = self._days[month] or 0, self.columns[month][i]
        before, rest = all_orders - recent, whole - days
        if before <= 0 or recent <= 0 or rest < 1:
            return self._all_at_once(recent, before, days, int(rest))
        ratio = (recent / days) / (before / rest)
        times = max(ratio, 1 / ratio)
        if times < _ALMOST:
            return f"orders in the last {days} days as often as in the {int(rest)} days before"
        return (
            f"orders in the last {days} days {times:.1f} times {'more' if ratio > 1 else 'less'} often "
            f"than in the {int(rest)} days before"
        )

    def against_own_year(self, i: int) -> str | None:
        """Orders of the quarter against those of the year before it, per day; None where they are nearly as often."""
        quarter, year = str(self._quarter["orders"]), "orders_365d"
        if year not in self.columns or "tenure_days" not in self.columns:
            return None
        days = float(self._days[quarter] or 0)
        known = min(365.0, float(self.columns["tenure_days"][i])) - days
        recent, before = self.columns[quarter][i], self.columns[year][i] - self.columns[quarter][i]
        if known < days or min(recent, before) < 1 or recent + before < _SEVERAL:
            return None
        ratio = float((recent / days) / (before / known))
        times = max(ratio, 1 / ratio)
        if times < _MUCH:
            return None
        return f"orders {times:.1f} times {'more' if ratio > 1 else 'less'} often than in the client's own year before"

    def rhythm(self, i: int) -> str:
        """Order days since the first order, and how long ago the last was: what buy-till-you-die models know."""
        days = self.columns[next(n for n in ("order_days_total", "orders_total") if n in self.columns)][i]
        age = self.columns[next(n for n in ("days_since_first_order", "tenure_days") if n in self.columns)][i]
        bought = "bought on one day" if days <= 1 else f"bought on {_count(days)} days"
        return f"{bought} since the first order {_days(age)} ago, last {_days(self.columns['recency_days'][i])} ago"

    def returns(self, i: int) -> str:
        """What was sent back, beside the typical client's share."""
        share = self.columns.get("returned_share_365d")
        if share is None or np.isnan(share[i]):
            return self.about(next(n for n in self.names if n.startswith("returned")), i)
        typical = self.reference["returned_share_365d"]
        return f"returned {share[i]:.0%} of what was bought in 365 days; a typical client {typical:.0%}"

    def sent_back(self, i: int) -> str:
        """Whether something came back after the last two orders."""
        after = self.columns["returns_after_last_2_orders"][i]
        if after >= 2:  # noqa: PLR2004
            return "something came back after each of the last two orders"
        return (
            "something came back after one of the last two orders" if after >= 1 else "kept the last two orders whole"
        )

    def left(self, i: int) -> str:
        """Departments that the client has stopped buying from, the largest by name where it is known."""
        share = self.columns.get("left_department_share_365d")
        part = 0.0 if share is None or np.isnan(share[i]) else float(share[i])
        if part <= 0:
            return "still buys in every department of the year"
        named = self.spoken.get("left_department_365d")
        where = (named[i] if named else None) or "a department"
        count = self.columns.get("left_departments_365d")
        more = 0 if count is None else int(count[i]) - 1
        others = f" and {more} more, together" if more > 0 else ","
        return f"stopped buying in {where}{others} {part:.0%} of the year's spend"

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
        days = self._days[name]
        label = re.sub(r"_\d+d$", "", name).replace("_", " ")
        span = f" in {days} days" if days else ""
        value = self.columns[name][i]
        if np.isnan(value):
            return f"{label}{span} not known"
        shown = _percent if "share" in name else _number
        return f"{label}{span} {shown(value)}; a typical client {shown(self.reference[name])}"

    def _standing_out(self, all_orders: float, whole: float, i: int) -> str:
        """The window of weeks whose orders are furthest from the quarter's pace, in standard deviations (Poisson)."""
        found, furthest = self._month, -1.0
        for name, days in self._weeks:
            expected = all_orders * days / whole
            far = abs(self.columns[name][i] - expected) / expected**0.5
            if days < whole and far > furthest:
                found, furthest = name, far
        return found

    @staticmethod
    def _all_at_once(recent: float, before: float, days: int, rest: int) -> str:
        if rest < 1 or before <= 0:
            return f"all {_count(recent)} orders of the quarter in the last {days} days"
        return f"no order in the last {days} days, {_count(before)} in the {rest} days before"

    def _telling(self, measure: str, i: int) -> str | None:
        """The quarter, or the longest window where the client differs more from the median client there."""
        known = self._compared[measure]
        ratios = {name: (self.columns[name][i] + 1) / (abs(self.reference[name]) + 1) for name in known}
        quarter = next(iter(known), None)
        if quarter is None or not 1 / _ALMOST < ratios[quarter] < _ALMOST:
            return quarter
        return max(known, key=lambda name: max(ratios[name], 1 / max(ratios[name], 1e-9)))

    def _span(self, name: str, i: int) -> str:
        days = self._days[name]
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
