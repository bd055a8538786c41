"""What every model of churn and value sees: window rates, and what buy-till-you-die models say (`BtydFeatures`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from perennial.scoring.btyd.features import BtydFeatures
from perennial.scoring.features import Matrix, WindowRates

_NEEDED = ({"recency_days"}, {"order_days_total", "orders_total"}, {"days_since_first_order", "tenure_days"})


class Behaviour(TransformerMixin, BaseEstimator):
    """`WindowRates`, then the columns of `BtydFeatures` for the horizon where the features allow histories.

    Expected spend, the last of them, is there for models of money only (`with_spend`). The columns of
    buy-till-you-die models learn from purchases alone, never from labels. Attributes: `rates_`, `btyd_` (None without
    the columns that histories are made of), `names_out_`, `n_features_in_`.
    """

    def __init__(
        self, feature_names: tuple[str, ...] = (), horizon_days: int = 90, seed: int = 0, *, with_spend: bool = False
    ) -> None:
        self.feature_names = feature_names
        self.horizon_days = horizon_days
        self.seed = seed
        self.with_spend = with_spend

    def fit(self, X: Matrix, y: object = None) -> Behaviour:  # noqa: ARG002 - scikit-learn's signature
        """Fit both. Raises ValueError for a matrix of another width."""
        self.rates_ = WindowRates(self.feature_names).fit(X)
        self.n_features_in_ = X.shape[1]
        self.btyd_ = None
        names = list(self.rates_.names_out_)
        if all(needed & set(self.feature_names) for needed in _NEEDED):
            self.btyd_ = BtydFeatures(self.feature_names, self.horizon_days, seed=self.seed).fit(X)
            names += self.btyd_.get_feature_names_out().tolist()[: self._columns()]
        self.names_out_ = names
        return self

    def transform(self, X: Matrix) -> Matrix:
        """The prepared matrix, columns `names_out_`."""
        rates = self.rates_.transform(X)
        return rates if self.btyd_ is None else np.column_stack([rates, self.btyd_.transform(X)[:, : self._columns()]])

    def _columns(self) -> int:
        return 3 if self.with_spend else 2

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:  # noqa: ARG002
        """Names of the prepared columns."""
        return np.asarray(self.names_out_, dtype=object)
