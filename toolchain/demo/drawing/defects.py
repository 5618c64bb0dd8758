"""Defects of parts: scratches, dents, holes, stains and cracks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from toolchain.demo.drawing.canvas import Colour, Frame, Plane, Point, Rng, clouds, ramp, rgb
from toolchain.demo.drawing.shapes import Part
from toolchain.demo.drawing.surfaces import Surface

# Heat tint from the hot middle (0) to bare metal (beyond 1): blue, violet, brown, straw.
HEAT_STOPS = (0.0, 0.35, 0.6, 0.82, 1.05)
HEAT_TINTS = ((0.3, 0.25, 0.7, 1.0, 1.0), (0.5, 0.2, 0.25, 0.6, 1.0), (0.85, 0.85, 0.6, 0.2, 1.0))
DEFECT_REACH = 0.2
"""How far from the middle a defect may start. Half of the crop that evaluation keeps is 0.4375."""


def defect_place(frame: Frame, part: Part, rng: Rng, clearance: float) -> Point:
    """Return a point (x, y) of the metal, `clearance` away from its edges where there is room."""
    near = (np.abs(frame.x) < DEFECT_REACH) & (np.abs(frame.y) < DEFECT_REACH)
    room = np.where(near, part.depth, -9)
    most = float(room.max())
    rows, columns = np.nonzero(room >= min(clearance, most - 0.05 * abs(most)))
    pick = int(rng.integers(len(rows)))
    row, column = rows[pick], columns[pick]
    return float(frame.x[row, column]), float(frame.y[row, column])


class Pen:
    """Draws an antialiased mask with values in 0…1; coordinates and lengths are in short sides."""

    FINER = 3

    def __init__(self, frame: Frame) -> None:
        rows, columns = frame.x.shape
        self._scale = frame.short * self.FINER
        self._middle = (columns * self.FINER / 2, rows * self.FINER / 2)
        self._image = Image.new("L", (columns * self.FINER, rows * self.FINER))
        self._draw = ImageDraw.Draw(self._image)

    def _pixel(self, point: Point) -> Point:
        return (
            self._middle[0] + point[0] * self._scale,
            self._middle[1] + point[1] * self._scale,
        )

    def line(self, points: list[Point], widths: list[float]) -> None:
        """Draw straight pieces from point to point, each with its own width."""
        for start, end, width in zip(points, points[1:], widths, strict=False):
            thick = max(1, round(width * self._scale))
            self._draw.line((self._pixel(start), self._pixel(end)), fill=255, width=thick)
            self.dot(end, width / 2)  # a round joint

    def dot(self, centre: Point, radius: float) -> None:
        """Draw a filled circle."""
        (x, y), r = self._pixel(centre), radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=255)

    def blob(self, corners: list[Point]) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([self._pixel(corner) for corner in corners], fill=255)

    def mask(self, soften: float = 0.0) -> Plane:
        """Return what was drawn, in 0…1, at the image's size; `soften` is the radius of a blur."""
        image = self._image.reduce(self.FINER)
        if soften:
            image = image.filter(ImageFilter.GaussianBlur(soften * self._scale / self.FINER))
        return np.asarray(image, dtype=np.float32) / 255


def _turned(middle: Point, turn: float, along: Plane, across: Plane) -> list[Point]:
    """Return points given along and across a direction, as points of the image."""
    x = middle[0] + math.cos(turn) * along - math.sin(turn) * across
    y = middle[1] + math.sin(turn) * along + math.cos(turn) * across
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _blend(surface: Surface, mask: Plane, colour: Colour | float) -> None:
    """Change the surface's colour towards `colour`, by the mask's share."""
    surface.colour += mask * (colour - surface.colour)


def scratch(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """Draw a few nearly straight lines across the marks: bright grooves, each with a dark burr."""
    middle = defect_place(frame, part, rng, 0.12)
    heading = frame.angle + math.pi / 2 + float(rng.uniform(-0.7, 0.7))
    groove, burr = Pen(frame), Pen(frame)
    for _ in range(int(rng.integers(2, 5))):
        turn = heading + float(rng.uniform(-0.12, 0.12))
        length, width = float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.011, 0.018))
        aside, bend = float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.03, 0.03))
        slide = float(rng.uniform(-0.08, 0.08))
        steps = np.linspace(-0.5, 0.5, 13)
        along, across = slide + steps * length, aside + bend * 4 * steps**2
        widths = (width * (1.05 - 1.3 * np.abs(steps) ** 1.5)).tolist()
        groove.line(_turned(middle, turn, along, across), widths)
        burr.line(_turned(middle, turn, along, across + width), widths)
    _blend(surface, 0.85 * burr.mask(), 0.2 * surface.colour)
    _blend(surface, 0.95 * groove.mask(), 0.3 * surface.colour + 0.85)


