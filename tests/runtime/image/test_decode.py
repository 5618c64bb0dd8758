"""The decoder: every source becomes an oriented RGB image, or an ImageError."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import SHARED
from toolchain.errors import ImageError
from toolchain.runtime.image.decode import ImageSource, read_image

ODD = SHARED / "data" / "odd_images"
ORIENTATION = 0x0112
# Modes without a standard conversion to 8 bits, as the manifest spells them.
REFUSED = (" F", " LAB")


def manifest() -> list[tuple[str, bool]]:
    """Return (file, whether it can be read) of every odd image, by the manifest."""
    path = ODD / "MANIFEST.tsv"
    if not path.is_file():
        return []
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    broken = ("open:", "load:", "(folder)")
    return [
        (name.rstrip("/"), not any(word in found for word in broken) and not is_refused(found))
        for name, _, found, _ in rows
    ]


def is_refused(found: str) -> bool:
    return found.split(" orientation")[0].endswith(REFUSED)


def outcome(source: ImageSource) -> tuple[Any, ...] | str:
    """Return mode, size and pixels of an image; "ImageError" where it can't be read."""
    try:
        image = read_image(source)
    except ImageError:
        return "ImageError"
    return image.mode, image.size, image.tobytes()


def routes(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the file as each kind of source, with the name of the kind."""
    yield "path", path
    yield "str", str(path)
    if path.is_file():
        yield "bytes", path.read_bytes()
        with path.open("rb") as file:
            yield "file object", file
        try:
            image = Image.open(path)
        except Exception:  # Pillow can't open it
            return
        with image:
            yield "PIL image", image


@pytest.mark.parametrize(("name", "readable"), manifest())
def test_odd_image_is_read_the_same_or_refused_from_every_source(
    shared: Path, name: str, readable: bool
) -> None:
    if name == "bomb_12000x12000.png":
        pytest.skip("half a gigabyte; test_huge_image_under_the_limit_is_read reads it")
    outcomes = {route: outcome(source) for route, source in routes(ODD / name)}
    assert {result == "ImageError" for result in outcomes.values()} == {not readable}
    assert len(set(outcomes.values())) == 1
    assert outcomes["path"] == "ImageError" or outcomes["path"][0] == "RGB"


def test_manifest_and_folder_hold_the_same_files(shared: Path) -> None:
    names = {path.name for path in ODD.iterdir()} - {"MANIFEST.tsv"}
    assert names == {name for name, _ in manifest()}


def test_huge_image_under_the_limit_is_read(shared: Path) -> None:
    assert read_image(ODD / "bomb_12000x12000.png").size == (12000, 12000)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_read(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **lossless)
    assert read_image(data).getcolors() == [(64, (255, 0, 0))]


@pytest.mark.parametrize("array", [noise(4, 6), noise(8, 6)[::2], noise(4, 6)[:, ::-1]])
def test_uint8_rgb_array_is_not_changed(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(np.asarray(read_image(array)), array)


@pytest.mark.parametrize(
    "array",
    [
        noise(4, 6).astype(np.float32),
        noise(4, 6)[:, :, 0],
        noise(4, 8).reshape(4, 6, 4),
        noise(4, 6)[None],
        noise(4, 6).transpose(2, 0, 1),
        noise(4, 6)[:0],
    ],
    ids=["float", "grey", "four channels", "batch", "channels first", "empty"],
)
def test_other_arrays_are_refused_with_their_shape(array: NDArray[Any]) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(array)
    assert str(array.dtype) in str(caught.value)
    assert str(array.shape) in str(caught.value)
    assert "uint8 [height, width, 3]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><p>404", "a web page"),
        (b"  \n<html><body>", "a web page"),
        (b"path,label\n1.jpg,0\n", "text"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "HEIC"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
        (bytes(range(128, 200)), "no known image format"),
    ],
)
def test_error_names_the_file_and_what_was_found(
    content: bytes, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_of_a_truncated_photo_says_damaged(tmp_path: Path) -> None:
    data = encode(Image.fromarray(noise(200, 300)), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg: damaged JPEG \(.*truncated"):
        read_image(tmp_path / "cut.jpg")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


def test_error_has_the_name_given_by_the_caller() -> None:
    with pytest.raises(ImageError, match=r"^upload 7: text"):
        read_image(b"no image at all", name="upload 7")


@pytest.mark.parametrize(
    "source",
    [None, 7, ["a.jpg"], "a\x00b.jpg", io.StringIO("text")],
    ids=["None", "number", "list", "null in the path", "text file object"],
)
def test_other_type_of_source_is_an_image_error(source: Any) -> None:
    with pytest.raises(ImageError):
        read_image(source)


def test_image_above_the_pixel_limit_is_refused() -> None:
    assert read_image(encode(Image.new("RGB", (10, 10)), "PNG"), max_pixels=100).size == (10, 10)
    for source in (encode(large := Image.new("RGB", (10, 11)), "PNG"), large):
        with pytest.raises(ImageError, match="more than 100 pixels"):
            read_image(source, max_pixels=100)


def test_reading_in_threads_leaves_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    for _ in range(3):
        read_with_overlap()
    assert list(warnings.filters) == before


def read_with_overlap() -> None:
    """Read two images in two threads; the first to begin is the first to end."""
    second_began, first_ended = threading.Event(), threading.Event()

    class First(Image.Image):
        def load(self) -> Any:
            second_began.wait(10)
            return super().load()

    class Second(Image.Image):
        def load(self) -> Any:
            second_began.set()
            first_ended.wait(10)
            return super().load()

    def read(kind: type[Image.Image]) -> None:
        picture = Image.new("RGB", (2, 2))
        picture.__class__ = kind
        read_image(picture)

    first = threading.Thread(target=read, args=(First,))
    second = threading.Thread(target=read, args=(Second,))
    first.start()
    second.start()
    first.join(10)
    first_ended.set()
    second.join(10)
