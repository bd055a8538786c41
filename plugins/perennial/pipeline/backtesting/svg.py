"""Line plots as SVG text: no library, nothing from outside, equal bytes for equal curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from perennial.scoring.protocols import Curve

_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 46
_LEGEND_ROW = 17
_SHORT_NAME = 22  # characters
_COLOURS = ("#0b5fa5", "#c2410c", "#15803d", "#7c3aed", "#a16207", "#be185d", "#0f766e", "#4b5563")  # on white, 4.5:1
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 3", "10 4", "3 6")
_TICKS = 5
_THOUSAND, _MILLION = 1_000, 1_000_000


def plot(curve: Curve) -> str:
    """The curve as one `<svg>` element, with a title for those who cannot see it."""
    lines = {name: _finite(points) for name, points in curve.lines.items()}
    lines = {name: points for name, points in lines.items() if points}
    beside = 1 if any(len(name) > _SHORT_NAME for name in lines) else 2  # names of the legend in a row
    height = _HEIGHT + _LEGEND_ROW * math.ceil(max(len(lines), 1) / beside)
    scale = _Scale(lines.values(), diagonal=curve.diagonal)
    title = f"{curve.title}, {curve.cut}" if curve.cut else curve.title
    label = escape(f"{title}: {curve.y} by {curve.x} of {', '.join(lines)}", {'"': "&quot;"})
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}" {font}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-weight="600" font-size="13">{escape(title)}</text>',
        *_axes(scale, curve),
    ]
    if curve.diagonal:
        low, high = max(scale.x[0], scale.y[0]), min(scale.x[1], scale.y[1])
        parts.append(_path(scale, [(low, low), (high, high)], "#9ca3af", "3 3", 1))
    for index, (name, points) in reversed(list(enumerate(lines.items()))):  # the first one, the model, on top
        parts += _line(scale, points, index, markers=curve.markers)
        parts += _legend(name, index, beside)
    return "\n".join([*parts, "</svg>"])


class _Scale:
    """From values to pixels."""

    def __init__(self, lines: object, *, diagonal: bool) -> None:
        points = [point for line in lines for point in line] or [(0.0, 0.0), (1.0, 1.0)]  # type: ignore[attr-defined]
        self.x, self.y = _span([x for x, _ in points]), _span([y for _, y in points])
        if diagonal:  # both axes alike where they may be: a diagonal is then one to the eye
            both = (min(self.x[0], self.y[0]), max(self.x[1], self.y[1]))
            self.x, self.y = both, both

    def at(self, point: tuple[float, float]) -> str:
        across = _LEFT + (point[0] - self.x[0]) / (self.x[1] - self.x[0]) * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - (point[1] - self.y[0]) / (self.y[1] - self.y[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{up:.1f}"


def _finite(points: tuple[Sequence[float], Sequence[float]]) -> list[tuple[float, float]]:
    pairs = zip(points[0], points[1], strict=True)
    return [(float(x), float(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    low = min(low, 0.0) if low > 0 and low < 0.5 * high else low  # zero is shown where it is near
    if high - low < 1e-12 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    return low, high


def _steps(low: float, high: float) -> list[float]:
    """About five round values between low and high."""
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= raw)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(scale: _Scale, curve: Curve) -> list[str]:
    parts = []
    left, right, bottom, top = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    for value in _steps(*scale.y):
        height = scale.at((scale.x[0], value)).split(",")[1]
        parts.append(f'<path d="M{left},{height}H{right}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 6}" y="{height}" dy="4" text-anchor="end" fill="#374151">{short(value)}</text>')
    for value in _steps(*scale.x):
        across = scale.at((value, scale.y[0])).split(",")[0]
        parts.append(f'<path d="M{across},{bottom}V{bottom + 4}" stroke="#6b7280"/>')
        parts.append(f'<text x="{across}" y="{bottom + 17}" text-anchor="middle" fill="#374151">{short(value)}</text>')
    middle = (left + right) / 2
    parts.append(f'<path d="M{left},{top}V{bottom}H{right}" fill="none" stroke="#6b7280"/>')
    parts.append(f'<text x="{middle}" y="{bottom + 36}" text-anchor="middle" fill="#111827">{escape(curve.x)}</text>')
    turned = f'transform="rotate(-90)" x="{-(top + bottom) / 2}" y="14"'
    parts.append(f'<text {turned} text-anchor="middle" fill="#111827">{escape(curve.y)}</text>')
    return parts


def _line(scale: _Scale, points: list[tuple[float, float]], index: int, *, markers: bool) -> list[str]:
    colour, dash = _COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)]
    parts = [_path(scale, points, colour, dash, 2.5 if index == 0 else 1.5)]
    if markers:
        for point in points:
            across, up = scale.at(point).split(",")
            parts.append(f'<circle cx="{across}" cy="{up}" r="{3.5 if index == 0 else 2.5}" fill="{colour}"/>')
    return parts


def _path(scale: _Scale, points: list[tuple[float, float]], colour: str, dash: str, width: float) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    places = " L".join(scale.at(point) for point in points)
    return f'<path d="M{places}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashes}/>'


def _legend(name: str, index: int, beside: int) -> list[str]:
    colour, dash = _COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)]
    across = _LEFT + (index % beside) * (_WIDTH - _LEFT - _RIGHT) / beside
    down = _HEIGHT + (index // beside) * _LEGEND_ROW + 4
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    line = f'<path d="M{across},{down}h24" stroke="{colour}" stroke-width="{2.5 if index == 0 else 1.5}"{dashes}/>'
    return [line, f'<text x="{across + 30}" y="{down + 4}" fill="#111827">{escape(name)}</text>']


def short(value: float) -> str:
    """A tick's number, short: 0.25, 1.2k, 3M."""
    for size, letter in ((_MILLION, "M"), (10 * _THOUSAND, "k")):
        if abs(value) >= size:
            return f"{value / (size if letter == 'M' else _THOUSAND):.4g}{letter}"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"  # noqa: PLR2004
