"""Draws one machined part: outline, surface, light, and a defect where one is asked for.

Lengths are in short sides of the picture (1.0 is its short side), angles in radians, with the
origin in the middle of the picture. So a defect has the same share of every picture, whatever
its size in pixels. Height is in the same unit and positive towards the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane = NDArray[np.floating[Any]]
# [3, height, width] or [3, 1, 1]: numpy spreads masks over planes quicker than over pixels.
Colour = NDArray[np.floating[Any]]
Rng = np.random.Generator
Point = tuple[float, float]

# Names are for the reader; only the colours (linear, 0..1) are used.
METALS = {
    "steel": (0.50, 0.52, 0.55),
    "aluminium": (0.66, 0.67, 0.68),
    "cast iron": (0.33, 0.33, 0.34),
    "brass": (0.66, 0.54, 0.29),
    "bronze": (0.55, 0.41, 0.29),
    "burnished": (0.24, 0.25, 0.28),
    "yellow zinc": (0.60, 0.57, 0.40),
}
BENCHES = {
    "grey mat": (0.30, 0.31, 0.32),
    "black foam": (0.07, 0.07, 0.08),
    "green mat": (0.12, 0.28, 0.22),
    "blue cloth": (0.16, 0.24, 0.38),
    "paper": (0.72, 0.71, 0.68),
    "wood": (0.48, 0.34, 0.22),
    "red tray": (0.42, 0.13, 0.11),
}
# Heat tint from the hot middle (0) to bare metal (beyond 1): blue, violet, brown, straw.
HEAT_STOPS = (0.0, 0.35, 0.6, 0.82, 1.05)
HEAT_TINTS = ((0.3, 0.25, 0.7, 1.0, 1.0), (0.5, 0.2, 0.25, 0.6, 1.0), (0.85, 0.85, 0.6, 0.2, 1.0))
# The camera's tone curve: from 10-bit linear light to 8 bits.
TONES = np.round(255 * np.linspace(0, 1, 1024) ** 0.6).astype(np.uint8)
# Half the central crop that evaluation keeps is 0.4375; defects start well within it.
DEFECT_REACH = 0.2


@dataclass(frozen=True)
class Frame:
    """Where each pixel lies: in the picture (x, y) and on the part (u, v)."""

    x: Plane
    y: Plane
    u: Plane
    v: Plane
    short: int  # pixels
    angle: float  # of the part, clockwise
    centre: Point  # of the part in the picture


@dataclass(frozen=True)
class Part:
    """A part's outline: negative distances are inside, drilled holes are (u, v, radius)."""

    frame: Frame
    outline: Plane
    drilled: list[tuple[float, float, float]]
    barrel: float = 0.0  # radius of a round bar, 0 for a flat part
    stepped: bool = True  # may have a step along its edge

    def holes_moved(self, shift: Point) -> Plane:
        """Distance to the nearest drilled hole, negative within, with all of them moved."""
        distance = np.full(self.outline.shape, 9.0, dtype=np.float32)
        for u, v, radius in self.drilled:
            du, dv = self.frame.u - (u + shift[0]), self.frame.v - (v + shift[1])
            np.minimum(distance, np.sqrt(du * du + dv * dv) - radius, out=distance)
        return distance

    @cached_property
    def holes(self) -> Plane:
        """Distance to the nearest drilled hole, negative within."""
        return self.holes_moved((0.0, 0.0))

    @cached_property
    def depth(self) -> Plane:
        """Distance into the metal from the nearest edge, negative outside of it."""
        return np.minimum(-self.outline, self.holes)


@dataclass
class Surface:
    """What light falls on: height and linear colour of each pixel. Defects change both."""

    height: Plane
    colour: Colour


def rgb(red: float, green: float, blue: float) -> Colour:
    """One colour, to be spread over planes."""
    return np.array([red, green, blue], dtype=np.float32).reshape(3, 1, 1)


