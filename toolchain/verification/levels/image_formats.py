"""Level "pixels" of other image formats than plain RGB JPEGs, by files that are made in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.verification.levels.pixels import PIXELS_RULE, differing_stage
from toolchain.verification.levels.torchvision_pixels import ORIENTATION, reference_stages
from toolchain.verification.result import Level


def image_formats_level(preprocessing: Preprocessing) -> Level:
    """Compare the predictor's pixels of a file of every kind with torchvision's."""
    different: list[str] = []
    where = None
    samples = list(image_format_samples())
    for name, data in samples:
        expected = reference_stages(data, preprocessing).cropped
        try:
            found = preprocess(read_image(data, preprocessing), preprocessing)
            same = np.array_equal(found, expected)
        except ImageError:
            same = False
        if not same:
            different.append(name)
            where = where or f"{differing_stage(data, preprocessing)} ({name})"
    return Level(
        level="pixels",
        against="image formats",
        passed=not different,
        rule=PIXELS_RULE,
        summary=f"{len(samples)} kinds of file, "
        + (f"different: {', '.join(different)}" if different else "equal"),
        figures={"kinds": len(samples), "different": tuple(different)},
        where=where,
    )


def image_format_samples() -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) of each kind that the contract of docs/card.md has a rule for."""
    photo = _photo()
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
        transparent = photo.convert(mode)
        transparent.putalpha(alpha)
        yield f"{mode} PNG", _file(transparent, "PNG")
    yield "P PNG with transparency", _file(photo.convert("P"), "PNG", transparency=3)
    yield "RGB PNG with a clear colour", _file(photo, "PNG", transparency=photo.getpixel((0, 0)))
    sixteen_bits = np.asarray(photo.convert("L")).astype(np.uint16) * 251 + 77
    yield "16-bit grey PNG", _file(Image.fromarray(sixteen_bits), "PNG")
    yield "lossy WebP", _file(photo, "WEBP")
    yield "GIF", _file(photo.convert("P"), "GIF")
    yield "tall", _file(photo.resize((40, 400)), "PNG")
    yield "wide", _file(photo.resize((401, 37)), "PNG")
    yield "one pixel", _file(photo.resize((1, 1)), "PNG")


def _photo() -> Image.Image:
    """Draw an image without symmetry: each of the eight EXIF orientations changes it."""
    y, x = np.mgrid[:90, :131]
    planes = (x * 255 // 130, y * 255 // 89, (x * y) % 256)
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
