"""Splits that depend on each file's name and nothing else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.data.class_names import LabelledPaths
from toolchain.data.splits import (
    USUAL,
    Splitting,
    carve,
    position,
    split_classes,
)
from toolchain.errors import DataError, SettingsError


def split_of(name: str) -> str:
    """Return the split that the position of a name gives by 7:1:2."""
    place = position(name)
    return "train" if place < 0.7 else "val" if place < 0.8 else "test"


def split_class(names: Sequence[str], splitting: Splitting = USUAL) -> list[str]:
    """Return the splits of images that all have one class."""
    return split_classes(names, [("",)] * len(names), splitting)[0]


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


@settings(deadline=None)
@given(st.binary().map(os.fsdecode))
def test_any_name_has_a_position_between_0_and_1(name: str) -> None:
    assert 0 <= position(name) < 1


def test_name_that_is_not_unicode_has_a_split() -> None:
    name = b"apple/\xff\xfe.jpg".decode("utf-8", "surrogateescape")
    assert split_classes([name], [()]) == ([split_of(name)], 0)


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


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_images_of_one_class_each_are_split_as_their_folders_would_be(
    count: int, start: int
) -> None:
    names = [f"{start + number}.jpg" for number in range(count)]
    assert split_classes(names, ["a"] * count)[0] == split_class(names)


def test_images_without_a_class_follow_the_hash() -> None:
    names = [f"{number}.jpg" for number in range(50)]
    assert split_classes(names, [()] * 50) == ([split_of(name) for name in names], 0)


@pytest.mark.parametrize("count", [3, 5, 12, 13, 30, 100])
@pytest.mark.parametrize("label", ["apple", "pear", "plum"])
def test_every_split_has_an_image_of_a_class_and_half_of_its_share(count: int, label: str) -> None:
    counts = Counter(split_class([f"{label}/{number:03}.jpg" for number in range(count)]))
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert counts[split] >= max(1, int(count * share / 2)), (split, counts)


def test_hardly_any_image_moves_when_others_are_added() -> None:
    names = [f"pear/{number:03}.jpg" for number in range(60)]
    whole = dict(zip(names, split_class(names), strict=True))
    for count in (20, 40):
        some = split_class(names[:count])
        assert sum(whole[name] != split for name, split in zip(names, some, strict=False)) <= 2


@pytest.mark.parametrize(
    ("ratio", "shares"),
    [("7:1:2", (0.7, 0.1, 0.2)), ("8:2", (0.8, 0.2, 0)), ("60:20:20", (0.6, 0.2, 0.2))],
)
def test_the_ratio_decides_the_shares(ratio: str, shares: tuple[float, ...]) -> None:
    splitting = Splitting(ratio)
    counts = Counter(split_class([f"a/{number}.jpg" for number in range(3000)], splitting))
    found = [counts[split] / 3000 for split in ("train", "val", "test")]
    assert found == pytest.approx(shares, abs=0.02)


@pytest.mark.parametrize(
    "ratio", ["", "7", "0:1", "1:0:1", "a:b", "-1:2", "1:nan", "inf:1", "1:1:1:1"]
)
def test_a_ratio_that_is_none_is_refused(ratio: str) -> None:
    with pytest.raises(SettingsError, match=r"split_ratio: .*such as 7:1:2 or 8:2"):
        Splitting(ratio)


def test_another_seed_draws_another_split_and_zero_the_known_one() -> None:
    names = [f"a/{number}.jpg" for number in range(200)]
    zero, one = (split_class(names, Splitting(seed=seed)) for seed in (0, 1))
    assert zero == [split_of(name) for name in names]
    assert one != zero
    assert one == split_class(names, Splitting(seed=1))


def test_carving_gives_every_class_a_validation_image(tmp_path: Path) -> None:
    labels = ("apple", "pear", "plum")
    train = [item for label in labels for item in named(tmp_path, label, 12)]
    _, val = carve(train, tmp_path)
    assert {name for _, (name,) in val} == set(labels)
