"""Limits on the work and memory that a small file may require."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.image.test_sniff import chunk, encode, png
from toolchain.errors import ImageError
from toolchain.runtime.image.decode import MAX_SCANS, read_image
from toolchain.runtime.image.sniff import has_many_scans

PHOTO = Image.effect_noise((64, 48), 60).convert("RGB")


def scans(count: int, **options: Any) -> bytes:
    """Return a JPEG with `count` scans: its last scan is repeated."""
    data = encode(PHOTO, "JPEG", **{"progressive": True, **options})
    last = data.rindex(b"\xff\xc4")
    written = data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - written) + b"\xff\xd9"


def test_a_jpeg_with_as_many_scans_as_accepted_is_read() -> None:
    assert read_image(scans(MAX_SCANS)).size == PHOTO.size


def test_a_jpeg_with_more_scans_is_refused() -> None:
    with pytest.raises(ImageError, match="more than 100 scans") as caught:
        read_image(scans(MAX_SCANS + 1))
    assert caught.value.hint


def components_apart(count: int) -> bytes:
    """Return a baseline JPEG of `count` scans that hold one component each."""
    tables = encode(PHOTO, "JPEG")
    frame = tables.index(b"\xff\xc0")
    first = tables.index(b"\xff\xda")
    scan = b"\xff\xda" + struct.pack(">HBBB3B", 8, 1, 3, 0x11, 0, 63, 0) + b"\x00" * 40
    assert frame < first
    return tables[:first] + scan * count + b"\xff\xd9"


def test_scans_of_single_components_are_counted_too() -> None:
    assert not has_many_scans(components_apart(100), 100)
    assert has_many_scans(components_apart(101), 100)


@pytest.mark.parametrize("place", ["comment", "after the end"])
def test_markers_outside_of_the_image_data_are_not_counted(place: str) -> None:
    fake = b"\xff\xda" * 200
    data = encode(PHOTO, "JPEG", progressive=True)
    if place == "comment":
        data = data[:2] + b"\xff\xfe" + struct.pack(">H", len(fake) + 2) + fake + data[2:]
    else:  # such as a second image, or the video of a motion photo
        data += fake
    assert not has_many_scans(data, 100)
    assert (
        read_image(data).tobytes() == read_image(encode(PHOTO, "JPEG", progressive=True)).tobytes()
    )


def test_markers_after_the_only_scan_are_not_counted() -> None:
    assert not has_many_scans(encode(PHOTO, "JPEG") + b"\xff\xda\0\2" * 500, 100)
    assert not has_many_scans(b"\xff\xd8" + b"\xff" * 5000, 100)
    assert not has_many_scans(b"\xff\xd8\xff", 100)


def test_a_small_file_that_declares_a_huge_image_is_refused() -> None:
    bomb = png((2**31 - 1, 2**31 - 1), 8, 2, [bytes(10)])
    with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
        read_image(bomb)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="without pixels"):
        read_image(Image.new("RGB", size))


def test_the_size_of_an_icon_is_that_of_the_image_inside() -> None:
    inner = encode(Image.new("RGB", (400, 300)), "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + inner
    assert read_image(icon).size == (400, 300)
    with pytest.raises(ImageError, match="more than 1,000 pixels"):
        read_image(icon, max_pixels=1000)


def test_text_that_inflates_without_end_is_refused() -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    nested = [bomb] * 20
    with pytest.raises(ImageError, match="damaged PNG"):
        read_image(png((1, 1), 8, 2, [bytes(3)], *nested))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_a_large_image_needs_little_more_memory_than_its_pixels(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (6000, 6000)).save(stream, "PNG", compress_level=1)
    script = f"""
        import resource, sys
        from pathlib import Path
        from PIL import Image
        from toolchain.runtime.image.decode import read_image
        data = sys.stdin.buffer.read()
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        # The image as stored and as RGB, at most 4 bytes a pixel each, and 100 MB.
        limit = in_use + 8 * 36_000_000 + 100_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        print(read_image(data).size, {mode!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=False)
    assert done.stdout.startswith(b"(6000, 6000)"), done.stderr.decode()


def test_too_little_memory_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    image = Image.fromarray(np.zeros((5, 7, 3), np.uint8))
    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(ImageError, match="not enough memory for 7×5 pixels"):
        read_image(image)
