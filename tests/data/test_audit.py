"""The audit of a data set: each problem is found, and no file is changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.conftest import tree_digest
from toolchain.data.audit import audit_dataset, is_inside
from toolchain.data.audit_result import Audit
from toolchain.data.layouts import read_dataset
from toolchain.display import as_text
from toolchain.errors import DataError, ImageError
from toolchain.runtime.image.decode import read_image

ORIENTATION = 0x0112


def draw(path: Path, seed: int, side: int = 80, orientation: int | None = None) -> None:
    """Write a PNG of noise; two with the same seed are the same file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif.tobytes())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set without problems: two classes, three training and two validation images each."""
    root = tmp_path / "data"
    for number, label in enumerate(("apple", "pear")):
        for split, count, offset in (("train", 3, 0), ("val", 2, 100)):
            for i in range(count):
                draw(root / split / label / f"{i}.png", 10 * number + i + offset)
    return root


def audit(root: Path) -> Audit:
    return audit_dataset(read_dataset(root))[1]


def test_data_set_without_problems_has_no_findings(data: Path) -> None:
    found = audit(data)
    assert found.images == 10
    assert found.per_class["pear"] == {"train": 3, "val": 2, "test": 0}
    assert (found.unreadable, found.duplicates) == ((), ())
    assert (found.leaks, found.label_conflicts) == ((), ())
    assert (found.rotated_by_exif, found.small, found.rare_classes) == (0, 0, ())


def test_equal_files_are_listed_beside_each_other_and_each_group_once(data: Path) -> None:
    shutil.copy(data / "train/apple/0.png", data / "train/apple/copy.png")
    shutil.copy(data / "train/pear/0.png", data / "val/pear/copy.png")
    text = as_text(audit(data).blocks())
    lines = [line.split() for line in text.splitlines()]
    assert "the same image in more than one split (leaks)" in text
    assert ["train/pear/0.png", "val/pear/copy.png"] in lines
    assert "the same image (duplicates)" in text
    assert ["train/apple/0.png", "train/apple/copy.png"] in lines
    assert text.count("val/pear/copy.png") == 1


def test_of_many_equal_files_the_first_are_listed_and_the_rest_counted(data: Path) -> None:
    found = audit(data)
    groups = tuple((f"a{i}.png", *(f"b{i}-{n}.png" for n in range(9))) for i in range(40))
    text = as_text(msgspec.structs.replace(found, duplicates=groups).blocks())
    assert "the same image (duplicates), 10 of 40; --json lists all" in text
    assert text.count("and 5 more") == 10
    assert "a10.png" not in text


def test_unreadable_files_are_listed_with_reasons_and_left_out(data: Path) -> None:
    (data / "train/apple/bad.jpg").write_bytes(b"<html>404</html>")
    (data / "val/pear/cut.png").write_bytes((data / "val/pear/0.png").read_bytes()[:2000])
    readable, found = audit_dataset(read_dataset(data))
    reasons = {item.file: item.reason for item in found.unreadable}
    assert set(reasons) == {"train/apple/bad.jpg", "val/pear/cut.png"}
    assert reasons["train/apple/bad.jpg"] == "a web page, not an image"
    assert "damaged PNG" in reasons["val/pear/cut.png"]
    assert found.images == 12
    assert len(readable.train) + len(readable.val) == 10


def test_broken_link_is_unreadable_not_a_crash(data: Path) -> None:
    (data / "train/apple/link.jpg").symlink_to(data / "gone.jpg")
    assert [item.file for item in audit(data).unreadable] == ["train/apple/link.jpg"]


def test_every_odd_image_is_refused_exactly_where_the_predictor_refuses_it(
    shared: Path, data: Path
) -> None:
    for path in sorted((shared / "data/odd_images").iterdir()):
        # The first is half a gigabyte when decoded; test_image.py reads it.
        if path.is_file() and path.name not in ("bomb_12000x12000.png", "MANIFEST.tsv"):
            shutil.copy(path, data / "train/apple" / path.name)
    dataset = read_dataset(data)
    refused = {dataset.name_of(s.path) for s in dataset.train if not is_readable(s.path)}
    assert {item.file for item in audit(data).unreadable} == refused
    assert len(refused) >= 15


def is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def test_same_bytes_in_one_class_are_duplicates(data: Path) -> None:
    shutil.copy(data / "train/apple/0.png", data / "train/apple/copy.png")
    found = audit(data)
    assert found.duplicates == (("train/apple/0.png", "train/apple/copy.png"),)
    assert found.leaks == found.label_conflicts == ()


def test_same_bytes_in_two_splits_are_a_leak(data: Path) -> None:
    shutil.copy(data / "train/apple/0.png", data / "val/apple/leaked.png")
    found = audit(data)
    assert found.leaks == (("train/apple/0.png", "val/apple/leaked.png"),)
    assert found.duplicates == found.leaks
    assert found.label_conflicts == ()


def test_same_bytes_in_two_classes_are_a_label_conflict(data: Path) -> None:
    shutil.copy(data / "train/apple/0.png", data / "train/pear/same.png")
    found = audit(data)
    assert found.label_conflicts == (("train/apple/0.png", "train/pear/same.png"),)
    assert found.leaks == ()


def test_damaged_files_with_the_same_bytes_are_no_duplicates(data: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (data / "train/apple" / name).write_bytes(b"")
    assert audit(data).duplicates == ()


@pytest.mark.parametrize(("largest", "rare"), [(29, ()), (30, ("pear",))])
def test_class_with_a_tenth_of_the_largest_is_rare(
    largest: int, rare: tuple[str, ...], data: Path
) -> None:
    for i in range(3, largest):
        draw(data / "train/apple" / f"{i}.png", 1000 + i, side=8)
    assert audit(data).rare_classes == rare


def test_images_rotated_by_exif_are_counted(data: Path) -> None:
    for orientation in (1, 3, 6, 8):
        draw(data / "train/apple" / f"rotated{orientation}.png", 0, orientation=orientation)
    assert audit(data).rotated_by_exif == 3


@pytest.mark.parametrize("orientation", [0, 9])
def test_undefined_exif_orientation_is_not_counted_as_rotated(orientation: int, data: Path) -> None:
    draw(data / "train/apple/odd.png", 50, orientation=orientation)
    assert audit(data).rotated_by_exif == 0


def test_small_images_are_counted_by_their_short_side(data: Path) -> None:
    draw(data / "train/apple/63.png", 60, side=63)
    draw(data / "train/apple/64.png", 61, side=64)
    assert audit(data).small == 1


def test_fingerprint_depends_on_no_location_and_no_file_name(data: Path, tmp_path: Path) -> None:
    before = audit(data).fingerprint
    copy = shutil.copytree(data, tmp_path / "elsewhere")
    (copy / "train/apple/0.png").rename(copy / "train/apple/renamed.png")
    assert audit(copy).fingerprint == before


@pytest.mark.parametrize("change", ["content", "label", "split", "removed", "added"])
def test_fingerprint_changes_with_what_the_model_learns_from(change: str, data: Path) -> None:
    before = audit(data).fingerprint
    image = data / "train/apple/0.png"
    if change == "content":
        draw(image, 999)
    elif change == "label":
        image.rename(data / "train/pear/moved.png")
    elif change == "split":
        image.rename(data / "val/apple/moved.png")
    elif change == "removed":
        image.unlink()
    else:
        draw(data / "train/apple/new.png", 999)
    assert audit(data).fingerprint != before


def test_fingerprint_is_that_of_split_label_and_content_lines(data: Path) -> None:
    # Runs of earlier versions hold such fingerprints.
    lines = sorted(
        f"{split}\t{path.parent.name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for split in ("train", "val")
        for path in data.glob(f"{split}/*/*.png")
    )
    assert audit(data).fingerprint == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_samples_are_returned_with_the_digests_of_their_files(data: Path) -> None:
    (data / "train/apple/bad.jpg").write_bytes(b"damaged")
    dataset = read_dataset(data)
    readable, _ = audit_dataset(dataset)
    for sample in (*readable.train, *readable.val):
        assert sample.digest == hashlib.sha256(sample.path.read_bytes()).hexdigest()
    # Digests do not count when samples are compared.
    assert readable.val == dataset.val
    assert {sample.digest for sample in dataset.val} == {""}


def test_data_folder_is_left_untouched(data: Path) -> None:
    (data / "train/apple/bad.jpg").write_bytes(b"damaged")
    before = tree_digest(data)
    audit(data)
    assert tree_digest(data) == before


def test_class_without_a_readable_training_image_is_refused(data: Path) -> None:
    for path in (data / "train/pear").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="no readable training image in pear") as caught:
        audit(data)
    assert "rtl data check" in str(caught.value.hint)


def test_data_set_without_a_readable_validation_image_is_refused(data: Path) -> None:
    for path in (data / "val").rglob("*.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="no readable validation image"):
        audit(data)


def test_large_but_accepted_image_causes_no_warning(data: Path) -> None:
    # Pillow warns at half of the limit that rtl shares with it.
    code = (
        "from PIL import Image; Image.MAX_IMAGE_PIXELS = 5000\n"
        "from toolchain.cli.main import run; run()"
    )
    words = ["data", "check", str(data), "--json", "--quiet"]
    command = [sys.executable, "-W", "always", "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (json.loads(done.stdout)["images"], done.stderr) == (10, "")


def test_audit_is_json_with_the_fields_as_keys(data: Path) -> None:
    (data / "train/apple/bad.jpg").write_bytes(b"")
    content = msgspec.json.decode(msgspec.json.encode(audit(data)))
    assert content["version"] == 1
    assert content["unreadable"] == [{"file": "train/apple/bad.jpg", "reason": "empty file"}]


def test_progress_counts_every_file(data: Path) -> None:
    class CountingReporter:
        count = 0

        def message(self, text: str) -> None:
            """The audit reports no message."""

        def track(self, items: Iterable, label: str, total: int) -> Iterator:  # type: ignore[type-arg]
            assert total == 10
            for item in items:
                self.count += 1
                yield item

    reporter = CountingReporter()
    audit_dataset(read_dataset(data), reporter)
    assert reporter.count == 10


def test_path_in_a_data_set_is_recognised_through_links_and_dots(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert is_inside(tmp_path / "data" / "train" / ".." / "run", tmp_path / "data")
    assert is_inside(tmp_path / "link" / "run", tmp_path / "data")
    assert is_inside(tmp_path / "data", tmp_path / "data")
    assert not is_inside(tmp_path / "data2", tmp_path / "data")
    assert not is_inside(tmp_path / "data" / ".." / "run", tmp_path / "data")


def table(root: Path, *lines: str) -> Path:
    """Write labels.csv into a folder of images."""
    (root / "labels.csv").write_text("\n".join(["file,labels,split", *lines]))
    return root


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A multi-label data set: three training images and one to validate on."""
    root = tmp_path / "many"
    for number in range(4):
        draw(root / f"{number}.png", number)
    return table(
        root, "0.png,cat;dog,train", "1.png,dog,train", "2.png,,train", "3.png,cat;dog,val"
    )


