"""What an image lacks that a network needs: light, contrast, sharpness, pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.data.file_findings import What

MEASURED_SIDE = 256
"""The short side in pixels at which light and sharpness are measured; smaller images as they are.
It is about what a network sees: what is blurred in the original only does not count."""
DARKEST, LIGHTEST = 64, 230
"""Too dark: hardly a pixel (1 %) is brighter than this level of 255. Too light: hardly one (5 %) is
darker. Of 2,047 photographs and pictures of steel none was."""
LEAST_RANGE = 12
"""Levels between the darkest and the brightest pixels, 1 % each left aside."""
BLURRED = 0.65
"""Share of the gradients that is left after another blur. Sharp images had at most 0.60, those that
were blurred by 3 pixels at least 0.66."""
LEAST_DETAIL = 1.5
"""Standard deviation, in levels, of the differences from the mean of the four neighbours, times
four. Sharp images had at least 3.2."""
BLUR_WIDTH = 9
"""Pixels of that other blur."""

Grey = NDArray[np.float32]


def quality_of(image: Image.Image) -> list[tuple[What, str]]:
    """Return what is wrong with an upright RGB image, each with the figures that show it."""
    side = min(image.size)
    if side > MEASURED_SIDE:
        scale = MEASURED_SIDE / side
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    grey = np.asarray(image.convert("L"))
    low, dark, bright = (float(level) for level in np.percentile(grey, (1, 5, 99)))
    found: list[tuple[What, str]] = []
    if bright < DARKEST:
        found.append(("too dark", f"99 % of the pixels are darker than {bright:.0f} of 255"))
    if dark > LIGHTEST:
        found.append(("too light", f"95 % of the pixels are lighter than {dark:.0f} of 255"))
    if bright - low < LEAST_RANGE and _one_colour(image):
        found.append(("near-uniform", f"its brightness varies by {bright - low:.0f} levels of 255"))
    elif min(grey.shape) > 2 * BLUR_WIDTH and _blurred(grey.astype(np.float32)):
        found.append(("blurred", "its edges are as soft as after a blur"))
    return found


def _one_colour(image: Image.Image) -> bool:
    low, high = np.percentile(np.asarray(image).reshape(-1, 3), (1, 99), axis=0)
    return bool((high - low).max() < LEAST_RANGE)


def _blurred(grey: Grey) -> bool:
    across, down = _left_after_blur(grey), _left_after_blur(np.ascontiguousarray(grey.T))
    middle = grey[1:-1, 1:-1]
    detail = 4 * middle - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return max(across, down) > BLURRED or float(detail.std()) < LEAST_DETAIL


def _left_after_blur(grey: Grey) -> float:
    """Return which share of the gradients along the rows another blur leaves, in 0…1.

    Method: F. Crété-Roffet and others, "The Blur Effect: Perception and Estimation with a New
    No-Reference Perceptual Blur Metric", SPIE 6492, 2007.
    """
    sums = np.cumsum(grey, axis=1)
    blurred = (sums[:, BLUR_WIDTH:] - sums[:, :-BLUR_WIDTH]) / BLUR_WIDTH
    start = BLUR_WIDTH // 2 + 1
    before = np.abs(np.diff(grey[:, start : start + blurred.shape[1]], axis=1))
    lost = np.maximum(before - np.abs(np.diff(blurred, axis=1)), 0)
    return 1 - float(lost.sum() / max(float(before.sum()), 1e-6))
