"""Decodes the bytes of an image to RGB: the only decoder in rtl.

It is the same for training, verification and the device: EXIF orientation is applied, transparency
is composed over a background colour, 16-bit grey is scaled (not clipped), of an animation the first
frame is taken, and colour profiles are ignored. Files that would take too much work are refused.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from toolchain.errors import ImageError, MissingExtraError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.heif import INSTALL, is_heif, open_heif, reads_heif
from toolchain.runtime.image.read import Readable, image_name, read_bytes, shared_lock
from toolchain.runtime.image.sniff import describe_bytes, has_many_scans

ImageSource = Readable | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused before they are decoded (Pillow's own error limit)."""

MAX_SCANS = 100
"""JPEGs with more scans are refused: each is a pass over all pixels. Encoders write up to 20."""

STRIP_PIXELS = 4_000_000
"""Pixels that are converted at a time, so that no copy as large as the image is needed."""

ORIENTATION_TAG = 0x0112
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what has to be done to the stored pixels."""

# The accepted formats. Pillow knows more, but some of those run another program (PostScript), and
# some are decoded in Python, at seconds for a million pixels.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
RARER_FORMATS = {
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "ICO": "IcoImagePlugin",
    "DIB": "BmpImagePlugin",
}
"""Format → the module of Pillow, which is imported when the common formats do not match."""

HEIF = "HEIF"
"""The format of HEIC images, of which `draft` would take an embedded thumbnail."""
CONVERT_FIRST = "convert it to 8-bit RGB first"
CLOSED = "closed"
"""Part of what Pillow says of an image, or the file of an image, that was closed."""
JPEG = b"\xff\xd8\xff"
ACCEPTED = f"accepted: {ImageError.accepted}"

# Modes whose values have no standard conversion to 8 bits.
REFUSED_MODES = {"F": "32-bit float", "LAB": "CIE Lab"}


def read_image(
    source: ImageSource,
    preprocessing: Preprocessing | None = None,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Return an RGB image, EXIF orientation applied.

    `source` is a path, bytes, a file object, a PIL image or a uint8 array [height, width, 3].
    `preprocessing` holds the background colour and how far a JPEG may be scaled down while it is
    decoded (a PIL image is decoded already and is never scaled). `name` is what errors call the
    image. An image of more than `max_pixels` is refused before it is decoded; Pillow itself refuses
    more than twice its `Image.MAX_IMAGE_PIXELS`. Raises ImageError for an image that can't be read.
    """
    preprocessing = preprocessing or Preprocessing()
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    if isinstance(source, Image.Image):
        decode = partial(_from_pil, source, preprocessing, name or "PIL image", max_pixels)
    else:
        name = name or image_name(source)
        decode = partial(_from_bytes, read_bytes(source, name), preprocessing, name, max_pixels)
    try:
        return decode()
    except Warning:
        return _without_warnings(decode)


def _without_warnings(decode: Callable[[], Image.Image]) -> Image.Image:
    """Return the image in a process that makes exceptions of warnings (`-W error`).

    What Pillow warns of is no error: rtl has a limit of its own for pixels, and damaged EXIF may
    still hold the orientation. The filters hold for all threads, so they are changed only here.
    """
    with shared_lock(warnings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode()


def _from_pil(
    image: Image.Image, preprocessing: Preprocessing, name: str, max_pixels: int
) -> Image.Image:
    _require_size(image, name, max_pixels)
    # Two threads that decode one image at the same time read each other's bytes of its file.
    with shared_lock(getattr(image, "fp", None) or image):
        return _decode(image, preprocessing, name, max_pixels)


def _from_bytes(
    data: bytes, preprocessing: Preprocessing, name: str, max_pixels: int
) -> Image.Image:
    image = _identify(io.BytesIO(data), name, max_pixels)
    if preprocessing.decode_scale and image.format != HEIF:
        side = preprocessing.needed * preprocessing.decode_scale
        image.draft(image.mode, (side, side))
    return _decode(image, preprocessing, name, max_pixels)


def _identify(stream: io.BytesIO, name: str, max_pixels: int) -> Image.Image:
    try:
        image = open_image(stream)
    except Warning:  # see `_without_warnings`
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, max_pixels) from error
    except Exception as error:  # on damaged data Pillow's plugins raise exceptions of any type
        raise _unknown(stream.getvalue(), name, error) from error
    _require_size(image, name, max_pixels)
    if image.format in ("JPEG", "MPO") and has_many_scans(stream.getvalue(), MAX_SCANS):
        raise ImageError(
            f"{name}: a JPEG with more than {MAX_SCANS} scans", hint="save it anew to read it"
        )
    return image


