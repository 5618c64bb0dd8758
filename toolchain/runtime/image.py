"""From bytes to an upright RGB image: the only decoder in rtl.

What is decided here, once, for training, verification and the device: EXIF orientation is applied,
transparency is composed over a background colour, 16-bit grey is scaled (not clipped), animations
give their first frame, colour profiles are ignored.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing

ImageSource = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused before they are decoded (Pillow's own error limit)."""

ORIENTATION_TAG = 0x0112

# Set once: switching warnings off around each read is not safe in threads. The pixel limit is
# ours, and damaged EXIF has its rule below; what Pillow says about either would be noise.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")

# Modes whose values have no agreed way to 8 bits.
REFUSED_MODES = {"F": "32-bit float", "LAB": "CIE Lab"}


def read_image(
    source: ImageSource, preprocessing: Preprocessing | None = None, *, name: str | None = None
) -> Image.Image:
    """Give an upright RGB image from a path, bytes, file object, PIL image or uint8 RGB array.

    `preprocessing` says the background colour and how far a JPEG may be scaled while it is decoded
    (a PIL image belongs to the caller and is never scaled); `name` is what errors call the image.
    Raises ImageError for whatever can't be read.
    """
    preprocessing = preprocessing or Preprocessing()
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    if isinstance(source, Image.Image):
        return _decode(source, preprocessing, name or "PIL image")
    name = name or (os.fspath(source) if isinstance(source, str | os.PathLike) else "image")
    stream = io.BytesIO(_read_bytes(source, name))
    image = _identify(stream, name)
    if preprocessing.decode_scale:
        side = preprocessing.needed * preprocessing.decode_scale
        image.draft(image.mode, (side, side))
    return _decode(image, preprocessing, name)


def _read_bytes(source: str | os.PathLike[str] | bytes | IO[bytes], name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            data = Path(source).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ImageError(f"{name}: {(reason or 'not readable').lower()}") from error
    elif hasattr(source, "read"):
        data = _read_stream(source, name)
    else:
        raise ImageError(f"{name}: {type(source).__name__} is not an image")
    if not data:
        raise ImageError(f"{name}: empty file")
    return data


def _read_stream(stream: IO[bytes], name: str) -> bytes:
    try:
        data: object = stream.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: {error}") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name}: a file opened as text", hint="open it in binary mode, 'rb'")
    return data


def _identify(stream: io.BytesIO, name: str) -> Image.Image:
    try:
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's plugins raise whatever damaged data makes them raise
        raise ImageError(
            f"{name}: {_found(stream.getvalue())}", hint=f"accepted: {ImageError.accepted}"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels")
    return image


def _found(data: bytes) -> str:
    """Say what the bytes look like, for files that are no image Pillow knows."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not an image"
    if data[4:8] == b"ftyp":
        return "a HEIC or similar container, which Pillow can't decode"
    if data[:2] == b"\xff\xd8":
        return "a damaged or unsupported JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "a damaged PNG"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:64]):
        return "text, not an image"
    return "no known image format"


def _decode(image: Image.Image, preprocessing: Preprocessing, name: str) -> Image.Image:
    try:
        image.load()
        return _to_rgb(_upright(image), preprocessing.background, name)
    except ImageError:
        raise
    except Exception as error:  # see _identify
        raise ImageError(
            f"{name}: damaged {image.format or 'image'} ({error})",
            hint=f"accepted: {ImageError.accepted}",
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF counts as none."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises anything, and the pixels are still good
        return image
    if orientation in (None, 1):
        return image
    # The tag is left as it is: only pixels go on from here.
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image, background: tuple[int, int, int], name: str) -> Image.Image:
    if image.mode in REFUSED_MODES:
        raise ImageError(
            f"{name}: {REFUSED_MODES[image.mode]} has no agreed way to 8-bit colour",
            hint="convert it to 8-bit RGB first",
        )
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(image, background, name)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, background: tuple[int, int, int], name: str) -> Image.Image:
    """Scale 0…65535 to 0…255; Pillow's own conversion would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"{name}: 32-bit integers have no agreed way to 8-bit colour")
    grey = ((values + 128) // 257).astype(np.uint8)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    transparent: Any = image.info.get("transparency")
    if isinstance(transparent, int):
        rgb[values == transparent] = background
    return Image.fromarray(rgb)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            f"{name}: {array.dtype} of shape {array.shape}",
            hint="an array must be uint8 [height, width, 3], RGB",
        )
    return Image.fromarray(np.ascontiguousarray(array))
