"""Training from cached features, against training from pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.training.features.kept import clean
from tests.training.sandbox import SMALL, Sandbox, outcome
from toolchain.runs.trained_run import TrainedRun


@pytest.mark.parametrize(
    ("words", "tolerance"),
    # float16 has 11 bits, so that a feature is off by 2^-12 = 0.02 % at most. Measured after nine
    # steps, relative to the largest logit: 0.003 % for the head, which is linear in its features,
    # and 0.08 % with a convolution and its BatchNorm between.
    [
        (["--strategy", "head"], 1e-3),
        (["--strategy", "partial", "--freeze-until", "16"], 1e-2),
        (["--strategy", "head", "--head-stages", "last-two"], 1e-3),
        (["--strategy", "partial", "--freeze-until", "16", "--head-stages", "all"], 1e-2),
    ],
    ids=["head", "partial", "head of two stages", "partial, head of all stages"],
)
def test_training_from_cached_features_equals_training_from_pixels(
    stripes: Path, start: Path, tmp_path: Path, words: list[str], tolerance: float
) -> None:
    sandbox = Sandbox(tmp_path)
    common = [stripes, *SMALL, "--weights", start, "--augment", "none", *words]
    common += ["--metric", "loss", "--lr-head", "1e-3"]
    logits, losses = [], []
    for cache in ("--cache", "--no-cache"):
        ended = sandbox.finetune(*common, cache, output=cache[2:])
        assert ended.status == 0, ended.output
        assert ("features before" in ended.output) == (cache == "--cache")
        logits.append(validation_logits(tmp_path / cache[2:]))
        losses.append([row["train_loss"] for row in outcome(tmp_path / cache[2:]).metrics[:3]])
    assert losses[0] == pytest.approx(losses[1], abs=tolerance)
    assert np.abs(logits[0] - logits[1]).max() < tolerance * np.abs(logits[1]).max()
    assert not np.array_equal(logits[0], logits[1]), "was the cache used at all?"


def validation_logits(folder: Path) -> NDArray[np.float32]:
    run = TrainedRun.open(folder)
    pixels = [clean(sample.path) for sample in run.dataset.val]
    with torch.inference_mode():
        logits: NDArray[np.float32] = run.classifier(torch.from_numpy(np.stack(pixels))).numpy()
    return logits
