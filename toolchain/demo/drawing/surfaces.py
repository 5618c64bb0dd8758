"""Materials of the part and of the workbench under it, and the marks of machining."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolchain.demo.drawing.canvas import (
    Colour,
    Frame,
    Plane,
    Rng,
    clouds,
    ramp,
    rgb,
    rings,
    streaks,
    stretched_to,
)
from toolchain.demo.drawing.shapes import Part

# The names only document the colours, which are linear RGB in 0…1.
METALS = {
    "steel": (0.50, 0.52, 0.55),
    "aluminium": (0.66, 0.67, 0.68),
    "cast iron": (0.33, 0.33, 0.34),
    "brass": (0.66, 0.54, 0.29),
    "bronze": (0.55, 0.41, 0.29),
    "burnished": (0.24, 0.25, 0.28),
    "yellow zinc": (0.60, 0.57, 0.40),
}
WORKBENCHES = {
    "grey mat": (0.30, 0.31, 0.32),
    "black foam": (0.07, 0.07, 0.08),
    "green mat": (0.12, 0.28, 0.22),
    "blue cloth": (0.16, 0.24, 0.38),
    "paper": (0.72, 0.71, 0.68),
    "wood": (0.48, 0.34, 0.22),
    "red tray": (0.42, 0.13, 0.11),
}


@dataclass
class Surface:
    """Height and linear colour of each pixel. Defects change both in place."""

    height: Plane
    colour: Colour


def finish(frame: Frame, part: Part, rng: Rng) -> Plane:
    """Return machining or casting marks, as a factor on the colour near 1."""
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
    """Return the surface of a sound part: bevelled edges, drilled holes, metal and its marks."""
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


def new_workbench(frame: Frame, rng: Rng) -> Colour:
    """Return the colour of what the part lies on."""
    name = str(rng.choice(list(WORKBENCHES)))
    shape = frame.u.shape
    grain = 0.06 * clouds(rng, shape, 30, 3) + 0.05 * clouds(rng, shape, 2, 2)
    if name == "wood":
        stretched = stretched_to(rng.standard_normal((60, 4), np.float32), shape)
        grain = 0.5 * grain + 0.13 * stretched
    colour: Colour = rgb(*WORKBENCHES[name]) * float(rng.uniform(0.75, 1.25)) * (1 + grain)
    return colour
