"""Multi-label: `--strategy auto` and `--cv` measure images that are right in all labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import toolchain
from tests.conftest import Rtl
from tests.test_multi_label import draw
from toolchain.data.layouts import Sample, read_dataset
from toolchain.errors import SettingsError
from toolchain.metrics.linear_probe import fit, fit_each_label
from toolchain.select.folds import folds_of
from toolchain.select.labels import rarest_labels, right
from toolchain.select.likeness import drawn

SMALL = ("--size", 32, "--workers", 0, "--epochs", 1, "--batch-size", 16, "--task", "multi-label")


@pytest.fixture(scope="module")
def hatches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images with stripes across, down, both or none, each kind as often, and labels.csv."""
    folder = tmp_path_factory.mktemp("hatches")
    kinds: tuple[tuple[str, ...], ...] = (("across",), ("down",), ("across", "down"), ())
    rows = [["file", "labels"]]
    for number in range(60):
        draw(folder / f"{number:02}.png", kinds[number % 4], number)
        rows.append([f"{number:02}.png", ";".join(kinds[number % 4])])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_auto_chooses_for_multi_label_and_trains(
    hatches: Path, random_weights: Path, tmp_path: Path
) -> None:
    result = toolchain.finetune(
        hatches,
        tmp_path / "run",
        task="multi-label",
        strategy="auto",
        weights=random_weights,
        size=32,
        workers=0,
        epochs=1,
        batch_size=16,
    )
    assert result.selection is not None
    assert result.selection.images_per_class == pytest.approx(21, abs=5)
    rows = {row.name: row for row in result.selection.measured}
    assert rows["features of layer1"].images == len(result.dataset.train)
    assert rows["features of layer1"].correct > 0.5 * len(result.dataset.train)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_cv_measures_the_images_that_are_right_in_all_labels(
    rtl_here: Rtl, hatches: Path, random_weights: Path
) -> None:
    words = ("--weights", random_weights, "--augment", "none", "--strategy", "auto")
    done = rtl_here("finetune", hatches, *words, *SMALL, "--cv", 3, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 60
    assert 0 <= found["accuracy"] <= 1


def test_a_comparison_of_strategies_is_refused_with_what_measures_one(
    rtl_here: Rtl, hatches: Path
) -> None:
    done = rtl_here("finetune", hatches, *SMALL, "--try", "strategies")
    assert done.returncode == 2
    assert "task: --try compares by images of one class each" in done.stderr
    assert "--strategy head --cv 5" in done.stderr


def test_several_source_models_are_refused(hatches: Path, random_weights: Path) -> None:
    with pytest.raises(SettingsError, match="one class each"):
        toolchain.finetune(hatches, task="multi-label", weights=[random_weights, "imagenet"])


def test_a_probe_for_each_label_is_that_of_two_classes() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 5))
    labels = features[:, :2] + rng.normal(size=(80, 2)) > 0
    both = fit_each_label(features, labels, l2=0.1).logits(features)
    for column in range(2):
        # Softmax over two classes halves the weights of each, so its penalty counts twice.
        one = fit(features, labels[:, column].astype(np.int64), 2, l2=0.2).logits(features)
        assert np.allclose(one[:, 1] - one[:, 0], both[:, column], atol=0.02)


def test_an_image_is_right_with_all_of_its_labels_only() -> None:
    logits = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    labels = np.array([[True, False], [True, False], [False, False]])
    assert right(logits, labels).tolist() == [True, False, True]


def test_rare_labels_are_spread_over_folds_and_images_without_any_are_taken() -> None:
    samples = [Sample(Path(f"{n}.png"), (0,) if n % 10 else (0, 1)) for n in range(100)]
    samples += [Sample(Path(f"none{n}.png"), ()) for n in range(5)]
    assert sorted(set(rarest_labels(samples).tolist())) == [-1, 0, 1]
    assert len(drawn(samples, 50, seed=0)) == 50
    assert sum(1 in s.labels for s in drawn(samples, 50, seed=0)) in (4, 5, 6)


def test_folds_have_the_same_number_of_each_rare_label(hatches: Path) -> None:
    dataset = read_dataset(hatches, "multi-label")
    samples = [
        Sample(Path(f"{n}.png"), (0, 1) if n % 10 == 0 else (0,), f"{n}") for n in range(100)
    ]
    fold_of = folds_of(dataset, samples, 5)
    rare = [int(f) for f, s in zip(fold_of, samples, strict=True) if 1 in s.labels]
    assert sorted(rare) == sorted([0, 1, 2, 3, 4] * 2)