def dent(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """Press in a smooth hollow with a low rim, which only its shading shows."""
    x, y = defect_place(frame, part, rng, 0.14)
    radius = float(rng.uniform(0.17, 0.24))
    squeeze, turn = float(rng.uniform(0.7, 1.0)), float(rng.uniform(0, math.pi))
    dx, dy = frame.x - x, frame.y - y
    along = (math.cos(turn) * dx + math.sin(turn) * dy) / radius
    across = (-math.sin(turn) * dx + math.cos(turn) * dy) / (radius * squeeze)
    away = np.hypot(along, across) * (1 + 0.06 * clouds(rng, frame.x.shape, 5, 2))
    hollow = np.clip(1 - away * away, 0, 1) ** 1.5
    rim = np.exp(-(((away - 1.06) / 0.14) ** 2))
    surface.height += radius * float(rng.uniform(0.5, 0.65)) * (0.16 * rim - hollow)


def _ragged(middle: Point, radius: float, rng: Rng) -> list[Point]:
    """Return the corners of a rough round outline."""
    count = int(rng.integers(9, 15))
    around = np.linspace(0, 2 * math.pi, count, endpoint=False)
    reach = radius * rng.uniform(0.65, 1.25, count)
    return _turned(middle, 0.0, reach * np.cos(around), reach * np.sin(around))


def hole(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """Draw a torn hole with a bright rim, and a few pores beside it."""
    x, y = defect_place(frame, part, rng, 0.1)
    pit = Pen(frame)
    pit.blob(_ragged((x, y), float(rng.uniform(0.055, 0.085)), rng))
    for _ in range(int(rng.integers(2, 7))):
        turn, away = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.09, 0.17))
        pore = (x + away * math.cos(turn), y + away * math.sin(turn))
        pit.blob(_ragged(pore, float(rng.uniform(0.012, 0.03)), rng))
    inside, around = pit.mask(), pit.mask(0.012)
    torn = ramp(clouds(rng, frame.x.shape, 14, 2), -1, 0.5)
    lip = np.clip(4 * around * (1 - inside), 0, 1) * torn
    surface.height += 0.03 * lip - 0.05 * pit.mask(0.006)
    _blend(surface, 0.45 * lip, 0.5 * surface.colour + 0.4)
    _blend(surface, 0.97 * inside, 0.03 + 0.1 * surface.colour * (1 - around))


def stain(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """Draw a flat discoloured patch with splashes: oil, rust, heat tint or coolant."""
    x, y = defect_place(frame, part, rng, 0.12)
    radius = float(rng.uniform(0.2, 0.29))
    away = np.hypot(frame.x - x, frame.y - y) / radius + 0.28 * clouds(rng, frame.x.shape, 6, 3)
    kind = rng.choice(["oil", "rust", "heat", "coolant"])
    if kind == "heat":
        tint = np.stack([np.interp(away, HEAT_STOPS, channel) for channel in HEAT_TINTS], axis=0)
        surface.colour *= tint.astype(np.float32)
        return
    splashes = Pen(frame)
    for _ in range(int(rng.integers(5, 12))):
        turn, far = float(rng.uniform(0, 2 * math.pi)), radius * float(rng.uniform(0.9, 1.5))
        size = float(rng.uniform(0.008, 0.025))
        splashes.dot((x + far * math.cos(turn), y + far * math.sin(turn)), size)
    patch = np.maximum(1 - ramp(away, 0.85, 1.0), splashes.mask(0.004))
    if kind == "oil":
        _blend(surface, 0.9 * patch, surface.colour * rgb(0.2, 0.12, 0.04))
    elif kind == "rust":
        grains = patch * ramp(clouds(rng, frame.x.shape, 18, 3), -1.4, 0.2)
        _blend(surface, 0.92 * grains, rgb(0.46, 0.15, 0.03))
    else:
        ring = np.exp(-(((away - 0.9) / 0.1) ** 2))
        _blend(surface, 0.65 * patch, rgb(0.36, 0.6, 0.5) * ramp(0.3 * away, -0.3, 0.3))
        _blend(surface, 0.7 * ring, rgb(0.06, 0.2, 0.17))


def crack(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """Draw a jagged dark line that thins out and branches."""
    start = defect_place(frame, part, rng, 0.1)
    heading = float(rng.uniform(0, 2 * math.pi))
    back = heading + math.pi + float(rng.uniform(-0.4, 0.4))
    width = float(rng.uniform(0.018, 0.028))
    pen = Pen(frame)
    for turn in (heading, back):
        points = _jagged(pen, start, turn, int(rng.integers(6, 9)), width, rng)
        for _ in range(int(rng.integers(1, 3))):
            fork = points[int(rng.integers(1, len(points) - 2))]
            aside = turn + float(rng.choice([-1, 1])) * float(rng.uniform(0.6, 1.1))
            _jagged(pen, fork, aside, int(rng.integers(3, 6)), 0.65 * width, rng)
    surface.height -= 0.02 * pen.mask(0.006)
    _blend(surface, 0.95 * pen.mask(), 0.02 + 0.05 * surface.colour)


def _jagged(
    pen: Pen, start: Point, turn: float, pieces: int, width: float, rng: Rng
) -> list[Point]:
    """Draw a zigzag that thins out from `start`, and return its corners."""
    points, swing = [start], float(rng.choice([-1, 1]))
    for _ in range(pieces):
        swing = -swing
        bent = turn + swing * float(rng.uniform(0.25, 0.85))
        step = float(rng.uniform(0.025, 0.055))
        x, y = points[-1]
        points.append((x + step * math.cos(bent), y + step * math.sin(bent)))
    pen.line(points, [width * (1 - 0.75 * k / pieces) for k in range(pieces)])
    return points


DEFECTS: dict[str, Callable[[Frame, Part, Surface, Rng], None] | None] = {
    "crack": crack,
    "dent": dent,
    "good": None,
    "hole": hole,
    "scratch": scratch,
    "stain": stain,
}
"""Class → what draws its defect; None for a sound part."""
