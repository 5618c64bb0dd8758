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
from PIL import Image, ImageDraw

from tests.conftest import SHARED
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
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


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_of_a_photo_is_applied(shared: Path, orientation: int) -> None:
    oriented = np.asarray(read_image(ODD / "exif_orientation_1.jpg"), dtype=float)
    other = np.asarray(read_image(ODD / f"exif_orientation_{orientation}.jpg"), dtype=float)
    assert other.shape == oriented.shape
    # Below 20 by JPEG's loss and another profile; 50 or more with a wrong orientation.
    assert np.abs(other - oriented).mean() < 20


# EXIF orientation → the pixels that a camera stores for an image.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied_exactly_once(orientation: int, image_format: str) -> None:
    oriented = noise(7, 5)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](oriented)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = encode(stored, image_format, exif=exif.tobytes(), **lossless)
    np.testing.assert_array_equal(np.asarray(read_image(data)), oriented)
    np.testing.assert_array_equal(np.asarray(read_image(Image.open(io.BytesIO(data)))), oriented)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_exif_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(Image.fromarray(noise(7, 5)), "PNG", exif=exif.tobytes())
    np.testing.assert_array_equal(np.asarray(read_image(data)), noise(7, 5))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(image_format: str) -> None:
    values = np.array([[0, 128, 129, 255, 256, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    read = np.asarray(read_image(encode(Image.fromarray(values), image_format)))
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read, np.stack([expected] * 3, axis=2))


def test_both_byte_orders_of_16_bit_grey_are_read_the_same() -> None:
    values = np.arange(0, 65536, 97, dtype=np.uint16)[None]
    little = Image.fromarray(values.astype("<u2"))
    big = Image.frombytes("I;16B", little.size, values.astype(">u2").tobytes())
    np.testing.assert_array_equal(np.asarray(read_image(little)), np.asarray(read_image(big)))


def test_dark_16_bit_photo_stays_dark(shared: Path) -> None:
    with Image.open(ODD / "grey16.png") as image:
        values = np.asarray(image)
    read = np.asarray(read_image(ODD / "grey16.png"))[:, :, 0]
    np.testing.assert_array_equal(read, np.rint(values / 257).astype(np.uint8))
    assert read.max() == 3  # its largest value is 694 of 65535; clipped it would be all white


def test_transparent_value_of_16_bit_grey_shows_the_background() -> None:
    values = np.array([[1000, 2000, 1000]], dtype=np.uint16)
    data = encode(Image.fromarray(values), "PNG", transparency=1000)
    read = np.asarray(read_image(data, Preprocessing(background=(9, 8, 7))))
    assert read.tolist() == [[[9, 8, 7], [8, 8, 8], [9, 8, 7]]]


def test_integers_beyond_16_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit integers"):
        read_image(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composed_over_the_background(mode: str, background: tuple[int, ...]) -> None:
    alpha = np.array([[0, 128, 255]], dtype=np.uint8)
    grey = np.full_like(alpha, 100)
    bands = [grey] * (len(mode) - 1) + [alpha]
    image = Image.merge(mode, [Image.fromarray(band) for band in bands])
    preprocessing = Preprocessing(background=background)  # type: ignore[arg-type]
    read = np.asarray(read_image(encode(image, "PNG"), preprocessing), dtype=float)
    share = alpha[0, :, None] / 255
    expected = share * 100 + (1 - share) * np.array(background)
    assert np.abs(read[0] - expected).max() <= 1


def test_transparent_palette_entry_shows_the_background() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    data = encode(image, "PNG", transparency=1)
    read = np.asarray(read_image(data, Preprocessing(background=(1, 2, 3))))
    assert read.tolist() == [[[200, 0, 0], [1, 2, 3]]]


def test_transparent_colour_of_an_rgb_image_shows_the_background() -> None:
    image = Image.fromarray(np.array([[[1, 1, 1], [50, 60, 70]]], dtype=np.uint8))
    read = np.asarray(read_image(encode(image, "PNG", transparency=(1, 1, 1))))
    assert read.tolist() == [[[255, 255, 255], [50, 60, 70]]]


def test_fully_transparent_image_is_all_background(shared: Path) -> None:
    preprocessing = Preprocessing(background=(12, 34, 56))
    read = read_image(ODD / "rgba_fully_transparent.png", preprocessing)
    assert read.getcolors() == [(300 * 300, (12, 34, 56))]


def test_cmyk_photos_with_and_without_profile_are_similar(shared: Path) -> None:
    plain = np.asarray(read_image(ODD / "cmyk_no_profile.jpg"), dtype=float)
    profile = np.asarray(read_image(ODD / "cmyk_icc_profile.jpg"), dtype=float)
    assert np.abs(plain - profile).mean() < 5


def test_cmyk_paper_is_white_and_ink_is_dark() -> None:
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], dtype=np.uint8)
    image = Image.frombytes("CMYK", (3, 1), pixels.tobytes())
    read = np.asarray(read_image(encode(image, "TIFF")))
    assert read.tolist() == [[[255, 255, 255], [0, 0, 0], [0, 255, 255]]]


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_read(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **lossless)
    assert read_image(data).getcolors() == [(64, (255, 0, 0))]


def test_colour_profile_changes_nothing(shared: Path) -> None:
    with Image.open(ODD / "icc_display_p3.jpg") as image:
        stored = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(read_image(ODD / "icc_display_p3.jpg")), stored)


