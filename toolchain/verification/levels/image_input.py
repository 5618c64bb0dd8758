"""Level "pixels" of an `image` file: the resize and crop in its graph against ours."""

from __future__ import annotations

import msgspec

from toolchain.runtime.card import Card, Preprocessing
from toolchain.runtime.model_inputs import Pixels
from toolchain.verification.levels.pixels import compare_pixels, pixel_summary
from toolchain.verification.result import Level

LEVELS_INSIDE, LEVELS_AT_BORDER = 1, 60
"""`image` door: how many levels a pixel may be off by, inside and where the border of the resized
image is kept. Of a filter at the border up to an eighth lies outside; onnxruntime gives that to the
outermost pixel, Pillow to all of them. In a corner it is 1 − (7/8)² of 255."""


def image_input_level(card: Card, names: list[str], ours: Pixels, in_graph: Pixels) -> Level:
    """Compare the pixels that the graph of an `image` file makes with ours."""
    most = allowed_levels(card.preprocessing)
    difference = compare_pixels(names, ours, in_graph)
    return Level(
        level="pixels",
        against="graph's door",
        passed=difference.images > 0 and difference.max_levels <= most,
        rule=f"no value is off by more than {most} of 255 ({card.preprocessing.mode})",
        summary=pixel_summary(difference),
        figures=msgspec.structs.asdict(difference),
        where="resize, in the graph" if difference.max_levels > most else None,
    )


def allowed_levels(preprocessing: Preprocessing) -> int:
    """Return how many levels the pixels of an `image` file's graph may be off by."""
    cut = preprocessing.resize_size - preprocessing.size
    # The crop is rounded to even: of one pixel too many it may cut all from one side.
    hidden = preprocessing.mode == "crop" and cut >= 2
    return LEVELS_INSIDE if hidden else LEVELS_AT_BORDER
