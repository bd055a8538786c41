"""What the models of buy-till-you-die say about a client, as columns for the pipelines of other scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from perennial.scoring.btyd.choose import WORDS, purchase_model
from perennial.scoring.btyd.gamma_gamma import GammaGamma
from perennial.scoring.features import HISTORY, Matrix

_DAYS = ("order_days_total", "orders_total")  # the first that there is; orders of one day are one purchase
_AGES = ("days_since_first_order", "tenure_days")
_NEEDED = "recency_days"
_SPENT = "revenue_total"


class BtydFeatures(TransformerMixin, BaseEstimator):
    """From rows of `client_features` to expected purchases, chance of a purchase and expected spend in the horizon.

    Input: the columns `feature_names`, then `history_days`, as `features.to_matrix` gives them. Purchases are order
    days: x = order_days_total - 1, T = days_since_first_order, t_x = T - recency_days (`orders_total` and `tenure_days`
    where those are missing).

    Fitted on the rows with the longest history, which hold every client once. Clients whose first order lies in the
    first `burn_in_days` of the history are old clients of whom only the end is known (left truncation): they are
    left out of fitting when `min_clients` others remain. They are scored all the same. No label is read.

    Columns: `btyd_purchases_<horizon>d`, `btyd_any_<horizon>d`, `btyd_spend_<horizon>d`. Spend per purchase is the
    client's own mean where Gamma-Gamma cannot be used, NaN without revenue in the features. Rows with unknown inputs,
    and all when there is no time to learn from, are NaN. The chance of being alive is no column: in BG/NBD it is 1 for
    whoever bought once.

    Attributes: `purchases_` (None: nothing to learn from), `spend_` (None: not used), `mean_spend_`, `said_` (sentences
    for the card), `fitted_clients_`, `n_features_in_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        horizon_days: int = 90,
        burn_in_days: int = 90,
        min_clients: int = 500,
        max_rows: int = 100_000,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.horizon_days = horizon_days
        self.burn_in_days = burn_in_days
        self.min_clients = min_clients
        self.max_rows = max_rows
        self.seed = seed

    def fit(self, X: Matrix, y: object = None) -> BtydFeatures:  # noqa: ARG002 - scikit-learn's signature
        """Learn both models. Raises ValueError for another width, or without the columns that histories are made of."""
        self._check_width(X)
        self.n_features_in_ = X.shape[1]
        latest = X[X[:, -1] == np.max(X[:, -1], initial=-np.inf)]
        latest = latest[self._known(latest)]
        told: list[str] = []
        rows = self._born_within(latest, told)
        histories = self._histories_of(rows)
        self.fitted_clients_ = len(rows)
        self.purchases_ = None
        if histories[:, 2].sum() > 0:
            chosen = purchase_model(histories, max_rows=self.max_rows, seed=self.seed)
            self.purchases_ = chosen.model
            told += [*chosen.said, f"purchases: {WORDS[type(chosen.model)]} on {len(rows)} clients"]
        else:
            told.append("no client was observed for a day after the first order: purchases stay unknown")
        self._fit_spend(latest, told)
        self.said_ = told
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Rows x 3, see `get_feature_names_out`."""
        self._check_width(X)
        found = np.full((len(X), 3), np.nan)
        rows = self._known(X)
        if self.purchases_ is None or not rows.any():
            return found
        histories = self._histories_of(X[rows])
        found[rows, 0] = self.purchases_.expected_purchases(histories, self.horizon_days)
        found[rows, 1] = self.purchases_.p_any(histories, self.horizon_days)
        if not np.isnan(self.mean_spend_):
            found[rows, 2] = found[rows, 0] * self._expected_spend(X[rows])
        return found

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:  # noqa: ARG002
        """Names of the three columns."""
        return np.array([f"btyd_{what}_{self.horizon_days}d" for what in ("purchases", "any", "spend")], dtype=object)

    def _fit_spend(self, rows: Matrix, told: list[str]) -> None:
        self.spend_, self.mean_spend_ = None, np.nan
        if _SPENT not in self.feature_names:
            return
        spent = self._spent(rows)
        if not ((spent[:, 0] > 0) & (spent[:, 1] > 0)).any():
            return
        self.mean_spend_ = float(spent[:, 0] @ spent[:, 1] / spent[:, 0].sum())
        model = GammaGamma(max_rows=self.max_rows, seed=self.seed).fit(spent)
        if model.is_usable_:
            self.spend_ = model
        else:
            told.append(f"Gamma-Gamma is not used: {model.doubt_}; the client's own mean is taken instead")

    def _expected_spend(self, X: Matrix) -> Matrix:
        """Of one purchase."""
        spent = self._spent(X)
        if self.spend_ is not None:
            return self.spend_.predict(spent)
        return np.where(spent[:, 1] > 0, spent[:, 1], self.mean_spend_)

    def _born_within(self, rows: Matrix, told: list[str]) -> Matrix:
        """The rows of clients who were new when they came, where they are enough."""
        if not len(rows):
            return rows
        born_later = self._column(rows, _AGES) < rows[:, -1] - self.burn_in_days
        old = f"{1 - float(born_later.mean()):.0%} of the clients were there in the first {self.burn_in_days} days"
        if born_later.sum() < self.min_clients:
            told.append(f"{old}, too many to fit without them: who left before is not seen")
            return rows
        told.append(f"{old} and are left out of fitting")
        return rows[born_later]

    def _spent(self, X: Matrix) -> Matrix:
        """Rows x (order days, mean revenue of one); the first order tells of spend as well as the later ones."""
        days = np.maximum(np.floor(self._column(X, _DAYS)), 0.0)
        revenue = np.nan_to_num(self._column(X, (_SPENT,)), nan=0.0)
        return np.column_stack([days, np.maximum(revenue, 0.0) / np.maximum(days, 1.0)])

    def _known(self, X: Matrix) -> npt.NDArray[np.bool_]:
        needed = [self._column(X, names) for names in (_DAYS, _AGES, (_NEEDED,))]
        return np.asarray(np.isfinite(np.column_stack(needed)).all(axis=1))

    def _histories_of(self, X: Matrix) -> Matrix:
        return histories_of_features(X, self.feature_names)

    def _column(self, X: Matrix, names: Sequence[str]) -> Matrix:
        return _column(X, self.feature_names, names)

    def _check_width(self, X: Matrix) -> None:
        if X.ndim != 2 or X.shape[1] != len(self.feature_names) + 1:  # noqa: PLR2004
            raise ValueError(f"expected {len(self.feature_names)} features and {HISTORY}, got a matrix of {X.shape}")


def histories_of_features(X: Matrix, feature_names: Sequence[str]) -> Matrix:
    """Rows x (x, t_x, T) in days, from the columns of `client_features`; whatever is odd in them is made harmless.

    Raises ValueError where the columns are missing.
    """
    recency = np.maximum(_column(X, feature_names, (_NEEDED,)), 0.0)
    age = np.maximum(_column(X, feature_names, _AGES), recency)
    between = age - recency
    again = np.maximum(np.floor(_column(X, feature_names, _DAYS)) - 1, 0.0)
    x = np.where(between > 0, again, 0.0)  # two orders of one day are one purchase
    between = np.where(x > 0, between, 0.0)
    return np.column_stack([x, between, np.where(x > 0, age, recency)])


def _column(X: Matrix, feature_names: Sequence[str], wanted: Sequence[str]) -> Matrix:
    """The first of the wanted columns that there is."""
    for name in wanted:
        if name in feature_names:
            return np.asarray(X[:, list(feature_names).index(name)], dtype=np.float64)
    raise ValueError(f"the features have no {' and no '.join(wanted)}: histories cannot be made of them")
