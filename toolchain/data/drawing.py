"""Draws one machined part: outline, surface, light, and a defect where one is asked for.

Lengths are in short sides of the picture (1.0 is its short side), angles in radians, with the
origin in the middle of the picture. So a defect has the same share of every picture, whatever
its size in pixels. Height is in the same unit and positive towards the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane = NDArray[np.float32]
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
# Half the central crop that evaluation keeps is 0.4375; defects start well within it.
DEFECT_REACH = 0.24


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

    outline: Plane
    drilled: list[tuple[float, float, float]]
    barrel: float = 0.0  # radius of a round bar, 0 for a flat part


@dataclass
class Surface:
    """What light falls on: height and linear colour per pixel. Defects change both."""

    height: Plane
    colour: NDArray[np.float32]


def new_frame(rng: Rng) -> Frame:
    """Pick a picture's size and aspect and the place and turn of the part in it."""
    short = int(rng.integers(140, 281))
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
    picture = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
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
    share = np.clip((values - low) / (high - low), 0, 1)
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
    return Part(outline, [(u, v, radius) for u, v in kept])


def washer(frame: Frame, rng: Rng) -> Part:
    """A ring with a clean bore."""
    outline = np.hypot(frame.u, frame.v) - float(rng.uniform(0.42, 0.5))
    return Part(outline, [(0.0, 0.0, float(rng.uniform(0.10, 0.16)))])


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
    return Part(np.hypot(frame.u, frame.v) - radius, holes)


def gear(frame: Frame, rng: Rng) -> Part:
    """A spur gear with a bore."""
    teeth = int(rng.integers(14, 29))
    tooth = 2.2 / teeth * 0.42
    wave = np.cos(np.arctan2(frame.v, frame.u) * teeth)
    outline = np.hypot(frame.u, frame.v) - 0.42 - tooth * (np.clip(2.2 * wave, -1, 1) * 0.5)
    return Part(outline * 0.8, [(0.0, 0.0, float(rng.uniform(0.07, 0.12)))])


def bracket(frame: Frame, rng: Rng) -> Part:
    """An L of two arms with a hole at each end."""
    arm, width = float(rng.uniform(0.42, 0.52)), float(rng.uniform(0.17, 0.21))
    shift = arm - width - 0.09
    upright = _box(frame.u + shift, frame.v, width, arm, 0.04)
    foot = _box(frame.u, frame.v - shift, arm, width, 0.04)
    end, radius = arm - 0.08, float(rng.uniform(0.03, 0.045))
    return Part(np.minimum(upright, foot), [(-shift, -end, radius), (end, shift, radius)])


def rod(frame: Frame, rng: Rng) -> Part:
    """A turned round bar, lying across the picture."""
    radius = float(rng.uniform(0.24, 0.33))
    outline = _box(frame.u, frame.v, float(rng.uniform(0.5, 0.9)), radius, 0.02)
    return Part(outline, [], barrel=radius)


def nut(frame: Frame, rng: Rng) -> Part:
    """A hexagonal block with a bore."""
    sides = [
        frame.u * math.cos(k * math.pi / 3) + frame.v * math.sin(k * math.pi / 3) for k in range(3)
    ]
    outline = np.maximum.reduce([np.abs(side) for side in sides]) - float(rng.uniform(0.4, 0.47))
    return Part(outline, [(0.0, 0.0, float(rng.uniform(0.10, 0.15)))])


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


def holes_distance(frame: Frame, part: Part, shift: Point = (0.0, 0.0)) -> Plane:
    """Distance to the nearest drilled hole, negative within; `shift` moves all of them."""
    distance = np.full(frame.u.shape, 9.0, dtype=np.float32)
    for u, v, radius in part.drilled:
        np.minimum(
            distance, np.hypot(frame.u - u - shift[0], frame.v - v - shift[1]) - radius, distance
        )
    return distance


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
    edge = np.minimum(-part.outline, holes_distance(frame, part))
    height = 0.6 * bevel * ramp(edge, 0, bevel)
    if part.barrel:
        across = np.clip(frame.v / part.barrel, -0.97, 0.97)
        height += 0.8 * part.barrel * np.sqrt(1 - across * across)
    elif rng.random() < 0.3:  # a turned or milled step, parallel to the outline
        height += 0.35 * bevel * ramp(edge, 0.07, 0.07 + bevel)
    metal = np.array(METALS[str(rng.choice(list(METALS)))], dtype=np.float32)
    metal = metal * float(rng.uniform(0.85, 1.15))
    marks = finish(frame, part, rng) + 0.03 * clouds(rng, frame.u.shape, 3, 2)
    return Surface(height, metal * marks[..., None])


