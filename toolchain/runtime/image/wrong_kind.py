"""Says what somebody passed in place of an image, and what to pass instead.

Imported only when something could not be read, so that reading images stays quick.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATH_OR_BYTES = "pass a path, the bytes of an image, a file opened with 'rb', or a PIL image"
SEVERAL = "predict_many takes several images"
ARRAY = "an array must be uint8 [height, width, 3], RGB"
URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/{1,3}\S")
DATA_URL = re.compile(r"data:[\w.+/-]*[;,]", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
BASE64_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0AKg", "AAAA")
"""How base64 text of common image formats begins."""
LEAST_BASE64 = 40
"""Shorter texts are names."""
LONGEST_NAME = 255
"""Of a file, in most file systems."""
BYTES_PATH = re.compile(rb"[^\0\r\n]{1,200}\.[A-Za-z]{3,4}")
LARGEST_CHANNELS = 4


class WrongKind(NamedTuple):
    """What was passed, and what to do about it."""

    what: str
    hint: str


PACKAGES = {
    "torch": WrongKind(
        "a torch tensor",
        "for [3, height, width] in 0…1: "
        "(tensor * 255).round().byte().permute(1, 2, 0).cpu().numpy()",
    ),
    "tensorflow": WrongKind("a TensorFlow tensor", f"tensor.numpy(); {ARRAY}"),
    "jax": WrongKind("a JAX array", f"numpy.asarray(array); {ARRAY}"),
    "jaxlib": WrongKind("a JAX array", f"numpy.asarray(array); {ARRAY}"),
    "cupy": WrongKind("a CuPy array", f"array.get(); {ARRAY}"),
    "cv2": WrongKind("an OpenCV UMat", f"cv2.cvtColor(image.get(), cv2.COLOR_BGR2RGB); {ARRAY}"),
    "requests": WrongKind("an HTTP response", "pass response.content, the bytes of the image"),
    "httpx": WrongKind("an HTTP response", "pass response.content, the bytes of the image"),
    "aiohttp": WrongKind("an HTTP response", "pass await response.read(), the bytes of the image"),
    "pandas": WrongKind("a pandas object", PATH_OR_BYTES),
    "matplotlib": WrongKind("a matplotlib object", PATH_OR_BYTES),
}
"""Package of a class → what its objects are."""
UPLOAD = WrongKind(
    "an upload that is read asynchronously",
    "pass await upload.read(), or upload.file",
)


def kind_of(source: object) -> WrongKind:
    """Return what an object is that is neither path, bytes, file, PIL image nor array."""
    kind, package = type(source).__name__, type(source).__module__.partition(".")[0]
    if source is None:
        return WrongKind(
            "None, not an image",
            "see what gave it: cv2.imread returns None for a file that it can't read",
        )
    if hasattr(source, "__await__"):
        return WrongKind(
            "a coroutine that was not awaited", "await it first: predictor(await upload.read())"
        )
    if package in PACKAGES:
        return PACKAGES[package]
    if isinstance(source, Mapping):
        return WrongKind(
            f"{_with_article(source)}, not an image", "pass the value that holds the image"
        )
    if isinstance(source, type):
        return WrongKind(f"the class {source.__name__}, not an image", PATH_OR_BYTES)
    if kind == "module":
        return WrongKind("a module, not an image", PATH_OR_BYTES)
    if isinstance(source, list | tuple | set | frozenset):
        what = _with_article(source) if source else f"an empty {kind}"
        return WrongKind(f"{what}, not an image", SEVERAL)
    if hasattr(source, "__next__") or hasattr(source, "__aiter__"):
        return WrongKind(f"{_with_article(source)}, not an image", SEVERAL)
    if hasattr(source, "__array__"):
        return WrongKind(f"{kind} is not an image", f"numpy.asarray(it); {ARRAY}")
    return WrongKind(f"{kind} is not an image", PATH_OR_BYTES)


def kind_of_text(text: str) -> WrongKind | None:
    """Return what a text is that is no path of a file; None where it may be a path."""
    if DATA_URL.match(text):
        return WrongKind("a data URL, not a path", "pass base64.b64decode(text.partition(',')[2])")
    url = URL.match(text)
    if url and url[1].lower() == "file":
        return WrongKind("a file URL, not a path", "pass the path without 'file://'")
    if url:
        return WrongKind(
            f"a URL ({url[1].lower()}), not a path",
            "download it first and pass the bytes; rtl opens no connections",
        )
    if is_base64(text):
        return WrongKind("base64 text, not a path", "pass base64.b64decode(text)")
    if text.lstrip()[:1] in ("<", "{", "["):
        return WrongKind("a text, not a path", PATH_OR_BYTES)
    if text.endswith(("\n", "\r")):
        return WrongKind("a line with its line end, not a path", "pass line.rstrip('\\r\\n')")
    if text.startswith("~"):
        return WrongKind("no such file: Python does not replace ~", "os.path.expanduser(path)")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return WrongKind("no such file: the quotes are part of the name", "leave them away")
    return None


def kind_of_bytes(data: bytes) -> WrongKind | None:
    """Return what bytes are that hold a text about an image and not the image; else None."""
    beginning = data[:200].strip()
    text = beginning.decode("ascii", "replace")
    if DATA_URL.match(text):
        return WrongKind(
            "a data URL, not the bytes of an image",
            "pass base64.b64decode(data.partition(b',')[2])",
        )
    if URL.match(text) and len(data) < len(text) * 20 and b"\n" not in beginning:
        return WrongKind("a URL, not the bytes of an image", "download it and pass the bytes")
    if data.startswith(b"--") and b"content-disposition:" in data[:1000].lower():
        return WrongKind(
            "a multipart form, not the bytes of an image",
            "pass the bytes of the file in it, which a web framework gives",
        )
    if len(data) >= LEAST_BASE64 and is_base64(text[: len(text) // 4 * 4]):
        return WrongKind("base64 text, not the bytes of an image", "pass base64.b64decode(data)")
    if len(data) <= 4096 and BYTES_PATH.fullmatch(data):
        return WrongKind(
            "a path as bytes, not the bytes of an image", "pass os.fsdecode(path), a str"
        )
    return None


def kind_of_file(file: Any, error: Exception) -> WrongKind | None:
    """Return what is wrong with a file object that could not be read; None for a failed read."""
    if getattr(file, "closed", False) is True or "closed file" in str(error):
        return WrongKind("a file that is closed", "read it before its `with` block ends")
    if str(error) in ("read", "not readable", "File not open for reading"):
        return WrongKind("a file opened for writing", "open it with 'rb'")
    return None


def kind_of_array(array: NDArray[Any]) -> WrongKind:
    """Return what is wrong with an array that is not uint8 [height, width, 3]."""
    what = f"{array.dtype} of shape {array.shape}"
    if 0 in array.shape:
        return WrongKind(f"{what}, an array without pixels", ARRAY)
    if array.ndim == 1 and array.dtype == np.uint8:
        return WrongKind(f"{what}: encoded bytes, not pixels?", f"pass array.tobytes(); {ARRAY}")
    if array.ndim == 4:
        return WrongKind(f"{what}, a batch", f"predict_many takes its images one by one; {ARRAY}")
    steps = [step for step in (_shape_step(array), _dtype_step(array)) if step]
    return WrongKind(what, "; ".join([*steps, ARRAY]))


def _shape_step(array: NDArray[Any]) -> str | None:
    """Return how an array gets the axes [height, width, 3]; None where it has them."""
    shape = array.shape
    if array.ndim == 2 or (array.ndim == 3 and shape[2] == 1):
        return "grey: numpy.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)"
    if array.ndim != 3 or shape[2] == 3:
        return None
    if shape[2] == LARGEST_CHANNELS:
        return "with alpha: Image.fromarray(array) of PIL, which is composed over the background"
    if shape[0] <= LARGEST_CHANNELS:
        return "channels come first: array.transpose(1, 2, 0)"
    return None


def _dtype_step(array: NDArray[Any]) -> str | None:
    """Return how an array gets the type uint8; None where it has it or can't get it."""
    if array.dtype == np.uint8 or array.dtype.kind not in "fiub":
        return None
    if array.dtype == np.bool_:
        return "(array * 255).astype('uint8')"
    if array.dtype.kind == "f" and _largest(array) <= 1:
        return "values in 0…1: (array * 255).round().astype('uint8')"
    if array.dtype == np.uint16 and _largest(array) > 255:
        return "16 bits: (array / 257).round().astype('uint8')"
    return "array.clip(0, 255).round().astype('uint8')"


