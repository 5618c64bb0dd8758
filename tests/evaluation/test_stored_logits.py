"""What `rtl evaluate` leaves beside its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from toolchain.evaluation.stored_logits import read_logits
from toolchain.runs.runfolder import RunFolder


def test_the_logits_of_an_evaluation_are_those_of_its_results(run_folder: Path) -> None:
    run = RunFolder(run_folder)
    evaluation, card = json.loads(run.evaluation.read_bytes()), run.read_card()
    logits = read_logits(run.logits, evaluation["images"], len(card.classes))
    assert logits is not None
    answers = [card.classes[index] for index in logits.argmax(axis=1)]
    assert answers == [result["predicted"] for result in evaluation["results"]]
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / card.temperature)
    certain = powers.max(axis=1) / powers.sum(axis=1)
    np.testing.assert_allclose(certain, [r["probability"] for r in evaluation["results"]], 1e-4)
