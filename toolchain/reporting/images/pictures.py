"""Pictures inside the page: small JPEGs as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import read_image

BUDGET_BYTES = 4_000_000
"""Of all pictures of a page together, as they stand in it: the page stays under 5 MB."""
MOST_PHOTOGRAPHS = 1200
"""More are not read: the budget would not hold them."""
SIDE, SMALL_SIDE = 88, 64
"""Height of a photograph in a list, in pixels, and where there are many; twice as wide at most."""
MANY = 400
"""With more photographs than this, they are small, so that most of them have room."""
QUALITY = 58


class Pictures:
    """Makes pictures until the budget is used; then there are none, and they are counted."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.left_bytes = BUDGET_BYTES
        self.preprocessing = preprocessing
        self.side = SIDE
        self.most_photographs = MOST_PHOTOGRAPHS
        self.shown = 0
        self.unreadable = 0
        self.left_out = 0
        self._made: dict[Path, str | None] = {}

    def thumbnail(self, path: Path) -> str | None:
        """Return the whole photograph, small, as a data URI; None where there is none."""
        if path not in self._made:
            self.prepare([path])
        return self._made[path]

    def prepare(self, paths: Iterable[Path], progress: ProgressReporter | None = None) -> None:
        """Read photographs in threads, the first ones first, as far as the budget goes."""
        asked = [path for path in dict.fromkeys(paths) if path not in self._made]
        if len(asked) > MANY:
            self.side = SMALL_SIDE
        wanted = asked[: max(0, self.most_photographs - len(self._made))]
        for path in asked[len(wanted) :]:
            self._made[path] = None
            self.left_out += self.most_photographs > 0
        with ThreadPoolExecutor(usable_cores()) as pool:
            found = pool.map(self._read, wanted)
            shown = found if progress is None else progress.track(found, "photographs", len(wanted))
            for path, data in zip(wanted, shown, strict=True):
                self.unreadable += data is None
                self._made[path] = None if data is None else self._spend(data)

    def picture(self, pixels: NDArray[np.uint8], side: int, quality: int = 72) -> str | None:
        """Return pixels uint8 [height, width, 3], reduced to a side, as a data URI, or None."""
        image = Image.fromarray(pixels)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return self._spend(_jpeg(image, quality))

    def _read(self, path: Path) -> bytes | None:
        """Return the JPEG of a photograph; None where it can't be read."""
        if not os.path.isfile(path):  # noqa: PTH113 - a name that is too long is no file
            return None
        # A JPEG is decoded at an eighth of its size where that is enough for so small a picture.
        small = msgspec.structs.replace(
            self.preprocessing, mode="squash", size=self.side, decode_scale=1
        )
        try:
            image = read_image(path, small)
        except ImageError:
            return None
        image.thumbnail((2 * self.side, self.side), Image.Resampling.BILINEAR)
        return _jpeg(image, QUALITY)

    def _spend(self, data: bytes) -> str | None:
        """Return the data URI of a JPEG where the budget has room for it."""
        text = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        if len(text) > self.left_bytes:
            self.left_out += 1
            return None
        self.left_bytes -= len(text)
        self.shown += 1
        return text


def no_pictures(preprocessing: Preprocessing) -> Pictures:
    """Return what makes no photograph at all: they are not wanted, or not there."""
    pictures = Pictures(preprocessing)
    pictures.most_photographs = 0
    return pictures


def _jpeg(image: Image.Image, quality: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, optimize=True)
    return content.getvalue()
