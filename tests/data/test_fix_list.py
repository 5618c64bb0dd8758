"""The fix list names each file to mend once a reason, and what `exclude` takes ends the problem."""

from __future__ import annotations

import csv
import errno
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Rtl, tree_digest
from tests.data.test_audit import draw
from toolchain.checking.check import CheckOptions, check_data
from toolchain.data.audit import audit_dataset
from toolchain.data.exclusion import without_excluded
from toolchain.data.layouts import read_dataset
from toolchain.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set with one of each problem: two classes, four training and two other images each."""
    root = tmp_path / "data"
    for number, label in enumerate(("apple", "pear")):
        for split, count, offset in (("train", 4, 0), ("val", 2, 100)):
            for i in range(count):
                draw(root / split / label / f"{i}.png", 10 * number + i + offset)
    shutil.copy(root / "val/apple/0.png", root / "train/apple/leak.png")
    shutil.copy(root / "train/apple/1.png", root / "train/pear/conflict.png")
    shutil.copy(root / "train/pear/2.png", root / "train/pear/twice.png")
    (root / "train/pear/cut.png").write_bytes((root / "train/pear/0.png").read_bytes()[:2000])
    (root / "val/pear/text.jpg").write_bytes(b"no image")
    return root


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_each_problem_is_a_row_with_what_to_do(data: Path, tmp_path: Path) -> None:
    before = tree_digest(data)
    check_data(str(data), CheckOptions(fix_list=str(tmp_path / "fix.csv")))
    assert tree_digest(data) == before
    found = {row["file"]: (row["what"].split(":")[0], row["suggestion"]) for row in
             rows_of(tmp_path / "fix.csv")}  # fmt: skip
    assert found == {
        "train/pear/cut.png": ("truncated", "exclude, or replace it"),
        "val/pear/text.jpg": ("unreadable", "exclude, or replace it"),
        "train/apple/leak.png": ("leak", "exclude"),
        "train/apple/1.png": ("label conflict", "exclude, or relabel one"),
        "train/pear/conflict.png": ("label conflict", "exclude, or relabel one"),
        "train/pear/twice.png": ("duplicate", "exclude"),
    }


def test_what_the_list_excludes_is_left_out_and_nothing_is_left_to_mend(
    data: Path, tmp_path: Path
) -> None:
    fix_list = tmp_path / "fix.csv"
    check_data(str(data), CheckOptions(fix_list=str(fix_list)))
    again = check_data(str(data), CheckOptions(exclude=str(fix_list)))
    assert (again.problems, again.duplicates) == ([], ())
    [entry] = [e for e in again.left_out if e.place == "train/pear"]
    assert (entry.reason, entry.count, entry.first) == (
        "excluded by the list", 3, "train/pear/conflict.png"
    )  # fmt: skip
    assert again.fingerprint != audit_dataset(read_dataset(data))[1].fingerprint


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_that_a_person_has_changed_from_exclude_stay(
    separator: str, data: Path, tmp_path: Path
) -> None:
    """Spreadsheets of many countries write semicolons, and a byte order mark."""
    fix_list = tmp_path / "fix.csv"
    text = "file,what,suggestion\ntrain/apple/0.png,leak,keep\ntrain/apple/1.png,x,Exclude it\n"
    fix_list.write_text(text.replace(",", separator), encoding="utf-8-sig")
    found = without_excluded(read_dataset(data), str(fix_list))
    assert found.excluded == ("train/apple/1.png",)


@pytest.mark.parametrize("how", ["relative to the data", "relative to the list", "absolute"])
def test_a_list_of_paths_may_name_them_in_three_ways(how: str, data: Path, tmp_path: Path) -> None:
    names = {
        "relative to the data": "train/apple/2.png",
        "relative to the list": "data/train/apple/2.png",
        "absolute": str(data / "train/apple/2.png"),
    }
    (tmp_path / "out.txt").write_text(f"# to leave out\n\n{names[how]}\ngone.png\n")
    found = without_excluded(read_dataset(data), str(tmp_path / "out.txt"))
    assert found.excluded == ("train/apple/2.png",)
    assert "has 1 name of no image here: gone.png" in found.notes[-1]
    assert len(found.train) == len(read_dataset(data).train) - 1


def test_an_exclusion_that_leaves_a_class_without_training_images_is_refused(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("\n".join(f"train/pear/{p.name}" for p in (data / "train/pear").iterdir()))
    with pytest.raises(DataError, match="excludes every training image of pear"):
        without_excluded(read_dataset(data), str(out))
    out.write_text("\n".join(str(p) for p in (data / "val").rglob("*.*")))
    with pytest.raises(DataError, match="excludes every validation image"):
        without_excluded(read_dataset(data), str(out))
    with pytest.raises(DataError, match="no such file"):
        without_excluded(read_dataset(data), str(tmp_path / "no.csv"))


def test_a_fix_list_inside_the_data_folder_is_refused_before_an_image_is_read(data: Path) -> None:
    with pytest.raises(DataError, match="inside the data folder"):
        check_data(str(data), CheckOptions(fix_list=str(data / "fix.csv")))
    assert not (data / "fix.csv").exists()


def test_a_fix_list_that_cannot_be_written_in_the_end_loses_no_audit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtl_here: Rtl
) -> None:
    def full(prefix: str, dir: Path) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, "No space left on device", str(dir / f"{prefix}x7"))

    monkeypatch.setattr("tempfile.mkstemp", full)
    done = rtl_here("data", "check", data, "--fix-list", "fix.csv")
    assert done.returncode == 3
    assert "error: fix.csv can't be written: no space left on device" in done.stderr
    assert "hint: --fix-list FILE elsewhere" in done.stderr
    assert "unreadable" in done.stdout


def test_near_leaks_are_excluded_and_other_near_duplicates_looked_at(
    data: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(("train/apple/3.png", "val/apple/1.png", "train/apple/0.png")):
        big = Image.open(data / path).resize((240, 240), Image.Resampling.BICUBIC)
        copy = ("train/apple/a.jpg", "train/apple/b.jpg", "val/pear/c.jpg")[number]
        big.save(data / copy, quality=90)
    check_data(str(data), CheckOptions(fix_list=str(tmp_path / "fix.csv")))
    found = {r["file"]: (r["what"].split(":")[0], r["suggestion"]) for r in
             rows_of(tmp_path / "fix.csv") if "near" in r["what"]}  # fmt: skip
    assert found == {
        "train/apple/a.jpg": ("near duplicate", "look"),
        "train/apple/b.jpg": ("near leak", "exclude"),
        "train/apple/0.png": ("near leak of another class", "look"),
    }


def test_files_that_were_left_out_have_a_row_for_each_place_and_kind(
    data: Path, tmp_path: Path
) -> None:
    for name in ("train/pear/b.CR2", "train/pear/a.CR2", "train/apple/notes.doc", "stray.png"):
        shutil.copy(data / "train/pear/0.png", data / name)
    for name in (".DS_Store", "README.md"):
        (data / name).write_text("clutter")
    check_data(str(data), CheckOptions(fix_list=str(tmp_path / "fix.csv")))
    rows = [row for row in rows_of(tmp_path / "fix.csv") if row["what"].startswith("left out")]
    assert {row["file"]: row["what"].removeprefix("left out: ") for row in rows} == {
        "stray.png": "1 image in no class folder",
        "train/apple/notes.doc": "1 .doc",
        "train/pear/a.CR2": "2 .cr2, of which this is the first in train/pear",
    }
    hints = {row["file"]: row["suggestion"] for row in rows}
    assert hints["stray.png"] == "move it into the folder of its class"
    assert hints["train/pear/a.CR2"] == "convert camera files to JPEG"