def audit_many(root: Path) -> Audit:
    return audit_dataset(read_dataset(root, "multi-label"))[1]


def test_image_of_several_classes_counts_in_each(many: Path) -> None:
    found = audit_many(many)
    assert found.images == 4
    assert found.per_class == {
        "cat": {"train": 1, "val": 1, "test": 0},
        "dog": {"train": 2, "val": 1, "test": 0},
    }
    assert found.duplicates == found.label_conflicts == ()


def test_same_bytes_conflict_where_their_sets_of_classes_differ(many: Path) -> None:
    for name in ("same", "fewer"):
        shutil.copy(many / "0.png", many / f"{name}.png")
    lines = (many / "labels.csv").read_text().splitlines()[1:]
    table(many, *lines, "same.png,dog;cat,train")
    found = audit_many(many)
    assert (len(found.duplicates), found.label_conflicts) == (1, ())
    table(many, *lines, "fewer.png,cat,train")
    assert audit_many(many).label_conflicts == (("0.png", "fewer.png"),)


@pytest.mark.parametrize("row", ["0.png,cat,train", "0.png,cat;dog;owl,train", "0.png,,train"])
def test_fingerprint_changes_with_the_set_of_classes(row: str, many: Path) -> None:
    others = ("1.png,cat;dog;owl,train", "3.png,cat;dog,val")
    before = audit_many(table(many, "0.png,cat;dog,train", *others)).fingerprint
    assert audit_many(table(many, row, *others)).fingerprint != before