def bench(frame: Frame, rng: Rng) -> NDArray[np.float32]:
    """The colour of what the part lies on."""
    name = str(rng.choice(list(BENCHES)))
    shape = frame.u.shape
    grain = 0.06 * clouds(rng, shape, 30, 3) + 0.05 * clouds(rng, shape, 2, 2)
    if name == "wood":
        stretched = _resized(rng.standard_normal((60, 4), np.float32), shape)
        grain = 0.5 * grain + 0.13 * stretched
    colour = np.array(BENCHES[name], dtype=np.float32) * float(rng.uniform(0.75, 1.25))
    return colour * (1 + grain)[..., None]


# --- defects ---------------------------------------------------------------------------------


def defect_place(frame: Frame, part: Part, rng: Rng, clearance: float) -> Point:
    """A point of the metal (picture coordinates), `clearance` off edges where there is room."""
    edge = np.minimum(-part.outline, holes_distance(frame, part))
    near = (np.abs(frame.x) < DEFECT_REACH) & (np.abs(frame.y) < DEFECT_REACH)
    room = np.where(near, edge, -9)
    rows, columns = np.nonzero(room >= min(clearance, 0.95 * float(room.max())))
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
        return tuple(m + p * self._scale for m, p in zip(self._middle, point, strict=True))  # type: ignore[return-value]

    def line(self, points: list[Point], widths: list[float], level: float = 1.0) -> None:
        """A run of straight pieces, each with its own width."""
        for start, end, width in zip(points, points[1:], widths, strict=False):
            a, b = self._pixel(start), self._pixel(end)
            self._draw.line((a, b), fill=round(255 * level), width=max(1, round(width * self._scale)))
            self.dot(end, width / 2, level)

    def dot(self, centre: Point, radius: float, level: float = 1.0) -> None:
        """A filled circle."""
        (x, y), r = self._pixel(centre), radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=round(255 * level))

    def blob(self, corners: list[Point]) -> None:
        """A filled polygon."""
        self._draw.polygon([self._pixel(corner) for corner in corners], fill=255)

    def mask(self, soften: float = 0.0) -> Plane:
        """What was drawn, 0..1, at the picture's size; `soften` is a blur in short sides."""
        image = self._image.reduce(self.FINER)
        if soften:
            image = image.filter(ImageFilter.GaussianBlur(soften * self._scale / self.FINER))
        return np.asarray(image, dtype=np.float32) / 255


def _blend(surface: Surface, mask: Plane, colour: NDArray[np.float32] | float) -> None:
    surface.colour += mask[..., None] * (colour - surface.colour)


def scratch(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """One to three thin straightish lines across the marks: a bright groove, a dark burr."""
    x, y = defect_place(frame, part, rng, 0.12)
    heading = frame.angle + math.pi / 2 + float(rng.uniform(-0.7, 0.7))
    groove, burr = Pen(frame), Pen(frame)
    for _ in range(int(rng.integers(2, 5))):
        turn = heading + float(rng.uniform(-0.12, 0.12))
        along, across = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
        length, width = float(rng.uniform(0.4, 0.75)), float(rng.uniform(0.009, 0.016))
        aside, bend = float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.03, 0.03))
        slide = float(rng.uniform(-0.08, 0.08))
        steps = np.linspace(-0.5, 0.5, 13)
        off = aside + bend * (4 * steps**2)
        points = [
            (x + along[0] * (s * length + slide) + across[0] * o, y + along[1] * (s * length + slide) + across[1] * o)
            for s, o in zip(steps.tolist(), off.tolist(), strict=True)
        ]
        widths = [width * (1.05 - 1.3 * abs(s) ** 1.5) for s in steps.tolist()]
        groove.line(points, widths)
        burr.line([(px + across[0] * width, py + across[1] * width) for px, py in points], widths)
    _blend(surface, 0.75 * burr.mask(), 0.3 * surface.colour)
    _blend(surface, 0.9 * groove.mask(), 0.35 * surface.colour + 0.62)


