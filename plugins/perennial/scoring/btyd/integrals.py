"""The integrals behind the closed forms: sums of positive terms only, so that no digit is lost at large counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, hyp2f1

from perennial.scoring.features import Matrix

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_LOG_WEIGHTS = np.log(_WEIGHTS / 2)
_SPENT = 40.0  # what is e^-40 of the largest term adds nothing to a double
_SERIES_UNTIL = 0.98
_TINY = 1e-17
_ROWS = 1024


@dataclass(frozen=True)
class DropoutIntegral:
    """`log`: logarithm of the integral; means, under its integrand, of the four terms that gradients need."""

    log: Matrix
    log_alpha: Matrix
    log_beta: Matrix
    over_alpha: Matrix
    over_beta: Matrix


def growth(rate: Matrix | float, log_ratio: Matrix) -> Matrix:
    """(1 - e^(-rate q)) / rate for q = `log_ratio`, through rate = 0 where it is q."""
    y = np.asarray(rate * log_ratio, dtype=np.float64)
    near = np.abs(y) < 1e-8  # noqa: PLR2004 - the second term is below the last digit
    safe = np.where(near, 1.0, y)
    return np.asarray(log_ratio * np.where(near, 1 - y / 2, -np.expm1(-safe) / safe), dtype=np.float64)


def dropout_integral(  # noqa: PLR0917 - the formula's own letters
    power: Matrix, alpha: Matrix | float, s: Matrix | float, beta: Matrix | float, start: Matrix, end: Matrix
) -> DropoutIntegral:
    """Integral of (alpha + t)^-power (beta + t)^-(s + 1) dt from `start` to `end`, row by row.

    It is the Pareto/NBD's chance to drop out between the last purchase and the end (Fader and Hardie 2005, "A note on
    deriving the Pareto/NBD model", eq. 15), there written as a difference of two 2F1. Here by Gauss-Legendre in
    v = log(c + t), c = min(alpha, beta): the integrand is log-concave in v and analytic within pi of the line.
    """
    columns = np.broadcast_arrays(power, alpha, s, beta, start, end)
    parts = [
        _dropout_rows(*(column[low : low + _ROWS, None] for column in columns))
        for low in range(0, len(columns[0]), _ROWS)
    ]
    empty = np.empty(0)
    return (
        DropoutIntegral(*(np.concatenate([empty, *values]) for values in zip(*parts, strict=True)))
        if parts
        else (DropoutIntegral(empty, empty, empty, empty, empty))
    )


def _dropout_rows(  # noqa: PLR0917
    power: Matrix, alpha: Matrix, s: Matrix, beta: Matrix, start: Matrix, end: Matrix
) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    least = np.minimum(alpha, beta)
    first = least + start
    slope = power * first / (alpha + start) + (s + 1) * first / (beta + start) - 1
    length = np.log((least + end) / first)
    length = np.where(slope > 0, np.minimum(length, _SPENT / np.where(slope > 0, slope, 1.0)), length)
    moved = first * np.exp(length * (_NODES + 1) / 2)
    from_alpha, from_beta = moved + (alpha - least), moved + (beta - least)
    log_alpha, log_beta = np.log(from_alpha), np.log(from_beta)
    logs = np.log(moved) - power * log_alpha - (s + 1) * log_beta + _LOG_WEIGHTS
    top = logs.max(axis=1, keepdims=True)
    terms = np.exp(logs - top)
    total = terms.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):  # nothing between start and end: the logarithm of 0 is meant
        log = np.log(length * total) + top
    share = terms / total
    means = [(share * values).sum(axis=1) for values in (log_alpha, log_beta, 1 / from_alpha, 1 / from_beta)]
    return log[:, 0], means[0], means[1], means[2], means[3]


def purchases_while_alive(shape: Matrix, a: float, b: Matrix, z: Matrix) -> Matrix:
    """E[(1 - (1 + p z)^-shape) / p] for p ~ Beta(a, b): purchases to come of a BG/NBD client who is alive.

    `shape` = r + x, `b` = b + x, `z` = horizon / (alpha + T). Fader, Hardie and Lee (2005), eq. 10, without its
    singularities at a = 1 and a + b + x = 1: with q = log(1 + z), w = z / (1 + z), A = a + b - 1 - shape,

        (a + b - 1) (1 - e^(-(a-1) q)) / (a - 1) - e^(-(a-1) q) A w 3F2(a, A + 1, 1; a + b, 2; w).
    """
    shape, b, z = (np.asarray(values, dtype=np.float64) for values in np.broadcast_arrays(shape, b, z))
    found = np.empty(len(z))
    excess = a + b - 1 - shape
    far = (z / (1 + z) > _SERIES_UNTIL) & (abs(a - 1) > 1e-6) & (np.abs(a + b - 1) > 1e-6)  # noqa: PLR2004
    tame = (excess > -8) & (excess < 1e5)  # noqa: PLR2004 - beyond, the terms of the series cancel each other
    for rows, method in ((tame & ~far, _by_series), (tame & far, _by_closed_form), (~tame, _by_quadrature)):
        if rows.any():
            found[rows] = method(shape[rows], a, b[rows], z[rows])
    return np.clip(found, 0.0, shape * z)  # nobody buys more than somebody who cannot drop out


def _by_series(shape: Matrix, a: float, b: Matrix, z: Matrix) -> Matrix:
    excess, w, q = a + b - 1 - shape, z / (1 + z), np.log1p(z)
    whole = np.ones(len(z))
    rows, term, step = np.arange(len(z)), np.ones(len(z)), 0
    a_b, above, ratio = a + b, excess + 1, w
    while len(rows):
        term = term * ((a + step) * (above + step) / ((a_b + step) * (2 + step))) * ratio
        whole[rows] += term
        step += 1
        if step % 8 == 0:
            left = np.abs(term) > _TINY * np.abs(whole[rows]) * (1 - ratio)
            rows, term, a_b, above, ratio = rows[left], term[left], a_b[left], above[left], ratio[left]
    return np.asarray((a + b - 1) * growth(a - 1, q) - np.exp(-(a - 1) * q) * excess * w * whole, dtype=np.float64)


def _by_closed_form(shape: Matrix, a: float, b: Matrix, z: Matrix) -> Matrix:
    """The published form after Euler's transformation, whose parameters stay small: for horizons far beyond T."""
    excess, q = a + b - 1 - shape, np.log1p(z)
    series = hyp2f1(a - 1, excess, a + b - 1, z / (1 + z))
    return np.asarray((a + b - 1) / (a - 1) * (1 - np.exp(-(a - 1) * q) * series), dtype=np.float64)