@pytest.mark.parametrize(
    ("decode_scale", "size"), [(0, (1600, 1200)), (1, (200, 150)), (2, (400, 300)), (4, (800, 600))]
)
def test_decode_scale_selects_the_smallest_allowed_size(
    decode_scale: int, size: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(size=112, resize_size=128, decode_scale=decode_scale)
    photo = encode(Image.new("RGB", (1600, 1200)), "JPEG")
    read = read_image(photo, preprocessing)
    assert read.size == size
    assert min(read.size) >= 128 * decode_scale


@pytest.mark.parametrize("decode_scale", [1, 2, 3])
@pytest.mark.parametrize("side", [128, 255, 256, 500, 1025])
def test_decode_scale_keeps_the_short_side_large_enough(decode_scale: int, side: int) -> None:
    preprocessing = Preprocessing(size=112, resize_size=128, decode_scale=decode_scale)
    read = read_image(encode(Image.new("L", (side + 40, side)), "JPEG"), preprocessing)
    assert min(read.size) >= min(side, 128 * decode_scale)


def test_decode_scale_does_not_affect_other_formats() -> None:
    preprocessing = Preprocessing(size=16, resize_size=16, decode_scale=1)
    assert read_image(encode(Image.new("RGB", (300, 200)), "PNG"), preprocessing).size == (300, 200)


def test_decode_scale_shows_the_same_picture() -> None:
    photo = Image.new("RGB", (800, 800), "white")
    ImageDraw.Draw(photo).ellipse((100, 200, 700, 600), fill="navy")
    data = encode(photo, "JPEG", quality=95)
    small = read_image(data, Preprocessing(size=64, resize_size=64, decode_scale=2))
    difference = np.asarray(small, float) - np.asarray(read_image(data).resize(small.size), float)
    assert small.size == (200, 200)
    assert np.abs(difference).mean() < 3


def test_decode_scale_does_not_change_the_users_pil_image() -> None:
    data = encode(Image.new("RGB", (800, 400)), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        read_image(image, Preprocessing(size=16, resize_size=16, decode_scale=1))
        assert image.size == (800, 400)


def test_pil_image_with_an_orientation_is_not_changed() -> None:
    image = Image.fromarray(noise(4, 6))
    image.getexif()[ORIENTATION] = 6
    assert read_image(image).size == (4, 6)
    assert image.size == (6, 4)
    assert image.getexif()[ORIENTATION] == 6


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
