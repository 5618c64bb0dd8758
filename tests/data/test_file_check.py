"""Each kind of finding about a file is made, and damage that decoders overlook too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import tree_digest
from tests.data.test_image_quality import scene
from toolchain.data.file_check import check_file, ends_early, pixel_digest
from toolchain.data.file_findings import KINDS, SUGGESTIONS, similar_names


def as_bytes(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def kinds(path: Path, data: bytes) -> set[str]:
    path.write_bytes(data)
    return {what for what, _ in check_file(path, quality=True).findings}


def test_a_usual_photograph_has_no_finding(tmp_path: Path) -> None:
    assert kinds(tmp_path / "a.jpg", as_bytes(scene(), "JPEG")) == set()
    assert kinds(tmp_path / "A.JPEG", as_bytes(scene().convert("L"), "JPEG")) == set()


def test_each_kind_is_found(tmp_path: Path) -> None:
    image, exif = scene(), Image.Exif()
    exif[0x0112] = 6
    frames = [scene(seed, 60) for seed in (1, 2)]
    files = {
        "another format than its ending": ("a.jpg", as_bytes(image, "PNG")),
        "unusual mode": ("b.jpg", as_bytes(image.convert("CMYK"), "JPEG")),
        "EXIF-rotated": ("c.jpg", as_bytes(image, "JPEG", exif=exif.tobytes())),
        "animated": (
            "d.webp",
            as_bytes(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        ),
        "tiny": ("e.png", as_bytes(scene(side=31), "PNG")),
        "extreme aspect": ("f.png", as_bytes(image.resize((400, 100)), "PNG")),
        "ends early": ("g.png", as_bytes(image, "PNG")[:-12]),
    }
    for what, (name, data) in files.items():
        assert what in kinds(tmp_path / name, data), what


@pytest.mark.parametrize(("format", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_unreadable_and_said_to_end_early(
    format: str, ending: str, share: float, tmp_path: Path
) -> None:
    data = as_bytes(scene(), format)
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(data[: int(share * len(data))])
    for quality in (False, True):
        found = check_file(path, quality=quality)
        assert found.error is not None
        assert found.ends_early
    assert not ends_early(data)
    assert not ends_early(data + b"garbage" * 5)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photograph() -> None:
    thumbnail = as_bytes(scene(side=60), "JPEG")
    exif = Image.Exif()
    exif[0x010F] = "maker"
    data = as_bytes(scene(), "JPEG", exif=exif.tobytes() + thumbnail)
    assert not ends_early(data)
    assert ends_early(data[: len(data) // 2])


def test_every_odd_image_is_checked_without_a_crash_and_left_as_it_is(shared: Path) -> None:
    folder = shared / "data/odd_images"
    before = tree_digest(folder)
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != "bomb_12000x12000.png":  # half a gigabyte when decoded
            found[path.name] = check_file(path, quality=True)
    assert tree_digest(folder) == before
    early = {name for name, check in found.items() if check.ends_early and check.error}
    assert {"cut_in_half.jpg", "truncated_real.png", "truncated_baseline.jpg"} <= early
    assert {what for what, _ in found["png_named.jpg"].findings} == {
        "another format than its ending"
    }
    assert found["mpo_named_jpg.jpg"].findings == ()


def test_equal_pixels_have_one_digest_whatever_holds_them(tmp_path: Path) -> None:
    scene().save(tmp_path / "a.png")
    scene().save(tmp_path / "b.bmp")
    scene(1).save(tmp_path / "c.png")
    a, b, c = (pixel_digest(tmp_path / name) for name in ("a.png", "b.bmp", "c.png"))
    assert a == b != c
    assert pixel_digest(tmp_path / "no.png") != pixel_digest(tmp_path / "nor.png")


def test_names_that_differ_in_spelling_only_are_found_within_a_folder() -> None:
    names = [
        "x/A 1.jpg",
        "x/a1.JPG",
        "y/a1.jpg",
        "x/caf\u00e9.png",
        "x/cafe\u0301.png",
        "x/a_1.jpg",
    ]
    found = {finding.file: finding.detail for finding in similar_names(names)}
    assert set(found) == {"x/A 1.jpg", "x/a1.JPG", "x/caf\u00e9.png", "x/cafe\u0301.png"}
    assert found["x/a1.JPG"] == "like 'x/A 1.jpg'"


def test_each_kind_has_a_suggestion() -> None:
    assert set(SUGGESTIONS) == set(KINDS)
    assert {text.split(":")[0] for text in SUGGESTIONS.values()} == {
        "keep", "look", "rename", "replace"
    }  # fmt: skip
