"""Names of splits, and names that look like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.data.split_names import paths_by_split, split_named


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Training TRAIN training_set training-set trainset train_data trn train17"),
        ("val", "val valid validation Validation_Set dev dev-set eval val_images evaluation val2"),
        ("test", "test testing test_set TestSet test-images test1 images_test"),
        (None, "trains latest tested vale attest devil cat set data images"),
    ],
)  # fmt: skip
def test_usual_names_of_splits_are_known_with_what_people_add_to_them(
    split: str | None, names: str
) -> None:
    assert {name: split_named(name) for name in names.split()} == dict.fromkeys(
        names.split(), split
    )


def test_the_most_usual_of_several_names_comes_first() -> None:
    names = ["training_set", "dev", "train.csv", "val", "TRAINING"]
    found = paths_by_split(Path(name) for name in names)
    assert {split: [path.name for path in paths] for split, paths in found.items()} == {
        "train": ["train.csv", "TRAINING", "training_set"],
        "val": ["val", "dev"],
    }
