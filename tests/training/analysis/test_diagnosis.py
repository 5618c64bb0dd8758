"""Diagnosis: no findings for sound runs, the right one for faulty runs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.training.analysis.histories import CLASSES, HEALTHY, history, names, recorded, settings
from toolchain.training.analysis.diagnosis import diagnose


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("known", [True, False], ids=["all known", "losses only"])
def test_a_real_sound_run_has_no_finding(name: str, known: bool) -> None:
    classes = CLASSES.get(name, 2) if known else None
    assert diagnose(recorded(name, start=known), settings(), classes) == []


@pytest.mark.parametrize("name", HEALTHY)
def test_the_first_epochs_of_a_sound_run_have_no_finding(name: str) -> None:
    rows = recorded(name)
    for epochs in range(1, len(rows)):
        assert diagnose(rows[:epochs], settings(), CLASSES.get(name, 2)) == []


@pytest.mark.parametrize("known", [True, False], ids=["all known", "losses only"])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("WRONG_LABELS", "over-fitting"),
        ("SIXTY_IMAGES", "over-fitting"),
        ("SGD_AT_1", "unstable start"),
        ("HEAD_AT_1E4", "slow convergence"),
        ("HEAD_AT_1E6", "slow convergence"),
        ("FULL_AT_1E6", "slow convergence"),
    ],
)
def test_a_real_faulty_run_has_its_finding(name: str, found: str, known: bool) -> None:
    classes = CLASSES.get(name, 2) if known else None
    assert names(diagnose(recorded(name, start=known), settings(), classes)) == [found]


def test_a_start_far_above_guessing_needs_the_number_of_classes_or_the_first_steps() -> None:
    for start, classes in ((True, None), (False, 3)):
        assert names(diagnose(recorded("ADAM_AT_01", start=start), settings(), classes)) == [
            "unstable start"
        ]


def test_the_evidence_of_over_fitting_has_figures_of_the_history() -> None:
    rows = recorded("WRONG_LABELS")
    (finding,) = diagnose(rows, settings(), 3)
    found = re.fullmatch(
        r"validation loss rose from (.+) \(epoch (\d+)\) to (.+) \(epoch (\d+)\) "
        r"while training loss fell from (.+) to (.+)",
        finding.evidence,
    )
    assert found
    low, best, high, last, before, after = (float(figure) for figure in found.groups())
    assert (rows[int(best) - 1]["val_loss"], rows[int(last) - 1]["val_loss"]) == (low, high)
    assert (rows[int(best) - 1]["train_loss"], rows[int(last) - 1]["train_loss"]) == (before, after)
    assert low < 0.7 < 0.78 < high


def test_a_swing_within_the_first_steps_is_reported_with_its_peak() -> None:
    (finding,) = diagnose(recorded("SGD_AT_1"), settings(lr_head=1.0), 2)
    assert finding.evidence == (
        "training loss rose from 0.708 at the first step to 9.350 within the first 8"
    )
    assert "--lr-head 0.33, --warmup-epochs 3, --clip-norm 1.0" in finding.remedy


def test_noise_of_a_small_validation_set_is_not_over_fitting() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train = np.geomspace(1.0, 0.05, 25)
        val = 0.4 + 0.6 * np.geomspace(1.0, 0.01, 25) + rng.normal(0, 0.06, 25)
        assert "over-fitting" not in names(diagnose(history(train, val), settings(), 3))


def test_over_fitting_is_found_in_noise() -> None:
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train = np.geomspace(1.0, 0.05, 25)
        val = 0.4 + np.abs(np.arange(25) - 6) * 0.03 + rng.normal(0, 0.03, 25)
        found += names(diagnose(history(train, val), settings(), 3)) == ["over-fitting"]
    assert found == 100


def test_noise_near_zero_is_not_over_fitting() -> None:
    train = [0.3, 0.05, 0.02, 0.01, 0.008, 0.006, 0.005, 0.004]
    val = [0.1, 0.02, 0.006, 0.004, 0.008, 0.012, 0.014, 0.016]
    assert diagnose(history(train, val, 0.99), settings(), 3) == []


def test_a_rise_by_a_tenth_is_not_over_fitting() -> None:
    train = [1.0, 0.6, 0.4, 0.3, 0.25, 0.2, 0.18, 0.16, 0.14, 0.12]
    val = [1.5, 1.2, 1.0, 1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.1]
    assert diagnose(history(train, val), settings(), 10) == []


def test_a_rise_of_both_losses_is_not_over_fitting() -> None:
    train = [0.6, 0.5, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
    val = [0.6, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert diagnose(history(train, val), settings(), 3) == []


@pytest.mark.parametrize(("epochs", "bad"), [(8, 1), (12, 2)])
def test_one_or_two_bad_last_epochs_are_not_over_fitting(epochs: int, bad: int) -> None:
    train = [0.8**epoch for epoch in range(epochs)]
    val = [0.4 + 0.5 * loss for loss in train[:-bad]] + [1.5] * bad
    assert diagnose(history(train, val), settings(), 3) == []


def test_three_epochs_are_too_few_for_a_finding() -> None:
    rising = history([1.0, 0.5, 0.1], [0.5, 1.0, 2.0])
    assert diagnose(rising, settings(), 3) == []
    assert diagnose(history([1.0, 1.7, 1.6], [1.0, 1.0, 1.0]), settings(), 3) == []


def test_an_unmistakable_instability_is_reported_after_one_epoch() -> None:
    start = [1.1, 3.9, 10.6, 13.0, 11.3, 9.0]
    (finding,) = diagnose(history([7.8], [1.8], start=start), settings(), 3)
    assert finding.name == "unstable start"
    (finding,) = diagnose(history([12.5], [1.8]), settings())
    assert finding.evidence == "training loss was 12.500 in epoch 1, far worse than guessing"


def test_a_first_epoch_far_above_the_untrained_network_is_reported() -> None:
    losses = [1.8, 0.9, 0.6, 0.5]
    (finding,) = diagnose(history(losses, losses), settings(), 3)
    assert finding.evidence == (
        "training loss was 1.800 in epoch 1, far above the 1.099 of the untrained network"
    )
    assert diagnose(history([1.5, *losses[1:]], losses), settings(), 3) == []


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_loss_that_is_not_a_number_is_reported(value: float | None) -> None:
    rows = history([0.7, 0.6, 0.5, 0.4, 0.3], [0.7, value, 0.5, 0.4, 0.3])
    (finding,) = diagnose(rows, settings(), 2)
    assert finding.evidence == "the validation loss of epoch 2 is not a number"


def test_a_swing_between_early_epochs_is_reported_and_a_later_one_is_not() -> None:
    calm = [1.0, 0.7, 0.5, 0.4, 0.35, 0.3, 0.28, 0.26, 0.25, 0.24]
    early, late = [1.0, 0.7, 1.3, *calm[3:]], [*calm[:8], 0.6, 0.24]
    (finding,) = diagnose(history(early, calm), settings(), 3)
    assert finding.evidence == "training loss rose from 0.700 (epoch 2) to 1.300 (epoch 3)"
    assert diagnose(history(late, calm), settings(), 3) == []


def test_swings_near_zero_are_not_an_instability() -> None:
    losses = [0.02, 0.01, 0.03, 0.01, 0.02, 0.05, 0.01]
    assert diagnose(history(losses, losses, 0.99), settings(), 3) == []


def test_losses_of_zero_have_no_finding() -> None:
    assert diagnose(history([0.0] * 12, [0.0] * 12, 1.0), settings()) == []


def test_the_start_of_a_run_is_counted_from_the_end_of_its_warm_up() -> None:
    train = [1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 1.2, 0.5, 0.4]
    val = [1.0 - 0.05 * epoch for epoch in range(10)]
    assert diagnose(history(train, val), settings(), 3) == []
    assert names(diagnose(history(train, val), settings(warmup_epochs=3), 3)) == ["unstable start"]


def test_single_hard_batches_at_the_start_are_not_an_instability() -> None:
    start = [1.1, 1.0, 2.6, 0.9, 1.2, 0.8, 2.4, 0.7, 0.9, 1.0]
    train = [1.0, 0.7, 0.5, 0.4, 0.35, 0.3]
    assert diagnose(history(train, train, start=start), settings(), 3) == []


def test_weighted_multi_label_loss_is_not_compared_with_guessing() -> None:
    # With positive weights an untrained network starts at several times ln 2.
    train, val = [1.6, 1.1, 0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.28, 0.26, 0.25]
    weighted = settings(task="multi-label", class_weights=True)
    assert diagnose(history(train, val, 0.1), weighted, 20) == []


def test_multi_label_at_the_loss_of_guessing_is_slow() -> None:
    losses = [0.693, 0.692, 0.691, 0.690, 0.690, 0.689]
    (finding,) = diagnose(history(losses, losses, 0.0), settings(task="multi-label"), 20)
    assert finding.name == "slow convergence"
    assert "hardly better than the 0.693 of guessing" in finding.evidence


def test_a_long_first_epoch_that_learned_most_is_not_slow() -> None:
    # Thousands of steps: what is left to fall is little, and it falls steadily.
    losses = [0.80 - 0.01 * epoch for epoch in range(10)]
    assert diagnose(history(losses, losses), settings(), 10) == []
    assert diagnose(history(losses, losses, start=[2.3, 2.2]), settings()) == []


def test_a_loss_that_converged_at_a_high_level_is_not_slow() -> None:
    losses = [0.69, 0.62, 0.595, 0.586, 0.583, 0.582, 0.581, 0.581, 0.58, 0.58]
    assert diagnose(history(losses, losses), settings(), 2) == []


def test_epochs_of_the_warm_up_do_not_make_a_run_slow() -> None:
    losses = [1.1, 1.1, 1.09, 1.08, 1.07, 1.06, 1.05]
    assert names(diagnose(history(losses, losses), settings(), 3)) == ["slow convergence"]
    assert diagnose(history(losses, losses), settings(warmup_epochs=3), 3) == []


def test_a_finding_is_immutable() -> None:
    (finding,) = diagnose(recorded("WRONG_LABELS"), settings(), 3)
    with pytest.raises(AttributeError):
        finding.name = "slow convergence"  # type: ignore[misc]


def test_a_loss_far_above_guessing_is_no_slow_convergence() -> None:
    train, val = [0.7, 0.69, 0.69, 0.69, 0.69, 0.69, 0.69], [330428.0] * 7
    (finding,) = diagnose(history(train, val, 0.5), settings(), 2)
    assert finding.name == "unstable start"
    assert "validation loss was 330428.000 in epoch 1, far worse than guessing" in finding.evidence
