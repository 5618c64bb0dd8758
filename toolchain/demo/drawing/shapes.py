"""Outlines of parts: plates, washers, flanges, gears, brackets, rods and nuts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from toolchain.demo.drawing.canvas import Frame, Plane, Point, Rng


@dataclass(frozen=True)
class Part:
    """A part: the distance of each pixel to its outline, negative inside, and its drilled holes."""

    frame: Frame
    outline: Plane
    drilled: list[tuple[float, float, float]]  # (u, v, radius)
    barrel: float = 0.0  # radius of a round bar, 0 for a flat part
    stepped: bool = True  # may have a step along its edge

    def holes_moved(self, shift: Point) -> Plane:
        """Return the distance to the nearest drilled hole, negative inside, with all moved."""
        distance = np.full(self.outline.shape, 9.0, dtype=np.float32)
        for u, v, radius in self.drilled:
            du, dv = self.frame.u - (u + shift[0]), self.frame.v - (v + shift[1])
            np.minimum(distance, np.sqrt(du * du + dv * dv) - radius, out=distance)
        return distance

    @cached_property
    def holes(self) -> Plane:
        """The distance to the nearest drilled hole, negative inside."""
        return self.holes_moved((0.0, 0.0))

    @cached_property
    def depth(self) -> Plane:
        """The distance from the nearest edge, positive on the metal and negative outside."""
        return np.minimum(-self.outline, self.holes)


def _box(u: Plane, v: Plane, half_u: float, half_v: float, corner: float) -> Plane:
    """Return the distance to a box with rounded corners, negative inside."""
    du, dv = np.abs(u) - (half_u - corner), np.abs(v) - (half_v - corner)
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return outside + np.minimum(np.maximum(du, dv), 0) - corner


def plate(frame: Frame, rng: Rng) -> Part:
    """Return a rectangular plate with a drilled hole near each corner, or two of them."""
    half_u, half_v = float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.31, 0.42))
    outline = _box(frame.u, frame.v, half_u, half_v, float(rng.uniform(0.02, 0.09)))
    radius = float(rng.uniform(0.025, 0.045))
    inset = radius + 0.045
    corners = [(su * (half_u - inset), sv * (half_v - inset)) for su in (-1, 1) for sv in (-1, 1)]
    kept = corners if rng.random() < 0.6 else corners[::3]
    return Part(frame, outline, [(u, v, radius) for u, v in kept])


def washer(frame: Frame, rng: Rng) -> Part:
    """Return a ring with a clean bore."""
    outline = np.hypot(frame.u, frame.v) - float(rng.uniform(0.42, 0.5))
    return Part(frame, outline, [(0.0, 0.0, float(rng.uniform(0.10, 0.16)))])


def flange(frame: Frame, rng: Rng) -> Part:
    """Return a disc with a circle of bolt holes, and a bore in most."""
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
    """Return a spur gear with a bore."""
    teeth = int(rng.integers(14, 29))
    tooth = 2.2 / teeth * 0.42
    wave = np.cos(np.arctan2(frame.v, frame.u) * teeth)
    outline = np.hypot(frame.u, frame.v) - 0.42 - tooth * (np.clip(2.2 * wave, -1, 1) * 0.5)
    bore = (0.0, 0.0, float(rng.uniform(0.07, 0.12)))
    return Part(frame, outline * 0.8, [bore], stepped=False)


def bracket(frame: Frame, rng: Rng) -> Part:
    """Return an L of two arms with a hole at each end."""
    arm, width = float(rng.uniform(0.42, 0.48)), float(rng.uniform(0.18, 0.21))
    corner, aside = (
        arm - width,
        0.14,
    )  # aside: puts metal, not the gap between the arms, in the middle
    arm_v = _box(frame.u + corner - aside, frame.v + aside, width, arm, 0.04)
    arm_u = _box(frame.u - aside, frame.v - corner + aside, arm, width, 0.04)
    end, radius = arm - 0.08, float(rng.uniform(0.03, 0.045))
    holes = [(aside - corner, -end - aside, radius), (aside + end, corner - aside, radius)]
    return Part(frame, np.minimum(arm_v, arm_u), holes)


def rod(frame: Frame, rng: Rng) -> Part:
    """Return a turned round bar."""
    radius = float(rng.uniform(0.24, 0.33))
    outline = _box(frame.u, frame.v, float(rng.uniform(0.5, 0.9)), radius, 0.02)
    return Part(frame, outline, [], barrel=radius)


def nut(frame: Frame, rng: Rng) -> Part:
    """Return a hexagonal block with a bore."""
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
"""What draws an outline; plates are twice as frequent as the others."""