def new_frame(rng: Rng) -> Frame:
    """Pick a picture's size and aspect and the place and turn of the part in it."""
    short = int(rng.integers(140, 257))
    long = int(min(360, round(short * rng.uniform(1.0, 1.5))))
    width, height = (long, short) if rng.random() < 0.6 else (short, long)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (x - (width - 1) / 2) / short
    y = (y - (height - 1) / 2) / short
    angle = float(rng.uniform(0, 2 * math.pi))
    centre = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05)))
    u = math.cos(angle) * (x - centre[0]) + math.sin(angle) * (y - centre[1])
    v = -math.sin(angle) * (x - centre[0]) + math.cos(angle) * (y - centre[1])
    return Frame(x, y, u, v, short, angle, centre)


# --- noise -----------------------------------------------------------------------------------


def _resized(grid: Plane, shape: tuple[int, ...]) -> Plane:
    # Bilinear is quicker, and shows facets only where the cells are large.
    coarse = shape[0] > 5 * grid.shape[0]
    method = Image.Resampling.BICUBIC if coarse else Image.Resampling.BILINEAR
    picture = Image.fromarray(grid).resize((shape[1], shape[0]), method)
    return np.asarray(picture, dtype=np.float32)


def clouds(rng: Rng, shape: tuple[int, ...], cells: float, octaves: int = 3) -> Plane:
    """Soft noise of about unit spread; the largest blobs are 1/cells of the short side."""
    total = np.zeros(shape, dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        scale = cells * 2**octave / min(shape)
        rows, columns = (max(2, round(side * scale) + 1) for side in shape)
        total += weight * _resized(rng.standard_normal((rows, columns), np.float32), shape)
        weight *= 0.55
    return total


def streaks(rng: Rng, frame: Frame, fineness: int, length: int) -> Plane:
    """Noise drawn out along the part's u axis, `fineness` lines and `length` runs per unit."""
    reach = 1.3
    rows, columns = int(2 * reach * fineness), int(2 * reach * length)
    grid = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    step_u, step_v = length / frame.short, fineness / frame.short
    cos, sin = math.cos(frame.angle), math.sin(frame.angle)
    start_u = (float(frame.u[0, 0]) + reach) * length
    start_v = (float(frame.v[0, 0]) + reach) * fineness
    affine = (cos * step_u, sin * step_u, start_u, -sin * step_v, cos * step_v, start_v)
    size = (frame.x.shape[1], frame.x.shape[0])
    drawn = grid.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(drawn, dtype=np.float32)


def rings(rng: Rng, radius: Plane, fineness: int) -> Plane:
    """Noise that depends on the radius alone, as a lathe leaves it."""
    line = rng.standard_normal(2 * fineness)
    return np.interp(radius * fineness, np.arange(len(line)), line).astype(np.float32)


def ramp(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, smooth between them."""
    share: Plane = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


# --- outlines --------------------------------------------------------------------------------


def _box(u: Plane, v: Plane, half_u: float, half_v: float, corner: float) -> Plane:
    du, dv = np.abs(u) - (half_u - corner), np.abs(v) - (half_v - corner)
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return outside + np.minimum(np.maximum(du, dv), 0) - corner


def plate(frame: Frame, rng: Rng) -> Part:
    """A rectangular plate with a drilled hole near each corner, or two of them."""
    half_u, half_v = float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.31, 0.42))
    outline = _box(frame.u, frame.v, half_u, half_v, float(rng.uniform(0.02, 0.09)))
    radius = float(rng.uniform(0.025, 0.045))
    inset = radius + 0.045
    corners = [(su * (half_u - inset), sv * (half_v - inset)) for su in (-1, 1) for sv in (-1, 1)]
    kept = corners if rng.random() < 0.6 else corners[::3]
    return Part(frame, outline, [(u, v, radius) for u, v in kept])


def washer(frame: Frame, rng: Rng) -> Part:
    """A ring with a clean bore."""
    outline = np.hypot(frame.u, frame.v) - float(rng.uniform(0.42, 0.5))
    return Part(frame, outline, [(0.0, 0.0, float(rng.uniform(0.10, 0.16)))])


def flange(frame: Frame, rng: Rng) -> Part:
    """A disc with a circle of bolt holes, and a bore in most."""
    radius = float(rng.uniform(0.43, 0.5))
    count = int(rng.integers(3, 9))
    bolt = float(rng.uniform(0.022, 0.036))
    circle = radius - bolt - 0.04
    angles = [2 * math.pi * k / count for k in range(count)]
    holes = [(circle * math.cos(a), circle * math.sin(a), bolt) for a in angles]
    if rng.random() < 0.7:
        holes.append((0.0, 0.0, float(rng.uniform(0.06, 0.11))))
    return Part(frame, np.hypot(frame.u, frame.v) - radius, holes)


def gear(frame: Frame, rng: Rng) -> Part:
    """A spur gear with a bore."""
    teeth = int(rng.integers(14, 29))
    tooth = 2.2 / teeth * 0.42
    wave = np.cos(np.arctan2(frame.v, frame.u) * teeth)
    outline = np.hypot(frame.u, frame.v) - 0.42 - tooth * (np.clip(2.2 * wave, -1, 1) * 0.5)
    bore = (0.0, 0.0, float(rng.uniform(0.07, 0.12)))
    return Part(frame, outline * 0.8, [bore], stepped=False)


def bracket(frame: Frame, rng: Rng) -> Part:
    """An L of two arms with a hole at each end."""
    arm, width = float(rng.uniform(0.42, 0.48)), float(rng.uniform(0.18, 0.21))
    corner, aside = arm - width, 0.14  # aside: so that the metal, not the gap, is in the middle
    upright = _box(frame.u + corner - aside, frame.v + aside, width, arm, 0.04)
    foot = _box(frame.u - aside, frame.v - corner + aside, arm, width, 0.04)
    end, radius = arm - 0.08, float(rng.uniform(0.03, 0.045))
    holes = [(aside - corner, -end - aside, radius), (aside + end, corner - aside, radius)]
    return Part(frame, np.minimum(upright, foot), holes)


def rod(frame: Frame, rng: Rng) -> Part:
    """A turned round bar, lying across the picture."""
    radius = float(rng.uniform(0.24, 0.33))
    outline = _box(frame.u, frame.v, float(rng.uniform(0.5, 0.9)), radius, 0.02)
    return Part(frame, outline, [], barrel=radius)


def nut(frame: Frame, rng: Rng) -> Part:
    """A hexagonal block with a bore."""
    sides = [
        frame.u * math.cos(k * math.pi / 3) + frame.v * math.sin(k * math.pi / 3) for k in range(3)
    ]
    outline = np.maximum.reduce([np.abs(side) for side in sides]) - float(rng.uniform(0.4, 0.47))
    return Part(frame, outline, [(0.0, 0.0, float(rng.uniform(0.10, 0.15)))])


SHAPES: tuple[Callable[[Frame, Rng], Part], ...] = (
    plate,
    plate,
    washer,
    flange,
    gear,
    bracket,
    rod,
    nut,
)


# --- surfaces --------------------------------------------------------------------------------


def finish(frame: Frame, part: Part, rng: Rng) -> Plane:
    """Machining or casting marks as a factor on the colour, around 1."""
    kind = rng.choice(["brushed", "turned", "milled", "cast", "ground"])
    strength = float(rng.uniform(0.6, 1.2))
    shape = frame.u.shape
    if part.barrel or kind == "brushed":
        marks = 0.07 * streaks(rng, frame, 190, 3) + 0.05 * streaks(rng, frame, 50, 2)
    elif kind == "turned":
        marks = 0.07 * rings(rng, np.hypot(frame.u, frame.v), 170)
    elif kind == "milled":
        radius = np.hypot(frame.u - 0.2, frame.v - float(rng.uniform(0.7, 1.2)))
        pitch = float(rng.uniform(0.018, 0.03))
        marks = 0.05 * np.sin(radius * (2 * math.pi / pitch)) + 0.04 * rings(rng, radius, 200)
    elif kind == "cast":
        marks = 0.07 * clouds(rng, shape, 45, 2) + 0.03 * clouds(rng, shape, 5, 2)
    else:
        marks = 0.05 * streaks(rng, frame, 150, 20)
    return 1 + strength * marks


def new_surface(frame: Frame, part: Part, rng: Rng) -> Surface:
    """The sound part: bevelled edges, drilled holes with a chamfer, metal and its marks."""
    bevel = float(rng.uniform(0.012, 0.03))
    height = 0.6 * bevel * ramp(part.depth, 0, bevel)
    if part.barrel:
        across = np.clip(frame.v / part.barrel, -0.97, 0.97)
        height += 0.8 * part.barrel * np.sqrt(1 - across * across)
    elif part.stepped and rng.random() < 0.25:  # a turned or milled step, parallel to the outline
        height += 0.35 * bevel * ramp(-part.outline, 0.05, 0.05 + bevel)
    metal = rgb(*METALS[str(rng.choice(list(METALS)))]) * float(rng.uniform(0.85, 1.15))
    marks = finish(frame, part, rng) + 0.03 * clouds(rng, frame.u.shape, 3, 2)
    return Surface(height, metal * marks)


def bench(frame: Frame, rng: Rng) -> Colour:
    """The colour of what the part lies on."""
    name = str(rng.choice(list(BENCHES)))
    shape = frame.u.shape
    grain = 0.06 * clouds(rng, shape, 30, 3) + 0.05 * clouds(rng, shape, 2, 2)
    if name == "wood":
        stretched = _resized(rng.standard_normal((60, 4), np.float32), shape)
        grain = 0.5 * grain + 0.13 * stretched
    colour: Colour = rgb(*BENCHES[name]) * float(rng.uniform(0.75, 1.25)) * (1 + grain)
    return colour


# --- defects ---------------------------------------------------------------------------------


def defect_place(frame: Frame, part: Part, rng: Rng, clearance: float) -> Point:
    """A point of the metal (picture coordinates), `clearance` off edges where there is room."""
    near = (np.abs(frame.x) < DEFECT_REACH) & (np.abs(frame.y) < DEFECT_REACH)
    room = np.where(near, part.depth, -9)
    most = float(room.max())
    rows, columns = np.nonzero(room >= min(clearance, most - 0.05 * abs(most)))
    pick = int(rng.integers(len(rows)))
    row, column = rows[pick], columns[pick]
    return float(frame.x[row, column]), float(frame.y[row, column])


class Pen:
    """Draws smooth-edged masks (0..1) on the picture from points in short sides."""

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
        """A run of straight pieces, each with its own width."""
        for start, end, width in zip(points, points[1:], widths, strict=False):
            thick = max(1, round(width * self._scale))
            self._draw.line((self._pixel(start), self._pixel(end)), fill=255, width=thick)
            self.dot(end, width / 2)  # a round joint

    def dot(self, centre: Point, radius: float) -> None:
        """A filled circle."""
        (x, y), r = self._pixel(centre), radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=255)

    def blob(self, corners: list[Point]) -> None:
        """A filled polygon."""
        self._draw.polygon([self._pixel(corner) for corner in corners], fill=255)

    def mask(self, soften: float = 0.0) -> Plane:
        """What was drawn, 0..1, at the picture's size; `soften` is a blur in short sides."""
        image = self._image.reduce(self.FINER)
        if soften:
            image = image.filter(ImageFilter.GaussianBlur(soften * self._scale / self.FINER))
        return np.asarray(image, dtype=np.float32) / 255


def _turned(middle: Point, turn: float, along: Plane, across: Plane) -> list[Point]:
    """Points given along and across a direction, as points of the picture."""
    x = middle[0] + math.cos(turn) * along - math.sin(turn) * across
    y = middle[1] + math.sin(turn) * along + math.cos(turn) * across
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _blend(surface: Surface, mask: Plane, colour: Colour | float) -> None:
    surface.colour += mask * (colour - surface.colour)


def scratch(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A few straightish lines across the marks: a bright groove with a dark burr beside it."""
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
    """A smooth hollow with a low rim, seen by its shading alone."""
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
    """The corners of a rough round outline."""
    count = int(rng.integers(9, 15))
    around = np.linspace(0, 2 * math.pi, count, endpoint=False)
    reach = radius * rng.uniform(0.65, 1.25, count)
    return _turned(middle, 0.0, reach * np.cos(around), reach * np.sin(around))


def hole(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A torn hole with a raw bright lip, and a few pores beside it."""
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
    """A discoloured patch without relief, with splashes: oil, rust, heat tint or coolant."""
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
    """A jagged dark line that thins out and branches."""
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
    """Draw a zigzag that thins out from `start`; gives its corners."""
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


# --- light and camera ------------------------------------------------------------------------


def lit(frame: Frame, surface: Surface, light: float, rng: Rng) -> Colour:
    """The surface's colour under a lamp from direction `light`, with sheen and highlights."""
    down, right = np.gradient(surface.height, 1 / frame.short)
    length = np.sqrt(1 + right * right + down * down)
    lift = float(rng.uniform(0.5, 0.8))
    lamp = (math.cos(light) * math.cos(lift), math.sin(light) * math.cos(lift), math.sin(lift))
    facing = (lamp[2] - right * lamp[0] - down * lamp[1]) / length
    norm = math.hypot(lamp[0], lamp[1], lamp[2] + 1)
    half = (lamp[0] / norm, lamp[1] / norm, (lamp[2] + 1) / norm)
    mirror = np.clip((half[2] - right * half[0] - down * half[1]) / length, 0, 1)
    towards = frame.x * lamp[0] + frame.y * lamp[1]
    fall = 1 + float(rng.uniform(0.2, 0.7)) * towards
    band = np.exp(-(((frame.u - float(rng.uniform(-0.4, 0.4))) / 0.3) ** 2))
    diffuse = 0.25 + 1.05 * np.clip(facing, 0, None) * fall + float(rng.uniform(0, 0.25)) * band
    gloss = mirror * mirror * mirror
    for _ in range(3):
        gloss *= gloss  # to the 24th power, without the slow pow()
    shine = float(rng.uniform(0.1, 0.35)) * (gloss - half[2] ** 24)
    seen: Colour = surface.colour * diffuse + np.clip(shine, 0, None)
    return seen


def shadow(frame: Frame, solid: Plane, light: float, rng: Rng) -> Plane:
    """How much light (0..1) reaches the bench beside the part."""
    reach = float(rng.uniform(0.02, 0.06)) * frame.short
    mask = Image.fromarray((255 * solid).astype(np.uint8))
    move = (1, 0, math.cos(light) * reach, 0, 1, math.sin(light) * reach)
    cast = mask.transform(mask.size, Image.Transform.AFFINE, move)
    cast = cast.filter(ImageFilter.BoxBlur(0.7 * reach))
    return 1 - 0.75 * np.asarray(cast, dtype=np.float32) / 255


def photograph(frame: Frame, scene: Colour, rng: Rng) -> Image.Image:
    """Exposure, colour of the light, vignette, focus and sensor noise; gives 8-bit RGB."""
    warmth = float(rng.uniform(-0.13, 0.13))
    vignette = 1 - float(rng.uniform(0.05, 0.45)) * (frame.x**2 + frame.y**2)
    exposure = 1023 * float(rng.uniform(0.7, 1.05)) * rgb(1 + warmth, 1, 1 - warmth)
    tones = TONES.take((scene * exposure * vignette).astype(np.int32), mode="clip")
    noise = rng.standard_normal(frame.x.shape, np.float32) * float(rng.uniform(1, 5))
    grainy = np.clip(tones + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(grainy, 0, -1)))
    side = float(rng.uniform(0.0, 0.6))  # weight of a neighbour: 0.6 is a slightly soft lens
    kernel = (side**2, side, side**2, side, 1.0, side, side**2, side, side**2)
    return image.filter(ImageFilter.Kernel((3, 3), kernel))


def draw_picture(label: str, rng: Rng) -> Image.Image:
    """One upright RGB picture of a part with the defect `label` (a key of `DEFECTS`)."""
    frame = new_frame(rng)
    part = SHAPES[int(rng.integers(len(SHAPES)))](frame, rng)
    surface = new_surface(frame, part, rng)
    light = float(rng.uniform(0, 2 * math.pi))
    table = bench(frame, rng)
    spoil = DEFECTS[label]
    if spoil is not None:
        spoil(frame, part, surface, rng)
    solid = np.clip(0.5 + part.depth * frame.short, 0, 1)
    # Seen a little from the side, a drilled hole shows a crescent of its wall.
    tilt = float(rng.uniform(0, 2 * math.pi))
    deeper = part.holes_moved((0.012 * math.cos(tilt), 0.012 * math.sin(tilt)))
    wall = np.clip(0.5 + deeper * frame.short, 0, 1) * np.clip(0.5 - part.holes * frame.short, 0, 1)
    under = table * shadow(frame, solid, light, rng)
    under += wall * (0.35 * surface.colour - under)
    scene = under + solid * (lit(frame, surface, light, rng) - under)
    return photograph(frame, scene, rng)