def test_fingerprint_differs_for_class_sets_whose_names_join_to_the_same_text(many: Path) -> None:
    prints = set()
    for header in ("a,b|c", "a|b,c"):
        lines = ("0.png,1,1,train", "3.png,1,1,val")
        (many / "labels.csv").write_text("\n".join([f"file,{header},split", *lines]))
        prints.add(audit_many(many).fingerprint)
    assert len(prints) == 2


def test_class_whose_training_images_are_all_unreadable_is_refused(many: Path) -> None:
    (many / "0.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match="no readable training image in cat") as caught:
        audit_many(many)
    assert "--task multi-label" in str(caught.value.hint)


def thorough(root: Path) -> Audit:
    return audit_dataset(read_dataset(root), thorough=True)[1]


def test_equal_pixels_in_another_file_are_the_same_image(data: Path) -> None:
    Image.open(data / "val/pear/0.png").save(data / "train/pear/same.bmp")
    for found in (audit(data), thorough(data)):
        assert found.leaks == (("train/pear/same.bmp", "val/pear/0.png"),)
        assert found.near_duplicates == ()
        assert found.problems == ["1 image in more than one split"]


def test_near_duplicates_inside_of_a_split_are_found_by_a_thorough_audit_only(data: Path) -> None:
    for source, copy in (("train/pear/0.png", "train/pear/copy.jpg"),
                         ("val/apple/1.png", "train/apple/copy.jpg")):  # fmt: skip
        Image.open(data / source).resize((170, 160)).save(data / copy, quality=90)
    found = thorough(data)
    assert found.near_duplicates == (
        ("train/apple/copy.jpg", "val/apple/1.png"),
        ("train/pear/0.png", "train/pear/copy.jpg"),
    )
    assert found.near_leaks == audit(data).near_duplicates == found.near_duplicates[:1]
    assert found.problems == []


def test_sizes_imbalance_and_missing_classes_are_counted(data: Path) -> None:
    for image in (data / "val/pear").iterdir():
        image.unlink()
    draw(data / "train/apple/large.png", 70, side=200)
    found = thorough(data)
    assert found.sizes["apple"] == {"train": (80, 80, 200), "val": (80, 80, 80)}
    assert found.sizes["pear"] == {"train": (80, 80, 80)}
    assert (found.imbalance, found.missing_classes) == (1.33, {"val": ("pear",)})


def test_an_image_that_is_equal_thrice_is_one_group(data: Path) -> None:
    source = data / "train/apple/0.png"
    shutil.copy(source, data / "val/apple/b.png")
    Image.open(source).save(data / "val/apple/c.bmp")
    shutil.copy(data / "val/apple/c.bmp", data / "train/apple/d.bmp")
    assert thorough(data).leaks == (
        ("train/apple/0.png", "train/apple/d.bmp", "val/apple/b.png", "val/apple/c.bmp"),
    )
