"""Splits that depend on each file's name and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.data.splits import (
    LabelledPaths,
    carve,
    position,
    split_class,
    split_classes,
    split_of,
)
from toolchain.errors import DataError


def named(root: Path, label: str, count: int) -> LabelledPaths:
    return [(root / "train" / label / f"{number}.jpg", (label,)) for number in range(count)]


def test_shares_are_7_1_2() -> None:
    counts = Counter(split_of(f"class/{number}.jpg") for number in range(20_000))
    shares = {split: count / 20_000 for split, count in counts.items()}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.01)


@pytest.mark.parametrize("label", ["apple", "ünïcödé 写真", "x" * 200])
def test_every_class_is_split_in_the_same_shares(label: str) -> None:
    counts = Counter(split_of(f"{label}/{number:05}.jpg") for number in range(3000))
    assert counts["val"] / 3000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 3000 == pytest.approx(0.2, abs=0.02)


def test_splits_of_given_names_never_change() -> None:
    # After an upgrade, images of a user's test split must not be trained on.
    letters = {"train": ".", "val": "v", "test": "t"}
    splits = "".join(letters[split_of(f"apple/{number}.jpg")] for number in range(40))
    assert splits == "tt..tt........t.t.v...............t....."


@given(st.text())
def test_any_name_has_a_position_between_0_and_1(name: str) -> None:
    assert 0 <= position(name) < 1


def test_name_that_is_not_unicode_has_a_split() -> None:
    assert split_of(b"apple/\xff\xfe.jpg".decode("utf-8", "surrogateescape"))


def test_carving_takes_one_in_eight(tmp_path: Path) -> None:
    train = named(tmp_path, "apple", 2000) + named(tmp_path, "pear", 2000)
    rest, val = carve(train, tmp_path)
    assert len(val) / 4000 == pytest.approx(1 / 8, abs=0.02)
    assert sorted(rest + val) == sorted(train)


def test_carving_takes_the_same_images_when_others_are_added(tmp_path: Path) -> None:
    train = named(tmp_path, "apple", 100) + named(tmp_path, "pear", 100)
    _, few = carve(train, tmp_path)
    _, many = carve(train + named(tmp_path, "plum", 300), tmp_path)
    assert [item for item in many if item[1] != ("plum",)] == few


def test_carving_does_not_depend_on_the_location(tmp_path: Path) -> None:
    def names(root: Path) -> list[Path]:
        train = named(root, "apple", 100) + named(root, "pear", 100)
        return [path.relative_to(root) for path, _ in carve(train, root)[1]]

    assert names(tmp_path / "here") == names(tmp_path / "there")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_carve_from_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{count} training images are too few") as caught:
        carve([item for n in range(count) for item in named(tmp_path, f"{n}", 1)], tmp_path)
    assert "val/" in str(caught.value.hint)


@given(st.lists(st.sampled_from(["a", "b", "ab", "abc", ""]), max_size=60), st.integers(0, 1000))
def test_every_class_has_a_training_image_and_where_possible_a_validation_image(
    owned: list[str], start: int
) -> None:
    names = [f"{start + number}.jpg" for number in range(len(owned))]
    splits, moved = split_classes(names, owned)
    assert moved == sum(split != split_of(n) for split, n in zip(splits, names, strict=True))
    for label in set("".join(owned)):
        having = [split for split, own in zip(splits, owned, strict=True) if label in own]
        assert "train" in having
        alone = [i for i, own in enumerate(owned) if own == label]
        if len(alone) > 1:
            assert "val" in having


@given(st.integers(1, 30), st.integers(0, 1000))
def test_images_of_one_class_each_are_split_as_their_folders_would_be(
    count: int, start: int
) -> None:
    names = [f"{start + number}.jpg" for number in range(count)]
    assert split_classes(names, ["a"] * count)[0] == split_class(names)


def test_images_without_a_class_follow_the_hash() -> None:
    names = [f"{number}.jpg" for number in range(50)]
    assert split_classes(names, [()] * 50) == ([split_of(name) for name in names], 0)
