"""A .pt2 file on a disk that gets full: an error, not the end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.runtime.tiny import tiny_card
from tests.training.sandbox import empty_disk, fill_disk
from toolchain.exporters.writers import pt2
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, InferenceModel


def test_a_file_that_does_not_fit_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = torch.export.export(torch.nn.Linear(64, 512), (torch.zeros(1, 64),))
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: program)
    monkeypatch.setattr(pt2, "traced", lambda *_: None)
    model = InferenceModel(Classifier(torch.nn.Linear(1, 1), IMAGENET_NORMALISATION), 1.0)
    card = tiny_card(format="pt2", opset=None)
    fill_disk()
    try:
        with pytest.raises(OSError, match="File too large"):
            pt2.write_program(model, card, tmp_path / "model.pt2")
    finally:
        empty_disk()
    pt2.write_program(model, card, tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").stat().st_size > 64 * 512 * 4
