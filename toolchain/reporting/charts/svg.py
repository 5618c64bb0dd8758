"""Charts as inline SVG: axes, lines and marks. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from toolchain.printable import printable

WIDTH, HEIGHT = 460, 272
LEFT, RIGHT, TOP, BOTTOM = 46, 22, 14, 38
"""Margins around the plotted area, for the numbers and names of the axes."""


class Drawing(str):
    """The text of an SVG element, whose own texts are escaped: templates take it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the element; this name is how jinja2 knows what is HTML already."""
        return str(self)


class Axis(NamedTuple):
    """One axis: its range, and the places that are marked, with their texts."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    name: str
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies between the two ends, in 0…1 inside of them."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def linear_axis(low: float, high: float, name: str, *, unit: str = "", most: int = 6) -> Axis:
    """Return an axis with round numbers; `unit` % writes shares as per cent.

    >>> [text for _, text in linear_axis(0, 1, "", unit="%").ticks]
    ['0 %', '20 %', '40 %', '60 %', '80 %', '100 %']
    """
    step = _round_step((high - low) / max(1, most - 1))
    first = math.ceil(low / step - 1e-9)
    values = [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
    scale = 100 if unit == "%" else 1
    digits = max(0, -math.floor(math.log10(step * scale) + 1e-9))
    after = " %" if unit == "%" else ""
    return Axis(low, high, [(v, f"{v * scale:.{digits}f}{after}") for v in values], name)


def whole_axis(first: int, last: int, name: str, most: int = 8) -> Axis:
    """Return an axis of whole numbers, such as epochs, with some room at both ends."""
    step = max(1, round(_round_step((last - first) / max(1, most - 1)))) if last > first else 1
    values = [v for v in range(first - first % step, last + 1, step) if v >= first]
    if values and values[0] - first >= step / 2:
        values.insert(0, first)
    room = max(0.5 if first == last else 0.0, 0.03 * (last - first))
    return Axis(first - room, last + room, [(v, str(v)) for v in values], name)


def log_axis(values: Sequence[float], name: str) -> Axis:
    """Return a logarithmic axis around positive values, with a mark at each power of ten."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    every = max(1, (high - low) // 5)
    ticks = [(10.0**n, f"1e{n}" if abs(n) > 3 else f"{10.0**n:g}") for n in range(low, high + 1)]
    return Axis(10.0**low, 10.0**high, ticks[::every], name, logarithmic=True)


def _round_step(step: float) -> float:
    """Return the next number of 1, 2, 5, 10 … that is not smaller."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


class Chart:
    """A chart in the making; each method adds one thing, the last one lies on top."""

    def __init__(self, x: Axis, y: Axis, description: str) -> None:
        self.x, self.y, self.description = x, y, description
        self.parts: list[str] = []
        self._draw_axes()

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """Draw a line; where a value is not finite, or outside the axis, it has a gap."""
        path, pen = [], "M"
        for x, y in zip(xs, ys, strict=True):
            if not math.isfinite(x) or not math.isfinite(y):
                pen = "M"
                continue
            path.append(f"{pen}{self._x(x):.1f} {self._y(y):.1f}")
            pen = "L"
        if path:
            self.parts.append(f'<path class="line {style}" d="{"".join(path)}"/>')

    def dots(self, xs: Sequence[float], ys: Sequence[float], style: str, radius: float = 3) -> None:
        """Draw a dot at each point that is finite."""
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                place = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
                self.parts.append(f'<circle class="dot {style}" {place} r="{radius:g}"/>')

    def vertical(self, x: float, style: str, text: str = "") -> None:
        """Draw a line from bottom to top, with a text at its upper end."""
        place = self._x(x)
        ends = f'x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        self.parts.append(f'<line class="mark {style}" {ends}/>')
        if text:
            end = place > WIDTH - 90
            self.text(place + (-4 if end else 4), TOP + 9, text, style, "end" if end else "start")

    def horizontal(self, y: float, style: str) -> None:
        """Draw a line from left to right."""
        ends = f'y1="{self._y(y):.1f}" y2="{self._y(y):.1f}" x1="{LEFT}" x2="{WIDTH - RIGHT}"'
        self.parts.append(f'<line class="mark {style}" {ends}/>')

    def span(self, x: float, low: float, high: float, style: str) -> None:
        """Draw an interval upright at `x`."""
        ends = f'x1="{self._x(x):.1f}" x2="{self._x(x):.1f}"'
        self.parts.append(
            f'<line class="span {style}" {ends} y1="{self._y(low):.1f}" y2="{self._y(high):.1f}"/>'
        )

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        """Write a text at a place in the units of the picture."""
        self.parts.append(
            f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}'
            "</text>"
        )

    def svg(self) -> Drawing:
        """Return the picture as an element for the page."""
        return Drawing(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{_safe(self.description)}">{"".join(self.parts)}</svg>'
        )

    def _draw_axes(self) -> None:
        bottom = HEIGHT - BOTTOM
        for value, text in self.y.ticks:
            y = self._y(value)
            self.parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            self.text(LEFT - 6, y + 4, text, "tick", "end")
        for value, text in self.x.ticks:
            self.text(self._x(value), bottom + 16, text, "tick", "middle")
        self.parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
        )
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, self.x.name, "name", "middle")

    def _x(self, value: float) -> float:
        return LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        share = min(1.02, max(-0.02, self.y.share(value)))
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def interval_bar(value: float, low: float, high: float, description: str) -> Drawing:
    """Return a rate in 0…1 with its interval as a narrow bar of 100 by 10."""
    return Drawing(
        f'<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{_safe(description)}"><rect class="ground" x="0" y="4" width="100" '
        f'height="2"/><rect class="range" x="{100 * low:.1f}" y="2.5" '
        f'width="{max(0.8, 100 * (high - low)):.1f}" height="5"/><rect class="value" '
        f'x="{min(99.0, max(0.0, 100 * value - 0.5)):.1f}" y="0" width="1" height="10"/></svg>'
    )


def _safe(text: str) -> str:
    return escape(printable(text))
