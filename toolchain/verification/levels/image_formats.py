"""Odd kinds of image files, made in memory: what users' folders hold beside plain RGB JPEGs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.verification.levels import pixels
from toolchain.verification.levels.pixels import ORIENTATION
from toolchain.verification.result import Level


def odd_kinds_level(preprocessing: Preprocessing) -> Level:
    """Compare our pixels of every odd kind of file with torchvision's."""
    different: list[str] = []
    stage = None
    kinds = list(odd_kinds())
    for name, data in kinds:
        expected = pixels.reference_stages(data, preprocessing).cropped
        try:
            found = preprocess(read_image(data, preprocessing), preprocessing)
            same = np.array_equal(found, expected)
        except ImageError:
            same = False
        if not same:
            different.append(name)
            stage = stage or f"{pixels.differing_stage(data, preprocessing)} ({name})"
    return Level(
        level="pixels",
        against="odd kinds",
        passed=not different,
        rule=pixels.RULE,
        summary=f"{len(kinds)} kinds of file, "
        + (f"different: {', '.join(different)}" if different else "equal"),
        figures={"kinds": len(kinds), "different": tuple(different)},
        where=stage,
    )


def odd_kinds() -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) of each kind that the contract of docs/card.md has a rule for."""
    photo = _picture()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        yield f"EXIF orientation {orientation}, JPEG", _file(photo, "JPEG", exif=exif)
    for mode in ("L", "CMYK"):
        yield f"{mode} JPEG", _file(photo.convert(mode), "JPEG")
    yield "progressive JPEG", _file(photo, "JPEG", progressive=True)
    for mode in ("1", "L", "P"):
        yield f"{mode} PNG", _file(photo.convert(mode), "PNG")
    alpha = Image.fromarray(np.outer(np.linspace(0, 255, 90), np.ones(131)).astype(np.uint8))
    for mode in ("LA", "RGBA"):
        clear = photo.convert(mode)
        clear.putalpha(alpha)
        yield f"{mode} PNG", _file(clear, "PNG")
    yield "P PNG with transparency", _file(photo.convert("P"), "PNG", transparency=3)
    yield "RGB PNG with a clear colour", _file(photo, "PNG", transparency=photo.getpixel((0, 0)))
    wide = np.asarray(photo.convert("L")).astype(np.uint16) * 251 + 77
    yield "16-bit grey PNG", _file(Image.fromarray(wide), "PNG")
    yield "lossy WebP", _file(photo, "WEBP")
    yield "GIF", _file(photo.convert("P"), "GIF")
    yield "tall", _file(photo.resize((40, 400)), "PNG")
    yield "wide", _file(photo.resize((401, 37)), "PNG")
    yield "one pixel", _file(photo.resize((1, 1)), "PNG")


def _picture() -> Image.Image:
    """Draw something without symmetry, so that every turn shows."""
    y, x = np.mgrid[:90, :131]
    planes = (x * 255 // 130, y * 255 // 89, (x * y) % 256)
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
