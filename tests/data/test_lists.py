"""Lists as people and tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.trees import files_of, left_out, put, refusal
from toolchain.data.layouts import read_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images with awkward names, and a list for validation."""
    put(tmp_path, "i/1.jpg", "i/my cat.jpg", "i/a,b.jpg", "#7.jpg", "i/v.jpg", "i/w.jpg")
    (tmp_path / "val.txt").write_text("i/v.jpg cat\ni/w.jpg dog\n")
    return tmp_path


BASE = "i/w.jpg dog"


@pytest.mark.parametrize(
    ("line", "file", "label"),
    [
        ("i/1.jpg cat", "i/1.jpg", "cat"),
        ("i/1.jpg\tcat", "i/1.jpg", "cat"),
        ("i/my cat.jpg\tgranny cat", "i/my cat.jpg", "granny cat"),
        ("i/1.jpg,cat", "i/1.jpg", "cat"),
        ("i/1.jpg, cat", "i/1.jpg", "cat"),
        ("i/1.jpg;cat", "i/1.jpg", "cat"),
        ('"i/a,b.jpg",cat', "i/a,b.jpg", "cat"),
        ("i/a,b.jpg cat", "i/a,b.jpg", "cat"),
        ('"i/my cat.jpg" cat', "i/my cat.jpg", "cat"),
        ('i/1.jpg "big cat"', "i/1.jpg", "big cat"),
        ("i/1.jpg big cat", "i/1.jpg", "big cat"),
        ("i/my cat.jpg cat", "i/my cat.jpg", "cat"),
        ("#7.jpg cat", "#7.jpg", "cat"),
        ("i\\1.jpg cat", "i/1.jpg", "cat"),
        ("1.jpg cat", "i/1.jpg", "cat"),
    ],
)
def test_a_line_is_read_in_the_way_in_which_its_file_exists(
    line: str, file: str, label: str, root: Path
) -> None:
    (root / "val.txt").write_text(f"{line}\n{BASE}\n")
    (root / "train.txt").write_text(f"{line}\n{BASE}\n")
    assert files_of(read_dataset(root), "train") == {file: label, "i/w.jpg": "dog"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_headers_are_no_lines(encoding: str, root: Path) -> None:
    text = "image\tlabel\r\ni/1.jpg\tcat\r\ni/w.jpg\tdog\r\n"
    (root / "train.txt").write_bytes(text.encode(encoding))
    assert files_of(read_dataset(root), "train") == {"i/1.jpg": "cat", "i/w.jpg": "dog"}


def test_comments_and_images_that_no_line_names_are_counted(root: Path) -> None:
    (root / "train.txt").write_text("# made by hand\n#i/1.jpg cat\ni/1.jpg cat\ni/w.jpg dog\n")
    assert left_out(read_dataset(root)) == {
        ("train.txt", "line", "a comment"): 2,
        (".", ".jpg", "in no list"): 1,
        ("i", ".jpg", "in no list"): 2,
    }


@pytest.mark.parametrize("line", ["i/gone.jpg cat", "i/gone.jpg\tcat", '"i/gone.jpg",cat'])
def test_a_line_without_its_file_is_named_with_the_form_that_is_meant(
    line: str, root: Path
) -> None:
    (root / "train.txt").write_text(f"i/1.jpg cat\n{line}\n")
    error = refusal(root)
    assert f"train.txt, line 2: {root / 'i/gone.jpg'} does not exist" in str(error)
    assert "separated by a tab, a comma or a space" in str(error.hint)


def test_all_wrong_lines_of_a_list_are_told_at_once(root: Path) -> None:
    (root / "train.txt").write_text("i/gone.jpg cat\ni/1.jpg cat\ni/lost.jpg dog\n")
    error = refusal(root)
    assert str(error).endswith("gone.jpg does not exist; another line is wrong: 3")


def test_a_name_that_several_images_have_is_refused(root: Path) -> None:
    put(root, "j/1.jpg")
    (root / "train.txt").write_text("1.jpg cat\ni/w.jpg dog\n")
    error = refusal(root)
    assert "train.txt, line 1: '1.jpg' may be" in str(error)
    assert "with their folders" in str(error.hint)


def test_two_unicode_forms_of_a_name_are_one_class(root: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    lines = f"i/1.jpg {composed}\ni/w.jpg dog\ni/a,b.jpg {decomposed}\n"
    (root / "train.txt").write_text(lines, encoding="utf-8")
    (root / "val.txt").write_text(f"i/v.jpg {decomposed}\n{BASE}\n", encoding="utf-8")
    found = read_dataset(root)
    assert found.classes == (composed, "dog")
    assert files_of(found, "val")["i/v.jpg"] == composed
