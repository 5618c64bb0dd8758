from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.testing import assert_close

from toolchain.runs.settings_file import read_settings
from toolchain.training.optim.losses import Loss, make_loss

COUNTS = (60, 30, 10)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
SINGLE_LABEL_LOSSES = pytest.mark.parametrize("name", ["cross-entropy", "focal"])


def loss_of(counts: Sequence[int] = COUNTS, images: int = 100, **given: Any) -> Loss:
    return make_loss(read_settings(None, given), counts, images)


def random_logits() -> Tensor:
    return 3 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


def random_shares() -> Tensor:
    return torch.rand(8, 3, generator=torch.Generator().manual_seed(2)).softmax(1)


def random_labels() -> Tensor:
    return (torch.rand(8, 3, generator=torch.Generator().manual_seed(3)) > 0.5).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [LABELS, random_shares()], ids=["indices", "shares"])
def test_cross_entropy_equals_torchs(targets: Tensor, smoothing: float) -> None:
    expected = cross_entropy(random_logits(), targets, reduction="none", label_smoothing=smoothing)
    assert_close(loss_of(label_smoothing=smoothing)(random_logits(), targets), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [random_labels(), random_shares()], ids=["labels", "shares"])
def test_bce_equals_torchs_with_smoothed_targets(targets: Tensor, smoothing: float) -> None:
    smoothed = targets * (1 - smoothing) + smoothing / 2
    expected = binary_cross_entropy_with_logits(random_logits(), smoothed, reduction="none").mean(1)
    loss = loss_of(task="multi-label", label_smoothing=smoothing)
    assert_close(loss(random_logits(), targets), expected)


def test_focal_weighs_an_image_at_90_percent_by_a_hundredth() -> None:
    """Lin et al. 2017, section 3.2, for gamma 2."""
    logits = torch.tensor([[0.9, 0.06, 0.04]]).log()
    target = torch.tensor([0])
    full = loss_of()(logits, target)
    assert_close(loss_of(loss="focal", focal_gamma=2.0)(logits, target), full / 100)


def test_multi_label_focal_weighs_each_class_by_its_own_probability() -> None:
    logits = torch.tensor([[0.9, 0.5, 0.2]]).logit()
    loss = loss_of(task="multi-label", loss="focal", focal_gamma=2.0)
    terms = torch.tensor([0.1, 0.5, 0.2]) ** 2 * -torch.tensor([0.9, 0.5, 0.8]).log()
    assert_close(loss(logits, torch.tensor([[1.0, 1.0, 0.0]])), terms.mean()[None])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [False, True])
def test_focal_with_gamma_0_is_plain_entropy(smoothing: float, class_weights: bool) -> None:
    for task, targets in (("single-label", LABELS), ("multi-label", random_labels())):
        plain: dict[str, Any] = {
            "task": task,
            "label_smoothing": smoothing,
            "class_weights": class_weights,
        }
        focal = loss_of(loss="focal", focal_gamma=0.0, **plain)
        assert_close(focal(random_logits(), targets), loss_of(**plain)(random_logits(), targets))


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_focal_has_finite_gradients_for_a_confident_prediction(task: str) -> None:
    logits = torch.tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    loss = loss_of(task=task, loss="focal", focal_gamma=0.5)
    loss(logits, torch.tensor([[1.0, 0.0, 0.0]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@SINGLE_LABEL_LOSSES
@pytest.mark.parametrize("class_weights", [False, True])
def test_soft_targets_of_one_class_equal_indices(name: str, class_weights: bool) -> None:
    loss = loss_of(loss=name, class_weights=class_weights, label_smoothing=0.1)
    hard, soft = loss(random_logits(), LABELS), loss(random_logits(), one_hot(LABELS).float())
    assert hard.shape == (8,)
    assert_close(hard, soft)


def test_class_weights_make_the_losses_of_each_class_sum_to_the_same() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    losses = loss_of(class_weights=True)(torch.zeros(100, 3), labels)
    totals = torch.zeros(3).index_add(0, labels, losses)
    assert_close(totals, totals[:1].expand(3))
    # And the mean over all images is what it was, so that learning rates keep their meaning.
    assert_close(losses.mean(), cross_entropy(torch.zeros(1, 3), torch.tensor([0])))


def test_class_weights_equal_torchs_weight() -> None:
    weights = torch.tensor([100 / (3 * count) for count in COUNTS])
    expected = cross_entropy(random_logits(), LABELS, weight=weights, reduction="none")
    assert_close(loss_of(class_weights=True)(random_logits(), LABELS), expected)


@SINGLE_LABEL_LOSSES
def test_a_mixed_image_has_the_mean_weight_of_its_target(name: str) -> None:
    plain = loss_of(loss=name, label_smoothing=0.1)
    weighted = loss_of(loss=name, label_smoothing=0.1, class_weights=True)
    mixed = torch.tensor([[0.25, 0.0, 0.75]])
    logits = random_logits()[:1]
    weight = 0.25 * 100 / (3 * 60) + 0.75 * 100 / (3 * 10)
    assert_close(weighted(logits, mixed), weight * plain(logits, mixed))


def test_multi_label_class_weights_equal_torchs_pos_weight() -> None:
    weights = torch.tensor([(100 - count) / count for count in COUNTS])
    for targets in (random_labels(), random_shares()):
        expected = binary_cross_entropy_with_logits(
            random_logits(), targets, pos_weight=weights, reduction="none"
        ).mean(1)
        loss = loss_of(task="multi-label", class_weights=True)
        assert_close(loss(random_logits(), targets), expected)


def test_smoothing_does_not_favour_an_absent_rare_class() -> None:
    """With the weight of 99 applied after smoothing, the best prediction would be 84 %."""
    loss = loss_of([1], 100, task="multi-label", class_weights=True, label_smoothing=0.1)
    answers = torch.linspace(0.01, 0.99, 99)[:, None]
    best = answers[loss(answers.logit(), torch.zeros(99, 1)).argmin()]
    assert_close(best, torch.tensor([0.05]))


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_a_class_of_no_image_or_of_every_image_has_a_finite_loss(task: str) -> None:
    loss = loss_of([0, 10, 4], 10, task=task, class_weights=True)
    losses = loss(torch.zeros(3, 3), torch.eye(3))
    assert losses.isfinite().all()
    assert (losses > 0).all()
    # A class that every image has must still be learnt.
    right, wrong = loss(torch.tensor([[0.0, 4.0, 0.0], [0.0, -4.0, 0.0]]), torch.eye(3)[[1, 1]])
    assert right < wrong


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_half_precision_logits_are_converted_to_float32(task: str) -> None:
    loss = loss_of(task=task, class_weights=True)
    half = random_logits().bfloat16()
    expected = loss(half.float(), random_shares())
    assert torch.equal(loss(half, random_shares()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(half, random_shares()), expected)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_loss_is_computed_on_the_device_of_the_logits(task: str) -> None:
    on_meta = torch.zeros(8, 3, device="meta")
    losses = loss_of(task=task, class_weights=True)(on_meta, on_meta)
    assert (losses.device.type, losses.shape) == ("meta", (8,))
