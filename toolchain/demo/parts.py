"""The embedded data set: images of machined metal parts, sound and with five kinds of defect.

`rtl demo` draws it, so that it needs no download. The files vary as photographs from a factory do:
in size, JPEG quality and light; about one in eight is stored rotated, with an EXIF orientation; and
two more files can't be decoded.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain.demo.drawing.defects import DEFECTS
from toolchain.demo.drawing.picture import draw_picture
from toolchain.errors import DataError
from toolchain.progress import ProgressReporter, SilentReporter

CLASSES: tuple[str, ...] = tuple(sorted(DEFECTS))

ROTATED_SHARE = 1 / 8
EXIF_ORIENTATION = 0x0112
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation → what turns an image into the pixels that are stored with that orientation."""


def draw_part(label: str, index: int, *, seed: int = 0) -> Image.Image:
    """Return the RGB image number `index` (from 1, as in the file names) of a class.

    It is drawn as it looks once its EXIF orientation is applied, and depends on these three
    arguments alone. `seed` and `index` are not negative. Raises ValueError for a label that is not
    in `CLASSES`.
    """
    return draw_picture(label, np.random.default_rng([seed, CLASSES.index(label), index]))


def draw_parts(
    folder: Path,
    *,
    images_per_class: int = 160,
    seed: int = 0,
    progress: ProgressReporter | None = None,
) -> list[Path]:
    """Write `folder/<class>/part_0001.jpg` … and return the paths of the two undecodable files.

    Those two (`camera_….jpg`) come on top of `images_per_class`. With the same versions of Pillow
    and numpy, the same seed writes the same bytes. Nothing is left of an interrupted run. Raises
    DataError for a folder that is not empty.
    """
    progress = progress or SilentReporter()
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(
            f"{folder} is not empty; nothing was drawn",
            hint="name a folder that does not exist yet, or empty this one",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        draft = Path(temporary) / folder.name
        for label in CLASSES:
            (draft / label).mkdir(parents=True)
        numbers = [(label, i) for label in CLASSES for i in range(1, images_per_class + 1)]
        for label, index in progress.track(numbers, "drawing", len(numbers)):
            _write_part(draft / label / f"part_{index:04d}.jpg", label, index, seed)
        broken = _write_broken(draft, seed)
        if folder.exists():
            folder.rmdir()  # empty, as seen above; Windows does not rename onto a folder
        draft.rename(folder)
    return [folder / path.relative_to(draft) for path in broken]


def _write_part(path: Path, label: str, index: int, seed: int) -> None:
    image = draw_part(label, index, seed=seed)
    # The 1 makes this random stream another than that of the image itself.
    rng = np.random.default_rng([seed, CLASSES.index(label), index, 1])
    exif = Image.Exif()
    if rng.random() < ROTATED_SHARE:
        orientation = int(rng.integers(2, 9))
        image = image.transpose(STORED_AS[orientation])
        exif[EXIF_ORIENTATION] = orientation
    image.save(path, "JPEG", quality=int(rng.integers(55, 96)), exif=exif)


def _write_broken(folder: Path, seed: int) -> list[Path]:
    """Write a JPEG cut off in its header and a file of zeros, as a full memory card leaves them."""
    whole = io.BytesIO()
    draw_part(CLASSES[0], 0, seed=seed).save(whole, "JPEG")  # no other file shows image 0
    cut, zeros = folder / CLASSES[0] / "camera_0001.jpg", folder / CLASSES[-1] / "camera_0002.jpg"
    cut.write_bytes(whole.getvalue()[:100])
    zeros.write_bytes(bytes(32768))
    return [cut, zeros]
