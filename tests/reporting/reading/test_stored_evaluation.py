"""Evaluations as the report reads them: with logits, without, and with those of another one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.made_run import made_run
from toolchain.evaluation.stored_logits import read_logits, write_logits
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation, read_evaluation
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Task

NAMES = [f"{number}.jpg" for number in range(40)]


def evaluated(tmp_path: Path, task: Task = "single-label") -> RunFolder:
    return made_run(tmp_path / "run", tmp_path, ("a", "b", "c"), NAMES, task=task)


def read(run: RunFolder) -> StoredEvaluation:
    found = read_evaluation(run, run.read_card())
    assert found is not None
    return found


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_logits_are_read_with_their_evaluation(tmp_path: Path, task: Task) -> None:
    found = read(evaluated(tmp_path, task))
    assert found.logits is not None
    assert float(found.right.mean()) == pytest.approx(found.file.accuracy)
    expected = found.probabilities(found.temperature)
    if task == "single-label":
        np.testing.assert_allclose(expected.sum(axis=1), 1)
        np.testing.assert_allclose(found.confidence, expected.max(axis=1), atol=1e-5)


def test_logits_of_another_evaluation_are_not_taken(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    logits = read_logits(run.logits, len(NAMES), 3)
    assert logits is not None
    write_logits(run.logits, logits[::-1].copy())
    assert read(run).logits is None
    write_logits(run.logits, np.full_like(logits, math.nan))
    assert read(run).logits is None
    content = run.logits.read_bytes()
    for damaged in (b"no array", content[:-4], content.replace(b"False", b"Fal\x1f{")):
        run.logits.write_bytes(damaged)
        assert read(run).logits is None


def test_losses_without_logits_come_from_the_answers(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    exact = read(run)
    run.logits.unlink()
    found = read(run)
    right = found.right
    np.testing.assert_allclose(found.losses[right], exact.losses[right], atol=1e-5)
    assert (found.losses[~right] <= exact.losses[~right] + 1e-5).all()


def test_no_file_is_kept_for_very_many_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "logits.npy"
    write_logits(file, np.zeros((4, 3), np.float32))
    monkeypatch.setattr("toolchain.evaluation.stored_logits.MOST_VALUES", 11)
    write_logits(file, np.zeros((4, 3), np.float32))
    assert not file.exists()