def _by_quadrature(shape: Matrix, a: float, b: Matrix, z: Matrix) -> Matrix:
    """Trapezoid in the log-odds of p, where Beta densities fall off like exponentials on both sides."""
    found = np.empty(len(z))
    for low in range(0, len(z), _ROWS):
        part = slice(low, low + _ROWS)
        found[part] = _trapezoid(shape[part, None], a, b[part, None], z[part, None])
    return found


def _trapezoid(shape: Matrix, a: float, b: Matrix, z: Matrix) -> Matrix:
    middle, spread = np.log(a / b), np.sqrt(1 / a + 1 / b)
    steps = np.linspace(-1.0, 1.0, 513)
    width = 12 * spread + _SPENT / np.minimum(a, b)
    # finer around the middle: y = middle + width * sinh(k u) / sinh(k)
    bend = np.log(2 * width / spread)
    y = middle + width * np.sinh(bend * steps) / np.sinh(bend)
    weight = width * bend * np.cosh(bend * steps) / np.sinh(bend) * (steps[1] - steps[0])
    log_p, log_rest = -np.logaddexp(0, -y), -np.logaddexp(0, y)
    p = np.exp(log_p)
    density = np.exp(a * log_p + b * log_rest - betaln(a, b)) * weight
    gone = np.where(p > 0, -np.expm1(-shape * np.log1p(p * z)) / np.where(p > 0, p, 1.0), shape * z)
    return np.asarray((density * gone).sum(axis=1), dtype=np.float64)
