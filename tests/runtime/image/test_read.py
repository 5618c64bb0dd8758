"""The same bytes are read from every source; endless and blocking sources are refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.image import read
from toolchain.runtime.image.decode import ImageSource, read_image

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pipes and /dev")


@pytest.fixture(scope="module")
def photo() -> bytes:
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def pixels(source: ImageSource) -> bytes:
    return read_image(source).tobytes()


def read_twice(stream: IO[bytes]) -> IO[bytes]:
    stream.read()
    return stream


class OnlyRead:
    """A stream that returns a few bytes at a time and can't seek."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(min(size, 100))


class Text(str):
    __slots__ = ()


class Located:
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path


SOURCES: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "a subclass of str": lambda path: Text(path),
    "a pure path": lambda path: PurePosixPath(path),
    "os.PathLike": lambda path: Located(str(path)),
    "os.PathLike of bytes": lambda path: Located(os.fsencode(path)),
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "every other byte of a memoryview": lambda path: memoryview(
        bytes(byte for byte in path.read_bytes() for _ in range(2))
    )[::2],
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "BytesIO at its end": lambda path: read_twice(io.BytesIO(path.read_bytes())),
    "a stream that can't seek": lambda path: OnlyRead(path.read_bytes()),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_has_the_pixels_of_the_path(kind: str, photo: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    assert pixels(SOURCES[kind](path)) == pixels(path)


def test_open_files_are_read_from_their_start(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    with (
        (tmp_path / "photo.jpg").open("rb") as file,
        tempfile.SpooledTemporaryFile() as spooled,
    ):
        spooled.write(photo)
        file.seek(77)
        assert pixels(file) == pixels(file) == pixels(spooled) == pixels(photo)


@pytest.mark.parametrize(
    "name", ["Фото ünïcödé 写真 😀.jpg", "-rf", "a b\n\t.jpg", "100%.jpg", ".hidden", "é" * 120]
)
def test_files_with_unusual_names_are_read(name: str, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(photo)
    assert pixels(str(tmp_path / name)) == pixels(photo)


@on_linux
def test_a_file_whose_name_is_not_unicode_is_read_and_named(photo: bytes, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(photo)
    assert pixels(path) == pixels(photo)
    path.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "caf\udce9.jpg: empty file" in str(caught.value)


@on_linux
def test_a_pipe_is_read_although_its_writer_opens_it_later(photo: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    writer = threading.Timer(0.2, pipe.write_bytes, [photo])
    writer.start()
    assert pixels(pipe) == pixels(photo)
    writer.join()


@on_linux
def test_a_process_substitution_of_a_shell_is_read(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    code = "import sys, toolchain.runtime.image.decode as d; print(d.read_image(sys.argv[1]))"
    line = f"{sys.executable} -c '{code}' <(sleep 0.2; cat photo.jpg)"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "size=60x40" in done.stdout, done.stderr


@on_linux
def test_a_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "WRITER_TIMEOUT_S", 0)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"pipe\.jpg: a pipe that nobody writes to"):
        read_image(tmp_path / "pipe.jpg")


@on_linux
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(ImageError, match="a device, not an image"):
        read_image(device)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_error_of_bytes_calls_them_image(kind: Callable[[bytes], Any]) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(kind(b"no image at all"))
    assert str(caught.value) == "image: text, not an image"


class Endless:
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_a_stream_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_BYTES", 2**25)
    with pytest.raises(ImageError, match="more than 33,554,432 bytes"):
        read_image(Endless())  # type: ignore[arg-type]


def test_a_file_of_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(ImageError, match="more than 1,073,741,824 bytes"):
        read_image(path)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg: too many levels of symbolic links"):
        read_image(tmp_path / "a.jpg")


def test_closed_files_and_released_memory_are_refused(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    with (tmp_path / "photo.jpg").open("rb") as file, memoryview(photo) as memory:
        pass
    with Image.open(tmp_path / "photo.jpg") as image:
        pass
    for source, found in (
        (file, "a file that is closed"),
        (memory, "released memory"),
        (image, "a PIL image that is closed"),
    ):
        with pytest.raises(ImageError, match=found):
            read_image(source)


def test_hint_for_a_file_opened_as_text_says_how_to_open_it(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("no image")
    with (
        (tmp_path / "photo.jpg").open(encoding="utf-8") as file,
        pytest.raises(ImageError, match="opened as text") as caught,
    ):
        read_image(file)  # type: ignore[arg-type]
    assert caught.value.hint == "open it in binary mode, 'rb'"


class Broken:
    def read(self, size: int = -1) -> bytes:
        raise RuntimeError("the camera is gone")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (Broken(), "the camera is gone"),
        ("", "(empty path)"),
        (Located(7), "__fspath__"),
        ("a" * 5000, "file name too long"),
        ("lone \ud800.jpg", "surrogates not allowed"),
        (memoryview(b""), "empty file"),
    ],
    ids=["raising", "empty", "no path", "long", "surrogate", "no bytes"],
)
def test_source_that_can_not_be_read_is_an_image_error(source: Any, found: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert found in str(caught.value)


def test_images_that_threads_read_at_the_same_time_rarely_wait_for_each_other() -> None:
    pictures = [Image.new("RGB", (1, 1)) for _ in range(40)]
    taken = set()
    for picture in pictures:
        with read.shared_lock(picture):
            taken.add([lock.locked() for lock in read._LOCKS].index(True))
    assert len(taken) > 15
