"""Whether a fitted temperature helps, judged on images that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from toolchain.metrics.calibration import HIGHEST, LOWEST, calibration_error, fit_temperature
from toolchain.metrics.evidence import can_show_a_difference
from toolchain.metrics.outputs import Outputs

FOLDS, FOLDS_OF_MANY, MANY = 10, 2, 1000
"""Parts of the images, each judged with the temperature that the others give; fewer parts of many
images, where each fit takes long and rests on enough of them."""


@dataclass(frozen=True)
class ChosenTemperature:
    """The temperature that a model is to have, and the calibration error before and after it."""

    value: float
    error_before: float
    error_after: float
    reason: str | None = None
    """Why a fitted temperature is not used; None where it is, or where 1.0 is the best."""


def choose_temperature(outputs: Outputs, *, instead_of: float = 1.0) -> ChosenTemperature:
    """Return the fitted temperature where it is better than `instead_of`, else that and the reason.

    It is better where the loss of images that were left out of the fit falls, by more than its
    standard error, and the calibration error of all images does not rise.
    """
    before = calibration_error(outputs, instead_of)
    kept = ChosenTemperature(instead_of, before, before)
    images = len(outputs.labels)
    if not can_show_a_difference(images):
        counted = "1 image is" if images == 1 else f"{images} images are"
        return replace(kept, reason=f"{counted} too few to fit one")
    fitted = fit_temperature(outputs)
    if fitted == 1.0:
        wrong = images * (1 - outputs.accuracy)
        reason = None if wrong else f"all {images} images are right, which shows none"
        return replace(kept, reason=reason)
    after = calibration_error(outputs, fitted)
    reason = None
    if not LOWEST < fitted < HIGHEST:
        reason = "no value fits these images"
    elif not _helps_on_others(outputs, instead_of):
        reason = f"{images} images do not show that one helps"
    elif after > before:
        reason = "it would raise the error"
    if reason:
        return replace(kept, reason=reason)
    return ChosenTemperature(fitted, before, after)


def _helps_on_others(outputs: Outputs, instead_of: float) -> bool:
    """Return whether the loss of left-out images falls by more than its standard error."""
    gains = _gains_of_left_out_images(outputs, instead_of)
    standard_error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > standard_error)


def _gains_of_left_out_images(outputs: Outputs, instead_of: float) -> NDArray[np.float64]:
    """Return by how much the temperature of the other folds lowers each image's loss, in nats."""
    images = len(outputs.labels)
    # Samples are sorted by class, so every fold has images of each.
    fold = np.arange(images) % (min(FOLDS, images) if images < MANY else FOLDS_OF_MANY)
    temperatures = np.full(images, instead_of)
    losses = _losses(outputs, temperatures)
    for left_out in np.unique(fold):
        others = fold != left_out
        rest = Outputs(outputs.logits[others], outputs.labels[others])
        # Without a wrong prediction among the others, their loss is lowest as T goes to 0.
        temperatures[~others] = LOWEST if rest.accuracy == 1 else fit_temperature(rest)
    return losses - _losses(outputs, temperatures)


def _losses(outputs: Outputs, temperatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss of each image in nats, each at a temperature of its own."""
    logits = torch.from_numpy(outputs.logits.astype(np.float64) / temperatures[:, None])
    labels = torch.from_numpy(outputs.labels)
    if outputs.multi_label:
        losses = functional.binary_cross_entropy_with_logits(
            logits, labels.double(), reduction="none"
        ).mean(dim=1)
    else:
        losses = functional.cross_entropy(logits, labels, reduction="none")
    found: NDArray[np.float64] = losses.numpy()
    return found
