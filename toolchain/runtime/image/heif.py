"""HEIC and HEIF, the photographs of many telephones, where the extra `heif` is installed.

Pillow can't decode them; pillow-heif can. It is imported when the first such image comes, and is
not registered with Pillow, which would change what the program around rtl opens.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

from toolchain.extras import import_extra

if TYPE_CHECKING:
    from PIL import Image

BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
"""Brands of ISO base media files that hold HEIC or HEIF, at byte 8."""
PACKAGE = "pillow_heif"
INSTALL = 'pip install "rtl-toolchain[heif]", or convert it to JPEG'


@cache
def reads_heif() -> bool:
    """Return whether the package that decodes HEIC is installed; it is not imported."""
    from importlib.util import find_spec

    try:
        return find_spec(PACKAGE) is not None
    except ValueError:  # a module of this name that was made by hand, without a spec
        return False


def is_heif(data: bytes | memoryview) -> bool:
    """Return whether bytes begin as a HEIC or HEIF image."""
    return bytes(data[4:8]) == b"ftyp" and bytes(data[8:12]) in BRANDS


def open_heif(stream: io.BytesIO) -> Image.Image:
    """Return the primary image, not decoded yet; upright, as its format demands.

    Raises MissingExtraError where the package is missing or can't be imported, and what it raises
    for damaged data.
    """
    package = import_extra(PACKAGE)
    stream.seek(0)  # other formats were tried before
    image: Image.Image = package.HeifImageFile(stream)
    return image