def _largest(array: NDArray[Any]) -> float:
    """Return the largest value of the first rows; a whole image would take longer.

    It is NaN where none is a number.
    """
    return float(np.fmax.reduce(array[:64].astype(np.float64), axis=None))


def is_base64(text: str) -> bool:
    """Return whether a text is base64 of bytes: it begins as images do, or is long."""
    stripped = "".join(text.split()) if len(text) < 1 << 20 else text
    if len(stripped) < LEAST_BASE64 or not BASE64.fullmatch(stripped):
        return False
    if stripped.startswith(BASE64_STARTS):
        return True
    kinds = (str.isupper, str.islower, str.isdigit)
    if len(stripped) <= LONGEST_NAME or not all(any(map(kind, stripped)) for kind in kinds):
        return False
    with_padding = stripped[: len(stripped) // 4 * 4]
    try:
        base64.b64decode(with_padding, altchars=b"-_" if set("-_") & set(stripped) else None)
    except (binascii.Error, ValueError):
        return False
    return True


def kind_of_many(images: object) -> WrongKind | None:
    """Return what was passed in place of an iterable of images; None for an iterable."""
    if isinstance(images, str | os.PathLike):
        return WrongKind("a single path", "pass [path]; rtl.predict takes folders and patterns")
    if isinstance(images, bytes | bytearray | memoryview):
        return WrongKind("the bytes of a single image", "pass [data]")
    if hasattr(images, "read"):
        return WrongKind("a single file", "pass [file]")
    if isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype != object:
        return WrongKind(f"a single array of shape {images.shape}", "pass [array]")
    if isinstance(images, Mapping):
        return WrongKind(_with_article(images), "pass its values()")
    if hasattr(images, "__aiter__") or hasattr(images, "__await__"):
        return WrongKind(_with_article(images), "collect its images into a list first")
    if hasattr(images, "__iter__") or hasattr(images, "__getitem__"):
        package = type(images).__module__.partition(".")[0]
        return PACKAGES[package] if package in ("torch", "pandas", "matplotlib") else None
    if hasattr(images, "tobytes"):
        return WrongKind("a single PIL image", "pass [image]")
    return WrongKind(_with_article(images), "pass a list, or any iterable, of images")


def _with_article(thing: object) -> str:
    kind = type(thing).__name__.replace("_", " ")
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
