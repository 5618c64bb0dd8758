"""The mixture: what has moved is told from what has become rarer."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.adaptation.mixture import (
    Matrix,
    Source,
    differences,
    directions,
    fit,
    fit_moved,
    source_classes,
)

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def points(counts: tuple[int, int, int], seed: int, moved: tuple[float, float] = (0, 0)) -> Matrix:
    """Return so many points of each class, in their order."""
    rows = np.repeat(CENTRES, counts, axis=0)
    return rows + np.random.default_rng(seed).normal(0, 1, rows.shape) + moved


@pytest.fixture(scope="module")
def source() -> Source:
    return source_classes(points((60, 60, 60), 0), np.repeat([0, 1, 2], 60), 3)


def test_a_shift_of_all_classes_is_found(source: Source) -> None:
    found = fit_moved(points((50, 50, 50), 1, moved=(2.5, -1)), source)
    assert found.shift == pytest.approx([2.5, -1], abs=0.4)
    assert found.shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_another_mix_of_classes_is_no_shift(source: Source) -> None:
    target = points((150, 20, 10), 2)
    found = fit_moved(target, source)
    assert np.linalg.norm(found.shift) < 0.4
    assert found.shares[0] > 0.7
    assert np.linalg.norm(target.mean(axis=0) - source.centre) > 2  # where matching means goes


def test_a_shift_under_another_mix_is_found(source: Source) -> None:
    found = fit_moved(points((120, 30, 20), 3, moved=(2, 2)), source)
    assert found.shift == pytest.approx([2, 2], abs=0.5)


def test_a_mixture_that_may_not_move_has_no_shift(source: Source) -> None:
    target = points((50, 50, 50), 4, moved=(2.5, -1))
    still = fit(target, source, moved=False)
    assert not still.shift.any()
    assert fit_moved(target, source).score > still.score + 10


def test_classes_that_have_come_closer_are_found(source: Source) -> None:
    closer = points((60, 60, 60), 5) * 0.5
    assert fit_moved(closer, source).contrast == pytest.approx(0.5, abs=0.1)


def test_differences_do_not_see_what_all_logits_share() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4))
    assert np.allclose(differences(logits), differences(logits + 7))
    assert np.allclose(directions(4).T @ directions(4), np.eye(3))


def test_many_classes_are_fitted_without_a_number_that_is_none() -> None:
    random = np.random.default_rng(6)
    centres = random.normal(0, 3, (30, 29))
    labels = np.repeat(np.arange(30), 8)
    source = source_classes(centres[labels] + random.normal(size=(240, 29)), labels, 30)
    found = fit_moved(centres[labels] + random.normal(size=(240, 29)) + 1, source)
    assert np.isfinite(found.score)
    assert found.shift == pytest.approx(np.ones(29), abs=0.6)
