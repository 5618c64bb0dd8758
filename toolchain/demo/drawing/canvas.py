"""Coordinates of an image and of the part in it, and the noise that textures are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.floating[Any]]
# [3, height, width] or [3, 1, 1]: numpy broadcasts masks faster with the channels first.
Colour = NDArray[np.floating[Any]]
Rng = np.random.Generator
Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """Coordinates of each pixel: in the image (x, y) and on the part (u, v)."""

    x: Plane
    y: Plane
    u: Plane
    v: Plane
    short: int  # pixels
    angle: float  # of the part, clockwise
    centre: Point  # of the part in the image


def rgb(red: float, green: float, blue: float) -> Colour:
    """Return a colour [3, 1, 1], which broadcasts over an image."""
    return np.array([red, green, blue], dtype=np.float32).reshape(3, 1, 1)


def new_frame(rng: Rng) -> Frame:
    """Return an image of random size and aspect, with a part at a random place and angle."""
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


def stretched_to(grid: Plane, shape: tuple[int, ...]) -> Plane:
    """Return a coarse grid, resized to the shape of an image."""
    # Bilinear is faster, and shows facets only where the cells are large.
    coarse = shape[0] > 5 * grid.shape[0]
    method = Image.Resampling.BICUBIC if coarse else Image.Resampling.BILINEAR
    resized = Image.fromarray(grid).resize((shape[1], shape[0]), method)
    return np.asarray(resized, dtype=np.float32)


def clouds(rng: Rng, shape: tuple[int, ...], cells: float, octaves: int = 3) -> Plane:
    """Return smooth noise of about unit deviation; its largest blobs measure 1/cells."""
    total = np.zeros(shape, dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        scale = cells * 2**octave / min(shape)
        rows, columns = (max(2, round(side * scale) + 1) for side in shape)
        total += weight * stretched_to(rng.standard_normal((rows, columns), np.float32), shape)
        weight *= 0.55
    return total


def streaks(rng: Rng, frame: Frame, fineness: int, length: int) -> Plane:
    """Return noise stretched along the part's u axis, with `fineness` lines per unit across it."""
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
    """Return noise that depends on the radius alone, like the marks of a lathe."""
    line = rng.standard_normal(2 * fineness)
    return np.interp(radius * fineness, np.arange(len(line)), line).astype(np.float32)


def ramp(values: Plane, low: float, high: float) -> Plane:
    """Return 0 below `low`, 1 above `high`, and a smooth step between them."""
    share: Plane = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)
