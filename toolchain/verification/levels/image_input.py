"""Level "pixels" of a file with input `image`: its graph's resize and crop, and the predictor's.

The graph has a tensor between its resize and the network. The file is opened once more with that
tensor as an output, which takes no package but onnxruntime, so a device can compare it too. What
the graph makes of a whole image must also be what the network gets: the logits of the image have
to be those of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.backends.outputs import concatenate_outputs
from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card, Preprocessing
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import Pixels
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import same_file_tolerance
from toolchain.runtime.session import readable_reason
from toolchain.verification.levels.numbers import compare_numbers
from toolchain.verification.levels.pixels import compare_pixels, pixel_summary
from toolchain.verification.result import Figures, Level

PIXELS_TENSOR = "pixels"
"""The tensor of the graph that holds the resized and cropped image."""
LEVELS_INSIDE, LEVELS_AT_BORDER = 1, 60
"""How many levels of 255 a pixel may be off by, inside and where the border of the resized image is
kept. At the border up to an eighth of the resize filter lies outside of the image; onnxruntime
gives that weight to the outermost pixel, Pillow to all of them. In a corner it is 1 − (7/8)² of
255."""
MADE_SIZES = (
    (96, 131),
    (131, 96),
    (17, 23),
    (333, 1000),
    (1001, 640),
    (1504, 1003),
    (1003, 2011),
)
"""(width, height) of made pictures: small, upright, long, and with sides of more than 1,000."""

GraphResize = Callable[[NDArray[np.uint8]], Pixels]


def image_input_level(
    card: Card, names: list[str], by_predictor: Pixels, in_graph: Pixels, *, against: str
) -> Level:
    """Compare the graph's pixels with the predictor's, each uint8 [images, size, size, 3]."""
    border = _border(card.preprocessing)
    difference = compare_pixels(names, by_predictor, in_graph)
    inside = _inner(by_predictor, border), _inner(in_graph, border)
    inner = compare_pixels(names, *inside) if border else difference
    at_border = allowed_levels(card.preprocessing)
    right = inner.max_levels <= LEVELS_INSIDE and difference.max_levels <= at_border
    figures: Figures = {**msgspec.structs.asdict(difference), "max_levels_inside": inner.max_levels}
    return Level(
        level="pixels",
        against=against,
        passed=difference.images > 0 and right,
        rule=f"no value is off by more than {LEVELS_INSIDE} of 255"
        + (f", at the border {at_border}" if border else "")
        + f" ({card.preprocessing.mode})",
        summary=pixel_summary(difference),
        figures=figures,
        where=None if right else f"resize or crop, in the graph ({difference.first})",
    )


def made_pictures_level(predictor: Predictor, held: Card, path: Path) -> Level:
    """Compare what the graph makes of made pictures of many sizes; a lone file is enough."""
    resize_in_graph = open_graph_resize(path)
    pictures = {f"{w} × {h}": made_picture(w, h) for w, h in _made_sizes(held.preprocessing)}
    names = list(pictures)
    in_graph = np.concatenate([resize_in_graph(image) for image in pictures.values()])
    by_predictor = np.stack(
        [preprocess(Image.fromarray(image), held.preprocessing) for image in pictures.values()]
    )
    level = image_input_level(held, names, by_predictor, in_graph, against="made pictures")
    if not level.passed:
        return level
    unused = unused_pixels(predictor, held, list(pictures.values()), in_graph)
    return level if unused is None else msgspec.structs.replace(level, passed=False, where=unused)


def unused_pixels(
    predictor: Predictor, held: Card, images: Sequence[NDArray[np.uint8]], in_graph: Pixels
) -> str | None:
    """Describe a graph whose network gets other pixels than its tensor holds; None for no such."""
    whole = concatenate_outputs([predictor.compute(image) for image in images])
    from_tensor = predictor.run(in_graph)
    found = compare_numbers(from_tensor.logits, whole.logits, tolerance=same_file_tolerance(held))
    if found.passed:
        return None
    return (
        f"resize or crop, in the graph: the network gets other pixels, off by {found.max_abs:.2g}"
    )


def made_picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return noise over blocks of colours in a grey frame, uint8 [height, width, 3].

    Noise shows another filter, blocks show another place. In the frame all values are the same:
    resize filters that differ at the border give the same there.
    """
    generator = np.random.RandomState(width * 8191 + height)  # its stream never changes (NEP 19)
    blocks = generator.randint(0, 256, (16, 16, 3))
    rows, columns = (np.arange(n) * 16 // n for n in (height, width))
    picture = (blocks[rows][:, columns] + generator.randint(0, 256, (height, width, 3))) // 2
    for side, axis in ((height, 0), (width, 1)):
        frame = side // 16 + 2
        edges = np.r_[:frame, side - frame : side]
        picture[(slice(None),) * axis + (edges,)] = 128
    return picture.astype(np.uint8)


def open_graph_resize(path: Path) -> GraphResize:
    """Return the part of a graph that resizes and crops, as a function.

    It takes an image uint8 [height, width, 3] with the EXIF orientation applied, and returns pixels
    [1, size, size, 3]. Raises ModelFileError for a graph that has no such tensor.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    name = PIXELS_TENSOR.encode()
    value = b"\x0a" + bytes([len(name)]) + name  # ValueInfoProto: name
    output = b"\x62" + bytes([len(value)]) + value  # GraphProto: output
    # Protobuf merges messages that follow one another: this adds an output to the file's graph.
    content = path.read_bytes() + b"\x3a" + bytes([len(output)]) + output  # ModelProto: graph
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"the graph gives no tensor {PIXELS_TENSOR!r} between its resize and the network: "
            f"{readable_reason(str(error))}"
        ) from error

    def resize_and_crop(image: NDArray[np.uint8]) -> Pixels:
        try:
            pixels: Pixels = session.run([PIXELS_TENSOR], {"image": image})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelFileError(
                f"the graph can't resize an image of {image.shape[1]} × {image.shape[0]} pixels: "
                f"{readable_reason(str(error))}"
            ) from error
        return pixels

    return resize_and_crop


def _made_sizes(preprocessing: Preprocessing) -> list[tuple[int, int]]:
    """Return the sizes of the made pictures; some leave 1 and 3 pixels to cut."""
    side, size = preprocessing.needed, preprocessing.size
    odd = [length for length in range(side, side + 4) if (length - size) % 2]
    return [*MADE_SIZES, *((side, length) for length in odd), *((length, side) for length in odd)]


def allowed_levels(preprocessing: Preprocessing) -> int:
    """Return how many levels any of the pixels that the graph makes may be off by."""
    return LEVELS_AT_BORDER if _border(preprocessing) else LEVELS_INSIDE


def _border(preprocessing: Preprocessing) -> int:
    """Return how many pixels at the border may differ by more than inside."""
    cut = preprocessing.resize_size - preprocessing.size
    # The crop is rounded to even: of one pixel too many it may cut all from one side.
    border_is_cut_off = preprocessing.mode == "crop" and cut >= 2
    return 0 if border_is_cut_off else max(1, preprocessing.size // 8)


def _inner(pixels: Pixels, border: int) -> Pixels:
    return pixels[:, border:-border, border:-border] if border else pixels
