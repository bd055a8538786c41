"""The maximum of a likelihood in the logarithms of its parameters: several starts, and what makes it doubtful."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from perennial.scoring.features import Matrix

Objective = Callable[[Matrix], tuple[float, Matrix]]  # logs of parameters -> mean log-likelihood, gradient

REACH = 9.0  # parameters are sought within e^-9 and e^9 of their scale
_SCOUTING = (1e-4, 25)  # gradient at which a search ends, and its steps at most: from each start
_ENDING = (1e-7, 60)  # from the best of them
_FLAT = 1e-4  # a gradient above this at the end is no optimum
_STEP = 1e-4
_LEVEL = 1e-9  # curvature that counts as none
_VAGUE = 1.5  # standard error of a logarithm: the 95 % interval then spans a factor of 20 either way


@dataclass(frozen=True)
class Optimum:
    """`theta`: logs of the parameters; `value`: mean log-likelihood; `errors`: standard errors of `theta`."""

    theta: Matrix
    value: float
    gradient: float
    errors: Matrix
    evaluations: int


def maximum(
    objective: Objective, pilot: Objective, starts: Sequence[Matrix], scale: Matrix, *, clients: float
) -> Optimum:
    """The optimum of `pilot` (fewer rows), from the best of the starts, then of `objective` from there.

    `scale` holds the logs of the parameters' order of size: beyond `REACH` from it a soft wall keeps numbers finite.
    The curvature of the pilot gives the first steps of the second search and the standard errors for `clients` rows.
    """
    calls = 0

    def walled(function: Objective) -> Callable[[Matrix], tuple[float, Matrix]]:
        def call(theta: Matrix) -> tuple[float, Matrix]:
            nonlocal calls
            calls += function is objective
            return _behind_wall(function, theta, scale)

        return call

    found = [_search(walled(pilot), np.asarray(start, dtype=np.float64), None, _SCOUTING) for start in starts]
    theta = min(found, key=lambda pair: pair[0])[1]
    for function in [pilot] if objective is pilot else [pilot, objective]:
        _, inverse = _curvature(walled(pilot), theta)
        theta = _search(walled(function), theta, inverse, _ENDING)[1]
    hessian, _ = _curvature(pilot, theta)
    value, gradient = objective(theta)
    return Optimum(theta, value, float(np.abs(gradient).max()), _errors(hessian, clients), calls + 1)


def doubts(optimum: Optimum, names: Sequence[str], scale: Matrix) -> str | None:
    """A sentence when the optimum cannot be used: at the wall, not reached, or a parameter that the data leave open."""
    far = np.abs(optimum.theta - scale) > REACH
    if not np.isfinite(optimum.value) or not np.isfinite(optimum.theta).all():
        return "the likelihood is not finite"
    if far.any():
        ends = [
            f"{name} runs to {'infinity' if theta > middle else 'zero'}"
            for name, theta, middle, is_far in zip(names, optimum.theta, scale, far, strict=True)
            if is_far
        ]
        return "the likelihood has no maximum: " + ", ".join(ends)
    if optimum.gradient > _FLAT:
        return f"the search ended before a maximum (gradient {optimum.gradient:.1e})"
    vague = [name for name, error in zip(names, optimum.errors, strict=True) if not error <= _VAGUE]
    if vague:
        return f"these histories leave {', '.join(vague)} open by more than a factor of 20"
    return None


def is_inside(optimum: Optimum, scale: Matrix) -> bool:
    """Whether a maximum was reached within the range of parameters."""
    return bool(np.isfinite(optimum.value) and optimum.gradient <= _FLAT and is_within(optimum.theta, scale))


def is_within(theta: Matrix, scale: Matrix) -> bool:
    """Whether all parameters are within `REACH` of their scale."""
    return bool((np.abs(theta - scale) <= REACH).all())


def _behind_wall(function: Objective, theta: Matrix, scale: Matrix) -> tuple[float, Matrix]:
    """The negative of the function; beyond the wall it goes on from the wall's edge, rising with the square."""
    inside = np.clip(theta, scale - REACH - 1, scale + REACH + 1)
    beyond = theta - np.clip(theta, scale - REACH, scale + REACH)
    value, gradient = function(inside)
    slope = np.where(inside == theta, -gradient, 0.0)
    return -value + 0.5 * float(beyond @ beyond), slope + beyond


def _search(
    function: Objective, start: Matrix, inverse: Matrix | None, until: tuple[float, int]
) -> tuple[float, Matrix]:
    options: dict[str, object] = {"gtol": until[0], "maxiter": until[1]}
    if inverse is not None:
        options["hess_inv0"] = inverse
    result = minimize(function, start, jac=True, method="BFGS", options=options)
    return float(result.fun), np.asarray(result.x, dtype=np.float64)


def _curvature(function: Objective, theta: Matrix) -> tuple[Matrix, Matrix]:
    """Second derivatives by central differences of the exact gradient, and a positive definite inverse of them."""
    steps = np.eye(len(theta)) * _STEP
    rows = [(function(theta + step)[1] - function(theta - step)[1]) / (2 * _STEP) for step in steps]
    hessian = np.asarray(rows)
    hessian = (hessian + hessian.T) / 2
    values, vectors = np.linalg.eigh(hessian)
    inverse = (vectors / np.maximum(np.abs(values), 1e-6)) @ vectors.T
    return hessian, (inverse + inverse.T) / 2


def _errors(hessian: Matrix, clients: float) -> Matrix:
    """Standard errors from the curvature of the mean log-likelihood; huge along what does not curve down."""
    values, vectors = np.linalg.eigh(-hessian)
    return np.asarray(np.sqrt(((vectors**2) / np.maximum(values, _LEVEL)).sum(axis=1) / clients), dtype=np.float64)