def _unknown(data: bytes, name: str, reason: Exception) -> ImageError:
    """Return the error of bytes that no decoder takes; `reason` is what the last one raised."""
    from toolchain.runtime.image.wrong_kind import kind_of_bytes

    if isinstance(reason, MissingExtraError) and reason.reason is not None:
        return ImageError(f"{name}: {describe_bytes(data)}; {reason}", hint=reason.hint)
    if is_heif(data):
        found, hint = (
            ("a damaged HEIC", ACCEPTED) if reads_heif() else (describe_bytes(data), INSTALL)
        )
        return ImageError(f"{name}: {found}", hint=hint)
    wrong = kind_of_bytes(data)
    if wrong is not None:
        return ImageError(f"{name}: {wrong.what}", hint=wrong.hint)
    return ImageError(f"{name}: {describe_bytes(data)}", hint=ACCEPTED)


def open_image(stream: io.BytesIO) -> Image.Image:
    """Return an image of an accepted format, not decoded yet; raises any exception for others."""
    if stream.getbuffer()[: len(JPEG)] == JPEG:
        # Image.open would do the same, but first imports the modules of all common formats, which
        # takes as long as decoding a photograph.
        from PIL.JpegImagePlugin import jpeg_factory

        return jpeg_factory(stream)
    try:
        return Image.open(stream, formats=COMMON_FORMATS)
    except UnidentifiedImageError:
        for module in RARER_FORMATS.values():
            importlib.import_module(f"PIL.{module}")
    try:
        return Image.open(stream, formats=tuple(RARER_FORMATS))
    except UnidentifiedImageError:
        if not is_heif(stream.getvalue()[:12]):
            raise
        return open_heif(stream)


def _require_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise ImageError for an image without pixels, or with more than `max_pixels`."""
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
        _require_size(image, name, max_pixels)  # the size of an ICO is known only now
        return _to_rgb(_oriented(image), preprocessing.background, name)
    except (ImageError, Warning):
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, max_pixels) from error
    except MemoryError as error:
        size = f"{image.width}×{image.height}"
        raise ImageError(f"{name}: not enough memory for {size} pixels") from error
    except Exception as error:  # see _identify
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        without_file = getattr(image, "fp", image) is None and getattr(image, "tile", None)
        if CLOSED in reason or without_file:
            raise ImageError(
                f"{name}: a PIL image that is closed", hint="use it before its `with` block ends"
            ) from error
        raise ImageError(
            f"{name}: damaged {image.format or 'image'} ({reason})", hint=ACCEPTED
        ) from error


def _oriented(image: Image.Image) -> Image.Image:
    """Return the image with its EXIF orientation applied; damaged EXIF counts as none."""
    try:
        transpose = TRANSPOSES.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Warning:  # see `_without_warnings`
        raise
    except Exception:  # damaged EXIF raises exceptions of any type; the pixels are still good
        return image
    # The tag stays in the metadata, which nothing reads after this.
    return image if transpose is None else image.transpose(transpose)


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
        return _in_strips(image, lambda strip: _over_background(strip, background))
    return image.convert("RGB")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return the converted image; rows are converted in strips, which needs less memory."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return convert(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _over_background(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")


def _from_16_bit(image: Image.Image, background: tuple[int, int, int], name: str) -> Image.Image:
    """Return an image scaled from 0…65535 to 0…255; Pillow's own conversion would clip at 255."""
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
        from toolchain.runtime.image.wrong_kind import kind_of_array

        wrong = kind_of_array(array)
        raise ImageError(f"{name}: {wrong.what}", hint=wrong.hint)
    return Image.fromarray(np.ascontiguousarray(array))
