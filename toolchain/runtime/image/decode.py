"""From bytes to an upright RGB image: the only decoder in rtl.

What is decided here, once, for training, verification and the device: EXIF orientation is applied,
transparency is composed over a background colour, 16-bit grey is scaled (not clipped), animations
give their first frame, colour profiles are ignored. And how much work a file may ask for.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.read import Readable, image_name, read_bytes
from toolchain.runtime.image.sniff import found, has_many_scans

ImageSource = Readable | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused before they are decoded (Pillow's own error limit)."""

MAX_SCANS = 100
"""JPEGs with more scans are refused: each is a pass over all pixels. Encoders write up to 20."""

STRIP = 4_000_000
"""Pixels that are converted at a time, so that a large image needs no further copies of itself."""

ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The formats that are read. Pillow knows more, but some of those run another program (PostScript),
# and some are decoded in Python, at seconds for a million pixels.
COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
RARER = {
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "ICO": "IcoImagePlugin",
    "DIB": "BmpImagePlugin",
}

# Set once: switching warnings off around each read is not safe in threads. The pixel limit is
# ours, and damaged files have their rules below; what Pillow says about either would be noise.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.", category=UserWarning)

CONVERT_FIRST = "convert it to 8-bit RGB first"
JPEG = b"\xff\xd8\xff"
ACCEPTED = f"accepted: {ImageError.accepted}"

# Modes whose values have no agreed way to 8 bits.
REFUSED_MODES = {"F": "32-bit float", "LAB": "CIE Lab"}


def read_image(
    source: ImageSource,
    preprocessing: Preprocessing | None = None,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Return an upright RGB image from a path, bytes, file object, PIL image or uint8 RGB array.

    `preprocessing` says the background colour and how far a JPEG may be scaled while it is decoded
    (a PIL image belongs to the caller and is never scaled); `name` is what errors call the image.
    More than `max_pixels` are refused before they are decoded; Pillow refuses more than twice its
    own `Image.MAX_IMAGE_PIXELS`. Raises ImageError for whatever can't be read.
    """
    preprocessing = preprocessing or Preprocessing()
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    if isinstance(source, Image.Image):
        name = name or "PIL image"
        _require_size(source, name, max_pixels)
        return _decode(source, preprocessing, name, max_pixels)
    name = name or image_name(source)
    image = _identify(io.BytesIO(read_bytes(source, name)), name, max_pixels)
    if preprocessing.decode_scale:
        side = preprocessing.needed * preprocessing.decode_scale
        image.draft(image.mode, (side, side))
    return _decode(image, preprocessing, name, max_pixels)


def _identify(stream: io.BytesIO, name: str, max_pixels: int) -> Image.Image:
    try:
        image = _open(stream)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, max_pixels) from error
    except Exception as error:  # Pillow's plugins raise whatever damaged data makes them raise
        raise ImageError(f"{name}: {found(stream.getvalue())}", hint=ACCEPTED) from error
    _require_size(image, name, max_pixels)
    if image.format in ("JPEG", "MPO") and has_many_scans(stream.getvalue(), MAX_SCANS):
        raise ImageError(
            f"{name}: a JPEG with more than {MAX_SCANS} scans", hint="save it anew to read it"
        )
    return image


def _open(stream: io.BytesIO) -> Image.Image:
    if stream.getbuffer()[: len(JPEG)] == JPEG:
        # As Image.open does after it has imported the modules of all common formats, which takes
        # as long as decoding a photograph.
        from PIL.JpegImagePlugin import jpeg_factory

        return jpeg_factory(stream)
    try:
        return Image.open(stream, formats=COMMON)
    except UnidentifiedImageError:
        for module in RARER.values():
            importlib.import_module(f"PIL.{module}")
        return Image.open(stream, formats=tuple(RARER))


def _require_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise ImageError where an image is larger than the limit, or there is nothing of it."""
    if not image.width * image.height:
        raise ImageError(f"{name}: an image without pixels")
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(name, max_pixels)


def _too_many_pixels(name: str, max_pixels: int) -> ImageError:
    return ImageError(f"{name}: more than {max_pixels:,} pixels")


def _decode(
    image: Image.Image, preprocessing: Preprocessing, name: str, max_pixels: int
) -> Image.Image:
    try:
        image.load()
        _require_size(image, name, max_pixels)  # an icon's size is that of the image inside
        return _to_rgb(_upright(image), preprocessing.background, name)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, max_pixels) from error
    except MemoryError as error:
        size = f"{image.width}×{image.height}"
        raise ImageError(f"{name}: not enough memory for {size} pixels") from error
    except Exception as error:  # see _identify
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(
            f"{name}: damaged {image.format or 'image'} ({reason})", hint=ACCEPTED
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF counts as none."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises anything, and the pixels are still good
        return image
    # The tag is left as it is: only pixels go on from here.
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, background: tuple[int, int, int], name: str) -> Image.Image:
    if image.mode in REFUSED_MODES:
        raise ImageError(
            f"{name}: {REFUSED_MODES[image.mode]} has no agreed way to 8-bit colour",
            hint=CONVERT_FIRST,
        )
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _in_strips(image, lambda strip: _from_16_bit(strip, background, name))
    if image.has_transparency_data:
        return _in_strips(image, lambda strip: _composed(strip, background))
    return image.convert("RGB")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert an image some rows at a time: the same pixels, without copies as large as itself."""
    rows = max(1, STRIP // image.width)
    if rows >= image.height:
        return convert(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _composed(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")


def _from_16_bit(image: Image.Image, background: tuple[int, int, int], name: str) -> Image.Image:
    """Scale 0…65535 to 0…255; Pillow's own conversion would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name}: 32-bit integers have no agreed way to 8-bit colour", hint=CONVERT_FIRST
        )
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
