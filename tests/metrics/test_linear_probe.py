"""The linear probe finds the lowest loss, and judges no image that it was fitted on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.metrics.linear_probe import fit, out_of_fold, stratified_folds


def clouds(
    images: int = 150, classes: int = 3, width: int = 12, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features that lie around a centre for each class, on columns of very unlike scales."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = rng.normal(0, 1.0, (classes, width))
    features = (centres[labels] + rng.normal(0, 1.2, (images, width))) * 10.0 ** (
        np.arange(width) % 4
    )
    features[:, -1] = 7.0  # a column that says nothing
    return features.astype(np.float32), labels


def test_fit_reaches_the_loss_that_torch_reaches() -> None:
    features, labels = clouds()
    probe = fit(features, labels, 3, l2=1e-2)
    inputs = torch.from_numpy((features - probe.mean) / probe.scale)
    target = torch.from_numpy(labels)

    def loss(weights: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        logits = inputs @ weights + bias
        return torch.nn.functional.cross_entropy(logits, target) + 5e-3 * (weights**2).sum()

    weights = torch.zeros(12, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights, bias], max_iter=500, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        solver.zero_grad()
        value = loss(weights, bias)
        value.backward()
        return value

    solver.step(step)
    own = loss(torch.from_numpy(probe.weights), torch.from_numpy(probe.bias))
    assert float(own) <= float(loss(weights, bias).detach()) + 1e-6


def test_probabilities_add_up_and_find_the_classes() -> None:
    features, labels = clouds()
    found = fit(features, labels, 3).probabilities(features)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == labels).mean() > 0.9


def test_out_of_fold_learns_nothing_from_labels_that_are_drawn_at_random() -> None:
    features, _ = clouds(width=140)
    labels = np.random.default_rng(1).integers(0, 3, len(features))
    fitted = fit(features, labels, 3, l2=1e-4).logits(features).argmax(axis=1)
    held_out = out_of_fold(features, labels, 3, l2=1e-4).argmax(axis=1)
    assert (fitted == labels).mean() > 0.95
    assert (held_out == labels).mean() < 0.55


def test_out_of_fold_is_the_same_each_time_and_for_a_class_of_one_image() -> None:
    features, labels = clouds()
    labels = np.where(np.arange(len(labels)) == 5, 3, labels)
    first = out_of_fold(features, labels, 4)
    assert np.isfinite(first).all()
    assert np.array_equal(first, out_of_fold(features, labels, 4))


def test_folds_have_the_classes_in_equal_proportions() -> None:
    labels = np.repeat([0, 1, 2], [50, 23, 7])
    folds = stratified_folds(labels, 5, seed=3)
    for label, count in ((0, 50), (1, 23), (2, 7)):
        of_class = np.bincount(folds[labels == label], minlength=5)
        assert of_class.min() >= count // 5
        assert of_class.max() <= count // 5 + 1
    assert np.bincount(folds).tolist() == [16] * 5
    assert sorted(stratified_folds(np.array([0, 1, 0]), 5)) == [0, 1, 2]


def test_a_common_scale_keeps_the_columns_apart_and_no_scaling_between_does() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, [1.0, 10.0, 0.0], size=(40, 3))
    labels = np.arange(40) % 2
    whole, half, common = (fit(features, labels, 2, 0.1, s) for s in (1.0, 0.5, 0.0))
    assert np.allclose(whole.scale[:2], features.std(axis=0)[:2])
    assert np.isclose(common.scale[0], common.scale[1])
    assert whole.scale[0] < half.scale[0] < half.scale[1] < whole.scale[1]
    assert [probe.scale[2] for probe in (whole, half, common)] == [1.0, 1.0, 1.0]
