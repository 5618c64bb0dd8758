"""Synthetic cameras: what another camera does to a photograph, as a function of image and seed.

For measuring what a change of camera costs a model, and what `rtl adapt` brings back. The strengths
are chosen so that a person still recognises what is shown.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

Camera = Callable[[Image.Image, int], Image.Image]
"""Returns an RGB image of the same size as the RGB image that it is given; by a seed."""

DARK_EXPOSURE = 0.25
NOISE_LEVELS = 40.0
"""Standard deviation of the noise, in levels of 255."""
BLUR_RADIUS = 3.0
WARM_GAINS = (1.2, 1.0, 0.7)
"""Of red, green and blue."""
LOW_SIDE = 64
"""Short side in pixels of what the camera with a low resolution sees."""


def _dark(image: Image.Image, seed: int) -> Image.Image:
    """Expose for a quarter of the time."""
    return _scaled(image, (DARK_EXPOSURE,) * 3)


def _noise(image: Image.Image, seed: int) -> Image.Image:
    """Add Gaussian noise to each value."""
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(seed).normal(0, NOISE_LEVELS, pixels.shape)
    return _as_image(pixels + noise)


def _blur(image: Image.Image, seed: int) -> Image.Image:
    """Put the lens out of focus."""
    return image.filter(ImageFilter.GaussianBlur(BLUR_RADIUS))


def _grey(image: Image.Image, seed: int) -> Image.Image:
    """Record no colours."""
    return image.convert("L").convert("RGB")


def _jpeg_10(image: Image.Image, seed: int) -> Image.Image:
    """Compress to JPEG of quality 10."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=10)
    return Image.open(buffer).convert("RGB")


def _warm(image: Image.Image, seed: int) -> Image.Image:
    """Balance white for daylight under a lamp."""
    return _scaled(image, WARM_GAINS)


def _low_resolution(image: Image.Image, seed: int) -> Image.Image:
    """Record LOW_SIDE pixels along the short side, and enlarge them again."""
    scale = LOW_SIDE / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BILINEAR)


CAMERAS: dict[str, Camera] = {
    "dark": _dark,
    "noise": _noise,
    "blur": _blur,
    "grey": _grey,
    "jpeg-10": _jpeg_10,
    "warm": _warm,
    "low-resolution": _low_resolution,
}
"""Name → camera."""


def photographed(image: Image.Image, camera: str, seed: int = 0) -> Image.Image:
    """Return an RGB image as a camera of CAMERAS sees it; the same for the same seed."""
    return CAMERAS[camera](image.convert("RGB"), seed)


def _scaled(image: Image.Image, gains: tuple[float, ...]) -> Image.Image:
    return _as_image(np.asarray(image, np.float32) * np.asarray(gains, np.float32))


def _as_image(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
