"""Inputs of `rtl predict`: files, folders, patterns, lists, standard input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.prediction.pictures import picture
from toolchain.data.walk import images_under
from toolchain.errors import DataError
from toolchain.prediction.inputs import Inputs


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of empty files: images, hidden ones, notes; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.jpg", "b/1.JPG", "b/2.png", "b.png", "b/c/3.webp", "Z/4.tiff",
        ".hidden/5.jpg", "b/.6.jpg", "notes.txt", "raw.cr2", "none/x.txt",
    ):  # fmt: skip
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path("photos")


ALL = ["Z/4.tiff", "a.jpg", "b/1.JPG", "b/2.png", "b/c/3.webp", "b.png"]


def names(*words: object, lists: tuple[str, ...] = ()) -> list[str]:
    return [found.name for found in Inputs([str(word) for word in words], lists)]


def put_on_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_folder_yields_its_images_in_the_order_of_training(photos: Path) -> None:
    assert names(photos) == [f"photos/{name}" for name in ALL]
    assert [Path(name) for name in names(photos)] == list(images_under(photos))


def test_inputs_are_searched_lazily(photos: Path) -> None:
    found = iter(Inputs(["photos", "later"]))
    assert next(found).name == "photos/Z/4.tiff"
    picture(photos.parent / "later" / "new.png")
    assert [item.name for item in found][-1] == "later/new.png"


def test_linked_folders_are_not_followed_unless_named(photos: Path) -> None:
    (photos / "b" / "up").symlink_to("..")
    (photos / "self").symlink_to(".")
    (photos / "loop").symlink_to("loop")
    assert names(photos) == [f"photos/{name}" for name in ALL]
    assert names("photos/**/*.png") == ["photos/b/2.png", "photos/b.png"]
    (photos.parent / "linked").symlink_to("photos")
    assert names("linked") == [f"linked/{name}" for name in ALL]


def test_named_file_is_taken_whatever_its_suffix(photos: Path) -> None:
    assert names("photos/raw.cr2", "photos/.hidden/5.jpg") == [
        "photos/raw.cr2",
        "photos/.hidden/5.jpg",
    ]
    assert names("gone.jpg") == ["gone.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["a.jpg"]),
        ("photos/*/*", ["Z/4.tiff", "b/1.JPG", "b/2.png"]),
        ("photos/**", ALL),
        ("photos/**/[12].*", ["b/1.JPG", "b/2.png"]),
        ("photos/**/c/**/*.webp", ["b/c/3.webp"]),
        ("photos/*.cr2", ["raw.cr2"]),
        ("p?otos/b.png", ["b.png"]),
    ],
)
def test_pattern_yields_the_files_it_matches(
    photos: Path, pattern: str, expected: list[str]
) -> None:
    assert names(pattern) == [f"photos/{name}" for name in expected]


def test_file_with_the_name_of_a_pattern_is_that_file(photos: Path) -> None:
    (photos / "[ab].jpg").touch()
    assert names("photos/[ab].jpg") == ["photos/[ab].jpg"]


def test_inputs_without_an_image_are_reported(photos: Path) -> None:
    inputs = Inputs(["photos/*.gif", "photos/none", "photos/a.jpg"])
    assert [found.name for found in inputs] == ["photos/a.jpg"]
    assert [str(error) for error in inputs.not_found] == [
        "photos/*.gif: no image matches",
        "photos/none: no images in this folder",
    ]


def test_folder_without_permission_is_reported_and_the_rest_is_listed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(folder: Path) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = Inputs(["photos"])
    assert [image.name for image in found] == [
        f"photos/{name}" for name in ALL if not name.startswith("b/")
    ]
    assert [str(error) for error in found.not_found] == ["photos/b: permission denied"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"photos/a.jpg\nphotos/b\n", ["a.jpg", "b/1.JPG", "b/2.png", "b/c/3.webp"]),
        (b"photos/a.jpg\r\n\r\nphotos/b.png", ["a.jpg", "b.png"]),
        (b"photos/a.jpg\0photos/two\nlines.jpg\0", ["a.jpg", "two\nlines.jpg"]),
        (b"photos/\xff.jpg\n", ["\udcff.jpg"]),
        (b"", []),
    ],
)
def test_list_of_paths_is_read_from_a_file_and_from_standard_input(
    photos: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, expected: list[str]
) -> None:
    Path("list.txt").write_bytes(data)
    put_on_stdin(monkeypatch, data)
    for name in ("list.txt", "-"):
        assert names(lists=(name,)) == [f"photos/{name}" for name in expected]


def test_long_list_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"{'folder/' * 10}{number}.jpg" for number in range(5000)]
    for separator in ("\n", "\0"):
        put_on_stdin(monkeypatch, separator.join(paths).encode())
        assert names(lists=("-",)) == paths


def test_count_is_the_number_of_images_or_none_where_a_list_is_streamed(photos: Path) -> None:
    Path("list.txt").write_text("photos/a.jpg\n")
    assert Inputs(["photos", "photos/*.jpg", "-"], ["list.txt"]).count() == len(ALL) + 3
    assert Inputs(["photos"], ["-"]).count() is None


def test_standard_input_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="once only"):
        Inputs(["-"], ["-"])


def passed_over(inputs: Inputs) -> dict[tuple[str, str, str], int]:
    list(inputs)
    return {(e.place, e.kind, e.reason): e.count for e in inputs.left_out}


def test_what_a_folder_holds_beside_images_is_counted(photos: Path) -> None:
    (photos / "IMG_1.HEIC").touch()
    (photos / "b" / "up").symlink_to("..")
    os.mkfifo(photos / "pipe.jpg")
    expected = {
        ("photos", ".heic", "no image by its ending"): 1,
        ("photos", ".cr2", "no image by its ending"): 1,
        ("photos", ".txt", "no image by its ending"): 2,
        ("photos", "folder", "hidden"): 1,
        ("photos", "image", "hidden"): 1,
        ("photos", "folder", "a link to a folder"): 1,
        ("photos", "file", "not a regular file"): 1,
    }
    assert passed_over(Inputs(["photos"])) == expected
    assert passed_over(Inputs(["photos/a.jpg"])) == {}


def test_a_pattern_that_names_no_ending_counts_what_it_matches_and_passes_over(
    photos: Path,
) -> None:
    counted = passed_over(Inputs(["photos/*"]))
    assert counted[("photos/*", ".cr2", "no image by its ending")] == 1
    assert ("photos/*", ".jpg", "hidden") not in counted
    assert passed_over(Inputs(["photos/*.cr2"])) == {}


def test_a_folder_without_images_says_what_it_holds(photos: Path) -> None:
    inputs = Inputs(["photos/none"])
    list(inputs)
    [error] = inputs.not_found
    assert error.hint == "passed over: 1 .txt"


def test_files_keep_the_name_they_were_given(photos: Path) -> None:
    Path("list.txt").write_text("./photos/a.jpg\nphotos//b.png\n")
    assert names("./photos/a.jpg", lists=("list.txt",)) == [
        "./photos/a.jpg",
        "./photos/a.jpg",
        "photos//b.png",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_belongs_to_no_path(photos: Path, encoding: str) -> None:
    (photos / "é.jpg").touch()
    Path("list.txt").write_bytes("photos/a.jpg\r\nphotos/é.jpg\r\n".encode(encoding))
    assert names(lists=("list.txt",)) == ["photos/a.jpg", "photos/é.jpg"]


def test_a_name_that_ends_with_a_return_is_found(photos: Path) -> None:
    (photos / "odd.jpg\r").touch()
    for content in (b"photos/odd.jpg\r\nphotos/a.jpg\r\n", b"photos/odd.jpg\r\0photos/a.jpg\0"):
        Path("list.txt").write_bytes(content)
        assert names(lists=("list.txt",)) == ["photos/odd.jpg\r", "photos/a.jpg"]


def test_null_keeps_line_ends_in_names(photos: Path) -> None:
    (photos / "two\nlines.jpg").touch()
    Path("list.txt").write_bytes(b"photos/two\nlines.jpg")
    assert [i.name for i in Inputs([], ["list.txt"], null=True)] == ["photos/two\nlines.jpg"]
