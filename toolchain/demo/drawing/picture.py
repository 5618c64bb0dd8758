"""Light and camera: from a part on a workbench to a photograph of it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from toolchain.demo.drawing.canvas import Colour, Frame, Plane, Rng, new_frame, rgb
from toolchain.demo.drawing.defects import DEFECTS
from toolchain.demo.drawing.shapes import SHAPES
from toolchain.demo.drawing.surfaces import Surface, new_surface, new_workbench

# The camera's tone curve: from 10-bit linear light to 8 bits.
TONES = np.round(255 * np.linspace(0, 1, 1024) ** 0.6).astype(np.uint8)


def lit(frame: Frame, surface: Surface, light: float, rng: Rng) -> Colour:
    """Return the surface's colour under a lamp in direction `light`, with sheen and highlights."""
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
    reflected: Colour = surface.colour * diffuse + np.clip(shine, 0, None)
    return reflected


def shadow(frame: Frame, solid: Plane, light: float, rng: Rng) -> Plane:
    """Return how much light, in 0…1, reaches the workbench beside the part."""
    reach = float(rng.uniform(0.02, 0.06)) * frame.short
    mask = Image.fromarray((255 * solid).astype(np.uint8))
    move = (1, 0, math.cos(light) * reach, 0, 1, math.sin(light) * reach)
    cast = mask.transform(mask.size, Image.Transform.AFFINE, move)
    cast = cast.filter(ImageFilter.BoxBlur(0.7 * reach))
    return 1 - 0.75 * np.asarray(cast, dtype=np.float32) / 255


def photograph(frame: Frame, scene: Colour, rng: Rng) -> Image.Image:
    """Return 8-bit RGB with exposure, white balance, vignette, focus and sensor noise applied."""
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
    """Return an RGB image of a part with the defect `label`, a key of `DEFECTS`."""
    frame = new_frame(rng)
    part = SHAPES[int(rng.integers(len(SHAPES)))](frame, rng)
    surface = new_surface(frame, part, rng)
    light = float(rng.uniform(0, 2 * math.pi))
    table = new_workbench(frame, rng)
    draw_defect = DEFECTS[label]
    if draw_defect is not None:
        draw_defect(frame, part, surface, rng)
    solid = np.clip(0.5 + part.depth * frame.short, 0, 1)
    # The camera looks slightly from the side, so a drilled hole shows a crescent of its wall.
    tilt = float(rng.uniform(0, 2 * math.pi))
    deeper = part.holes_moved((0.012 * math.cos(tilt), 0.012 * math.sin(tilt)))
    wall = np.clip(0.5 + deeper * frame.short, 0, 1) * np.clip(0.5 - part.holes * frame.short, 0, 1)
    under = table * shadow(frame, solid, light, rng)
    under += wall * (0.35 * surface.colour - under)
    scene = under + solid * (lit(frame, surface, light, rng) - under)
    return photograph(frame, scene, rng)
