"""Each wrong kind of input gets its own sentence, and what to pass instead."""

from __future__ import annotations

import asyncio
import base64
import io
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.option_checks import iterator_of_images

LONGEST_MESSAGE = 200


def photograph(kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((150, 150), 40).convert("RGB").save(stream, kind)
    return stream.getvalue()


PHOTO = photograph()
TEXT = base64.b64encode(PHOTO).decode()


class Upload:
    """A file of a web framework: it reads asynchronously."""

    async def read(self, size: int = -1) -> bytes:
        return PHOTO

    async def seek(self, offset: int) -> None:
        return None


class AsyncFile(Upload):
    """A file of a library of asynchronous files."""

    async def seekable(self) -> bool:
        return True


class Tensor:
    """Stands for a tensor: its module is torch."""

    __module__ = "torch"


class Response:
    """Stands for a response of requests."""

    __module__ = "requests.models"


def refused(source: Any) -> tuple[str, str]:
    """Return the message and the hint for what can't be read."""
    with pytest.raises(ImageError) as raised:
        read_image(source)
    assert len(str(raised.value)) < LONGEST_MESSAGE
    assert "\n" not in str(raised.value)
    return str(raised.value), raised.value.hint or ""


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (None, "None, not an image", "cv2.imread"),
        ([], "an empty list", "predict_many"),
        ([PHOTO], "a list, not an image", "predict_many"),
        ((), "an empty tuple", "predict_many"),
        ({"image": PHOTO}, "a dict, not an image", "the value"),
        (iter([PHOTO]), "list iterator, not an image", "predict_many"),
        (3, "int is not an image", "a path"),
        (True, "bool is not an image", "a path"),
        (object(), "object is not an image", "a path"),
        (Image, "a module, not an image", "a path"),
        (Image.Image, "the class Image, not an image", "a path"),
        (io.BytesIO, "the class BytesIO, not an image", "a path"),
        (Tensor(), "a torch tensor", "permute(1, 2, 0)"),
        (Response(), "an HTTP response", "response.content"),
        (np.float32(3), "float32 is not an image", "numpy.asarray"),
        (io.StringIO("text"), "a file opened as text", "'rb'"),
        (TEXT, "base64 text, not a path", "base64.b64decode"),
        (f"data:image/jpeg;base64,{TEXT}", "a data URL, not a path", "base64.b64decode"),
        (f"data:image/png,{TEXT}", "a data URL", "b64decode"),
        ("https://example.com/cat.jpg", "a URL (https), not a path", "download it"),
        (Path("https://example.com/cat.jpg"), "a URL (https), not a path", "download it"),
        ("s3://bucket/cat.jpg", "a URL (s3), not a path", "download it"),
        ("file:///tmp/cat.jpg", "a file URL, not a path", "without 'file://'"),
        ("<svg></svg>", "a text, not a path", "a path"),
        ("photos/cat.jpg\n", "photos/cat.jpg…: a line with its line end", "rstrip"),
        ("\r\n", "a line with its line end", "rstrip"),
        ("~/cat.jpg", "Python does not replace ~", "os.path.expanduser"),
        ('"cat.jpg"', "the quotes are part of the name", "leave them away"),
        (
            b'--a\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PHOTO,
            "a multipart form",
            "the bytes of the file in it",
        ),
        (TEXT.encode(), "base64 text, not the bytes of an image", "base64.b64decode"),
        (f"data:image/jpeg;base64,{TEXT}".encode(), "a data URL, not the bytes", "b64decode"),
        (b"https://example.com/cat.jpg", "a URL, not the bytes", "download it"),
        (b"photos/cat.jpg", "a path as bytes", "os.fsdecode"),
        (b"<!DOCTYPE html><html>", "a web page", "accepted: "),
        (b"<Error><Code>AccessDenied</Code></Error>", "XML or HTML", "accepted: "),
        (b'{"error": "not found"}', "JSON, not an image", "accepted: "),
        (b"%PDF-1.7", "a PDF, not an image", "accepted: "),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", "accepted: "),
        (b"\0\0\0\x20ftypisom" + bytes(40), "a video, not an image", "accepted: "),
        (b"\x1aE\xdf\xa3" + bytes(40), "a video (Matroska or WebM)", "accepted: "),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer", "accepted: "),
    ],
)
def test_what_is_no_image_is_named_with_what_to_pass(source: Any, message: str, hint: str) -> None:
    found = refused(source)
    assert message in found[0]
    assert hint in found[1]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("lines", [False, True], ids=["one line", "lines of 76"])
def test_base64_of_every_format_is_recognised(kind: str, lines: bool) -> None:
    encode: Callable[[bytes], bytes] = base64.encodebytes if lines else base64.b64encode
    assert "base64 text, not the bytes" in refused(encode(photograph(kind)))[0]


