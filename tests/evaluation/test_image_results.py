"""The images that were labelled wrong: which, in which order, on the screen and as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Rtl
from toolchain.display import as_text
from toolchain.evaluation.evaluate import Evaluation
from toolchain.evaluation.image_results import ImageResult, write_wrong, wrong_results, wrong_table
from toolchain.metrics.per_class import class_metrics


def single(file: str, label: str, predicted: str, probability: float) -> ImageResult:
    return ImageResult(file=file, label=label, predicted=predicted, probability=probability)


RESULTS = [
    single("a.jpg", "cat", "dog", 0.6),
    single("b.jpg", "cat", "cat", 0.99),
    single("c, d.jpg", "dog", "cat", 0.97),
]


def test_the_surest_mistakes_come_first() -> None:
    assert [result.file for result in wrong_results(RESULTS)] == ["c, d.jpg", "a.jpg"]
    assert "c, d.jpg  dog   cat             97.0 %" in as_text([wrong_table(RESULTS[2:])])


def test_a_screen_shows_the_first_and_names_the_option_for_all() -> None:
    many = [single(f"{i}.jpg", "cat", "dog", 0.5) for i in range(40)]
    text = as_text([wrong_table(many)])
    assert "(5 of 40; --wrong FILE lists all)" in text
    assert len(text.splitlines()) == 7


def test_multi_label_mistakes_are_missing_and_added_classes() -> None:
    def result(file: str, truth: str, predicted: dict[str, float]) -> ImageResult:
        return ImageResult(
            file=file,
            labels=tuple(truth.split()),
            predicted_labels=tuple(predicted),
            probabilities=tuple(predicted.values()),
        )

    results = [
        result("missed", "sun sea", {"sun": 0.9}),
        result("right", "sun sea", {"sea": 0.9, "sun": 0.8}),
        result("added", "", {"sun": 0.7}),
    ]
    assert [found.file for found in wrong_results(results)] == ["added", "missed"]
    text = as_text([wrong_table(wrong_results(results))])
    assert "added   none     sun             70.0 %" in text
    assert text.splitlines()[-1].endswith("–")


def test_the_csv_has_every_mistake(tmp_path: Path) -> None:
    write_wrong(tmp_path / "wrong.csv", wrong_results(RESULTS))
    assert (tmp_path / "wrong.csv").read_text().splitlines() == [
        "file,label,predicted,probability",
        '"c, d.jpg",dog,cat,0.97',
        "a.jpg,cat,dog,0.6",
    ]


def test_a_class_without_images_has_dashes_in_place_of_zeros() -> None:
    truth = np.array([[True, False], [True, False]])
    predicted = np.array([[True, False], [False, True]])
    evaluation = Evaluation(
        run="run",
        split="val",
        images=2,
        accuracy=0.5,
        accuracy_interval=(0.1, 0.9),
        macro_f1=0.5,
        loss=1.0,
        per_class=class_metrics(truth, predicted, ["seen", "unseen"]),
        confusion=[[1, 1], [0, 0]],
        results=[],
    )
    [row] = [line for line in as_text(evaluation.blocks()).splitlines() if "unseen" in line]
    assert row.split() == ["unseen", "0", "–", "–", "–"]


@pytest.fixture
def evaluated(rtl_here: Rtl, run_folder: Path, tmp_path: Path) -> str:
    done = rtl_here("evaluate", run_folder, "--wrong", "wrong.csv", "--explain")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "wrong.csv").read_text().startswith("file,label,predicted,probability\n")
    return done.stderr


def test_evaluate_says_what_it_replaces_and_explains_its_figures(evaluated: str) -> None:
    assert "confusion.png (now of val, in place of the one before)" in evaluated
    assert "macro F1" in evaluated
    assert "a rare class is" in " ".join(evaluated.split())
    assert evaluated.splitlines()[-1].startswith("next: rtl export ")
