"""The lines about what was left out."""

from __future__ import annotations

import pytest

from toolchain.data.left_out import LeftOut, Reason, left_out_lines, left_out_summary
from toolchain.data.walk import IMAGE_SUFFIXES
from toolchain.runtime.image.decode import COMMON_FORMATS, RARER_FORMATS

ENDING: Reason = "no image by its ending"


def test_files_that_are_no_images_get_their_kinds_places_and_a_remedy() -> None:
    entries = [
        LeftOut("train/cat", ".heic", ENDING, 9, "train/cat/IMG_1.HEIC"),
        LeftOut("train/dog", "no ending", ENDING, 1, "train/dog/x"),
    ]
    [line] = left_out_lines(entries)
    assert line.startswith(
        "left out as no images by their ending: 9 .heic, 1 without an ending (9 .heic in train/cat,"
    )
    assert 'pip install "rtl-toolchain[heif]"' in line


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (LeftOut(".", "image", "in no class folder", 1, "1.jpg"), "1 image in no class folder: 1"),
        (LeftOut(".", "image", "in no class folder", 1200, "1.jpg"), "1,200 images in no class"),
        (LeftOut(".", "folder", "a class without images", 2, "owl"), "2 classes without images:"),
        (LeftOut("a", "folder", "a link to a folder", 1, "a/b"), "1 link to a folder, not foll"),
        (LeftOut("a", "image", "hidden", 2, "a/.b.jpg"), "2 hidden images: first a/.b.jpg"),
    ],
)
def test_each_reason_has_a_line(entry: LeftOut, line: str) -> None:
    assert left_out_lines([entry])[0].startswith(f"left out {line}")


def test_clutter_has_no_line_but_is_counted() -> None:
    clutter = [
        LeftOut("a", "file", "hidden", 1, "a/.DS_Store"),
        LeftOut(".", ".md", ENDING, 1, "README.md"),
    ]
    assert left_out_lines(clutter) == []
    assert left_out_summary(clutter) == "1 .md, 1 hidden file"


def test_names_cannot_move_the_cursor() -> None:
    [line] = left_out_lines([LeftOut("a\x1b[2J", ".x", ENDING, 1, "a\x1b[2J/\n.x")])
    assert line.isprintable()


def test_every_ending_of_an_accepted_format_is_that_of_an_image() -> None:
    from PIL import Image

    Image.init()
    accepted = {*COMMON_FORMATS, *RARER_FORMATS}
    endings = {end for end, name in Image.registered_extensions().items() if name in accepted}
    assert endings - IMAGE_SUFFIXES <= {".pfm"}  # 32-bit float, which has no way to 8 bits