@pytest.mark.parametrize(
    ("array", "steps"),
    [
        (np.zeros((3, 40, 30), np.uint8), ["channels come first: array.transpose(1, 2, 0)"]),
        (np.full((40, 30, 3), 0.5), ["0…1: (array * 255).round().astype('uint8')"]),
        (np.full((40, 30, 3), np.nan), ["array.clip(0, 255)"]),
        (np.full((40, 30, 3), 99.5), ["array.clip(0, 255).round().astype('uint8')"]),
        (np.full((3, 40, 30), 0.5, "f4"), ["transpose(1, 2, 0)", "(array * 255)"]),
        (np.full((40, 30), 9, np.uint8), ["grey"]),
        (np.zeros((40, 30, 4), np.uint8), ["with alpha"]),
        (np.full((40, 30, 3), 999, np.uint16), ["16 bits: (array / 257)"]),
        (np.zeros((40, 30, 3), bool), ["(array * 255).astype('uint8')"]),
        (np.zeros((1, 40, 30, 3), np.uint8), ["predict_many"]),
        (np.frombuffer(PHOTO, np.uint8), ["array.tobytes()"]),
        (np.zeros((40, 30, 3), np.int64), ["array.clip(0, 255)"]),
    ],
)
def test_array_of_another_form_gets_the_step_that_makes_it_one(
    array: Any, steps: list[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of numpy, about NaN
        message, hint = refused(array)
    assert f"{array.dtype} of shape {array.shape}" in message
    assert all(step in hint for step in steps)
    assert "uint8 [height, width, 3], RGB" in hint


def test_coroutine_that_was_not_awaited_is_named() -> None:
    coroutine = Upload().read()
    message, hint = refused(coroutine)
    coroutine.close()
    assert "a coroutine that was not awaited" in message
    assert "await" in hint


@pytest.mark.parametrize("upload", [Upload(), AsyncFile()])
def test_upload_that_reads_asynchronously_is_named(upload: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a coroutine that was never awaited
        message, hint = refused(upload)
    assert "an upload that is read asynchronously" in message
    assert hint == "pass await upload.read(), or upload.file"
    assert read_image(asyncio.run(upload.read())).size == (150, 150)


def test_stream_that_was_read_to_its_end_is_not_called_an_empty_file() -> None:
    class Pipe(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b""

    assert "nothing is left to read in it" in refused(Pipe())[0]


def test_file_that_was_read_to_its_end_is_read_from_its_start() -> None:
    file = io.BytesIO(PHOTO)
    file.read()
    assert read_image(file).size == (150, 150)


def test_files_that_cannot_be_read_any_more_are_named(tmp_path: Path) -> None:
    with (tmp_path / "photo.jpg").open("wb") as written:
        assert "a file opened for writing" in refused(written)[0]
        written.write(PHOTO)
    assert "a file that is closed" in refused(written)[0]
    for image in (Image.open(tmp_path / "photo.jpg"), Image.new("RGB", (3, 3))):
        image.close()
        assert "a PIL image that is closed" in refused(image)[0]


def test_path_that_looks_like_a_url_is_read_where_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:" / "example.com").mkdir(parents=True)
    (tmp_path / "https:" / "example.com" / "cat.jpg").write_bytes(PHOTO)
    assert read_image("https://example.com/cat.jpg").size == (150, 150)


def coroutine() -> Coroutine[Any, Any, bytes]:
    return Upload().read()


async def endless() -> Any:
    yield PHOTO


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("dark.png", r"a single path: pass \[path\]"),
        (Path("dark.png"), r"a single path: pass \[path\]"),
        (PHOTO, r"the bytes of a single image: pass \[data\]"),
        (io.BytesIO(PHOTO), r"a single file: pass \[file\]"),
        (Image.new("RGB", (3, 3)), r"a single PIL image: pass \[image\]"),
        (np.zeros((9, 9, 3), np.uint8), r"a single array of shape \(9, 9, 3\): pass \[array\]"),
        ({"a": PHOTO}, r"a dict: pass its values\(\)"),
        (None, "a NoneType: pass a list"),
        (3, "an int: pass a list"),
        (endless(), "an async generator: collect its images"),
    ],
)
def test_a_single_image_in_place_of_many_is_a_type_error(images: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"images must be an iterable of images, got {words}"):
        iterator_of_images(images)


@pytest.mark.parametrize(
    "images", [[], [PHOTO], (PHOTO,), iter([PHOTO]), np.zeros((2, 9, 9, 3), np.uint8), {PHOTO}]
)
def test_any_iterable_of_images_is_accepted(images: Any) -> None:
    assert list(iterator_of_images(images)) is not None


@pytest.fixture
def lazily_opened(tmp_path: Path) -> Path:
    path = tmp_path / "large.jpg"
    Image.effect_noise((900, 900), 60).convert("RGB").save(path, quality=95)
    return path


def test_one_lazily_opened_image_in_six_threads_is_decoded_once(lazily_opened: Path) -> None:
    expected = np.asarray(read_image(lazily_opened))
    for _ in range(8):
        with Image.open(lazily_opened) as image, ThreadPoolExecutor(6) as pool:
            for found in pool.map(read_image, [image] * 6):
                np.testing.assert_array_equal(np.asarray(found), expected)


def test_one_open_file_in_six_threads_is_read_whole(lazily_opened: Path) -> None:
    expected = np.asarray(read_image(lazily_opened))
    for _ in range(4):
        with lazily_opened.open("rb") as file, ThreadPoolExecutor(6) as pool:
            for found in pool.map(read_image, [file] * 6):
                np.testing.assert_array_equal(np.asarray(found), expected)
