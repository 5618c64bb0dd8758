"""Reads one image file completely and says what it is: the pass over the data that an audit makes.

With `quality`, what the image lacks is measured too; without it a JPEG is decoded at a smaller
scale, which finds the same damage in less time.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from toolchain.data.file_findings import What, format_finding, size_findings
from toolchain.data.image_hashes import SIDE, Look, look_of
from toolchain.data.image_quality import MEASURED_SIDE, quality_of
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import ORIENTATION_TAG, open_image, read_image
from toolchain.runtime.image.read import read_bytes

USUAL_MODES = ("RGB", "L")
QUICK = Preprocessing(size=SIDE, resize_size=SIDE, decode_scale=1)
THOROUGH = Preprocessing(size=MEASURED_SIDE, resize_size=MEASURED_SIDE, decode_scale=1)
ENDS = {b"\x89PNG": b"IEND", b"GIF8": b"\x3b"}
"""Beginning of a file → what stands at the end of a whole one."""
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


class FileCheck(NamedTuple):
    """What reading one file showed."""

    digest: str
    """sha256 of its bytes, in hex; empty where they can't be read."""
    error: str | None = None
    """Why it can't be decoded."""
    ends_early: bool = False
    """Whether its end is missing."""
    rotated: bool = False
    """Whether it has an EXIF orientation that rotates or mirrors it."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels, as stored; (0, 0) where there is an error."""
    findings: tuple[tuple[What, str], ...] = ()
    look: Look | None = None
    """None where there is an error."""


class _Header(NamedTuple):
    rotated: bool
    size: tuple[int, int]
    format: str
    mode: str
    frames: int


def check_file(path: Path, *, quality: bool = False) -> FileCheck:
    """Return what reading and decoding a file shows; `quality` adds the findings of its pixels."""
    try:
        data = read_bytes(path, "image")
    except ImageError as error:
        return FileCheck("", str(error).removeprefix("image: "))
    digest = hashlib.sha256(data).hexdigest()
    early = ends_early(data)
    try:
        # The decoder of training, so that it refuses the same files.
        image = read_image(data, THOROUGH if quality else QUICK)
    except ImageError as error:
        return FileCheck(digest, str(error).removeprefix("image: "), early)
    header = _header(data, frames=quality)
    findings = _findings(path, header, image, early) if quality else ()
    return FileCheck(digest, None, early, header.rotated, header.size, findings, look_of(image))


def pixel_digest(path: Path) -> str:
    """Return a digest of all pixels of an image, or a text of its own where it can't be read."""
    try:
        image = read_image(path)
    except ImageError:
        return f"unreadable {path}"
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def ends_early(data: bytes) -> bool:
    """Return whether the end of a JPEG, PNG, GIF or WebP is missing, whatever decodes of it."""
    if data.startswith(b"\xff\xd8\xff"):
        # Neither marker can stand in compressed pixels; the first may be that of a thumbnail.
        return data.rfind(END_OF_IMAGE) < max(data.rfind(START_OF_SCAN), 0)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    end = ENDS.get(data[:4])
    return end is not None and end not in data[-64:]


def _header(data: bytes, *, frames: bool) -> _Header:
    """Return what the header says; only of animations are later parts read."""
    with open_image(io.BytesIO(data)) as image:
        try:
            rotated = image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
        except Exception:  # damaged EXIF raises any exception; the image is then used as stored
            rotated = False
        count = _frames(image) if frames else 1
        return _Header(rotated, image.size, image.format or "", image.mode, count)


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # damaged later frames raise any exception; the first is good
        return 1


def _findings(
    path: Path, header: _Header, image: Image.Image, early: bool
) -> tuple[tuple[What, str], ...]:
    found: list[tuple[What, str]] = []
    if early:
        found.append(("ends early", "the mark at the end of the file is missing"))
    if wrong := format_finding(path.suffix, header.format):
        found.append(wrong)
    if header.mode not in USUAL_MODES:
        found.append(("unusual mode", header.mode))
    if header.rotated:
        found.append(("EXIF-rotated", "an orientation other than upright"))
    if header.frames > 1 and header.format != "MPO":  # a photograph and its depth, for example
        found.append(("animated", f"{header.frames} frames"))
    return (*found, *size_findings(*header.size), *quality_of(image))