def dent(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A smooth hollow with a low rim, seen by its shading alone."""
    x, y = defect_place(frame, part, rng, 0.14)
    radius = float(rng.uniform(0.13, 0.2))
    squeeze, turn = float(rng.uniform(0.7, 1.0)), float(rng.uniform(0, math.pi))
    dx, dy = frame.x - x, frame.y - y
    along = (math.cos(turn) * dx + math.sin(turn) * dy) / radius
    across = (-math.sin(turn) * dx + math.cos(turn) * dy) / (radius * squeeze)
    away = np.hypot(along, across) * (1 + 0.06 * clouds(rng, frame.x.shape, 5, 2))
    hollow = np.clip(1 - away * away, 0, 1) ** 1.5
    rim = np.exp(-(((away - 1.08) / 0.16) ** 2))
    surface.height += radius * float(rng.uniform(0.32, 0.45)) * (0.12 * rim - hollow)
    _blend(surface, 0.25 * hollow, 0.6 * surface.colour)


def hole(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A torn hole with a raw bright lip, and a few pores beside it."""
    x, y = defect_place(frame, part, rng, 0.1)
    pit = Pen(frame)
    for pore in range(int(rng.integers(3, 8))):
        away = 0.0 if pore == 0 else float(rng.uniform(0.09, 0.17))
        radius = float(rng.uniform(0.055, 0.085) if pore == 0 else rng.uniform(0.012, 0.03))
        turn = float(rng.uniform(0, 2 * math.pi))
        cx, cy = x + away * math.cos(turn), y + away * math.sin(turn)
        count = int(rng.integers(9, 15))
        pit.blob(
            [
                (cx + r * math.cos(a), cy + r * math.sin(a))
                for a, r in zip(
                    np.linspace(0, 2 * math.pi, count, endpoint=False).tolist(),
                    (radius * rng.uniform(0.65, 1.25, count)).tolist(),
                    strict=True,
                )
            ]
        )
    inside, around = pit.mask(), pit.mask(0.012)
    lip = np.clip(4 * around * (1 - inside), 0, 1) * ramp(clouds(rng, frame.x.shape, 14, 2), -1, 0.5)
    surface.height += 0.03 * lip - 0.05 * pit.mask(0.006)
    _blend(surface, 0.45 * lip, 0.5 * surface.colour + 0.4)
    _blend(surface, 0.97 * inside, 0.03 + 0.1 * surface.colour * (1 - around)[..., None])


def stain(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A discoloured patch without relief: oil, rust, heat tint or dried coolant."""
    x, y = defect_place(frame, part, rng, 0.12)
    radius = float(rng.uniform(0.16, 0.26))
    away = np.hypot(frame.x - x, frame.y - y) / radius + 0.2 * clouds(rng, frame.x.shape, 5, 3)
    patch = (1 - ramp(away, 0.75, 1.05)).astype(np.float32)
    kind = rng.choice(["oil", "rust", "heat", "coolant"])
    if kind == "oil":
        _blend(surface, 0.85 * patch, surface.colour * np.array([0.34, 0.26, 0.15], np.float32))
    elif kind == "rust":
        grains = patch * ramp(clouds(rng, frame.x.shape, 18, 3), -1.2, 0.4)
        _blend(surface, 0.9 * grains, np.array([0.36, 0.16, 0.06], np.float32))
    elif kind == "heat":
        stops = np.array([0.0, 0.3, 0.55, 0.8, 1.05])
        tints = np.array(
            [[0.35, 0.5, 0.75], [0.25, 0.25, 0.85], [0.65, 0.3, 0.7], [1.0, 0.62, 0.3], [1, 1, 1]]
        )
        tint = np.stack([np.interp(away, stops, tints[:, c]) for c in range(3)], axis=-1)
        surface.colour *= tint.astype(np.float32)
    else:
        ring = np.exp(-(((away - 0.85) / 0.12) ** 2)).astype(np.float32)
        _blend(surface, 0.6 * patch, np.array([0.78, 0.8, 0.76], np.float32))
        _blend(surface, 0.7 * ring, np.array([0.22, 0.26, 0.24], np.float32))


def crack(frame: Frame, part: Part, surface: Surface, rng: Rng) -> None:
    """A jagged dark line that thins out and branches."""
    x, y = defect_place(frame, part, rng, 0.1)
    heading = float(rng.uniform(0, 2 * math.pi))
    pen = Pen(frame)

    def grow(start: Point, turn: float, pieces: int, width: float, branches: int) -> None:
        points, swing = [start], float(rng.choice([-1, 1]))
        for _ in range(pieces):
            swing = -swing
            bent = turn + swing * float(rng.uniform(0.25, 0.85))
            step = float(rng.uniform(0.025, 0.055))
            px, py = points[-1]
            points.append((px + step * math.cos(bent), py + step * math.sin(bent)))
        pen.line(points, [width * (1 - 0.75 * k / pieces) for k in range(pieces)])
        for _ in range(branches):
            fork = int(rng.integers(1, pieces - 1))
            aside = turn + float(rng.choice([-1, 1])) * float(rng.uniform(0.6, 1.1))
            grow(points[fork], aside, int(rng.integers(3, 6)), 0.65 * width, 0)

    width = float(rng.uniform(0.018, 0.028))
    grow((x, y), heading, int(rng.integers(6, 9)), width, int(rng.integers(1, 3)))
    grow((x, y), heading + math.pi + float(rng.uniform(-0.4, 0.4)), int(rng.integers(5, 8)), width, 1)
    dark = pen.mask()
    surface.height -= 0.02 * pen.mask(0.006)
    _blend(surface, 0.95 * dark, 0.02 + 0.05 * surface.colour)


DEFECTS: dict[str, Callable[[Frame, Part, Surface, Rng], None] | None] = {
    "crack": crack,
    "dent": dent,
    "good": None,
    "hole": hole,
    "scratch": scratch,
    "stain": stain,
}


# --- light and camera ------------------------------------------------------------------------


def lit(frame: Frame, surface: Surface, light: float, rng: Rng) -> NDArray[np.float32]:
    """The surface's colour under a lamp from direction `light`, with sheen and highlights."""
    down, right = np.gradient(surface.height, 1 / frame.short)
    length = np.sqrt(1 + right * right + down * down)
    lift = float(rng.uniform(0.6, 0.95))
    lamp = (math.cos(light) * math.cos(lift), math.sin(light) * math.cos(lift), math.sin(lift))
    facing = (lamp[2] - right * lamp[0] - down * lamp[1]) / length
    half = np.array([lamp[0], lamp[1], lamp[2] + 1])
    half /= np.linalg.norm(half)
    mirror = np.clip((half[2] - right * half[0] - down * half[1]) / length, 0, 1)
    towards = frame.x * lamp[0] + frame.y * lamp[1]
    fall = 1 + float(rng.uniform(0.2, 0.7)) * towards
    band = np.exp(-(((frame.u - float(rng.uniform(-0.4, 0.4))) / 0.3) ** 2))
    diffuse = 0.25 + 1.05 * np.clip(facing, 0, None) * fall + float(rng.uniform(0, 0.25)) * band
    shine = float(rng.uniform(0.1, 0.35)) * (mirror**24 - half[2] ** 24)
    return surface.colour * diffuse[..., None] + np.clip(shine, 0, None)[..., None]


def shadow(frame: Frame, solid: Plane, light: float, rng: Rng) -> Plane:
    """How much light (0..1) reaches the bench beside the part."""
    reach = float(rng.uniform(0.02, 0.06)) * frame.short
    mask = Image.fromarray((255 * solid).astype(np.uint8))
    move = (1, 0, math.cos(light) * reach, 0, 1, math.sin(light) * reach)
    cast = mask.transform(mask.size, Image.Transform.AFFINE, move)
    cast = cast.filter(ImageFilter.GaussianBlur(0.5 * reach))
    return 1 - 0.75 * np.asarray(cast, dtype=np.float32) / 255


def photograph(frame: Frame, scene: NDArray[np.float32], rng: Rng) -> Image.Image:
    """Exposure, colour of the light, vignette, focus and sensor noise; gives 8-bit RGB."""
    warmth = float(rng.uniform(-0.13, 0.13))
    gains = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    vignette = 1 - float(rng.uniform(0.05, 0.45)) * (frame.x**2 + frame.y**2)
    linear = scene * gains * (float(rng.uniform(0.7, 1.15)) * vignette)[..., None]
    tones = np.clip(linear, 0, 1) ** 0.6
    noise = rng.standard_normal(scene.shape, np.float32) * float(rng.uniform(0.004, 0.018))
    image = Image.fromarray((255 * np.clip(tones, 0, 1)).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.9))))
    grainy = np.asarray(image, dtype=np.float32) + 255 * noise
    return Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))


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
    holes = holes_distance(frame, part)
    solid = np.clip(0.5 + np.minimum(-part.outline, holes) * frame.short, 0, 1)
    # Seen a little from the side, a drilled hole shows a crescent of its wall.
    tilt = float(rng.uniform(0, 2 * math.pi))
    deeper = holes_distance(frame, part, (0.012 * math.cos(tilt), 0.012 * math.sin(tilt)))
    wall = np.clip(0.5 + deeper * frame.short, 0, 1) * np.clip(0.5 - holes * frame.short, 0, 1)
    under = table * shadow(frame, solid, light, rng)[..., None]
    under += wall[..., None] * (0.35 * surface.colour - under)
    scene = under + solid[..., None] * (lit(frame, surface, light, rng) - under)
    return photograph(frame, scene, rng)
