"""HEIC: read where its package is installed, else counted, with the way to install it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

from toolchain.data.walk import is_image_name
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import heif
from toolchain.runtime.image.decode import read_image

HEIC = b"\0\0\0\x18ftypheic" + bytes(12)


class SmallHeif(ImageFile.ImageFile):
    """Stands for pillow-heif's class: two pixels by one, and an embedded thumbnail."""

    format = "HEIF"

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read()[20:] == b"damaged":
            raise SyntaxError("no")
        self._size, self._mode, self.tile = (2, 1), "RGB", []
        self.im = Image.new("RGB", (2, 1), "red").im

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        raise AssertionError("a thumbnail would be read in place of the image")


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """Forget whether the package is installed, before and after."""
    heif.reads_heif.cache_clear()
    yield
    heif.reads_heif.cache_clear()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pillow_heif")
    module.HeifImageFile = SmallHeif  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    monkeypatch.setattr(heif, "reads_heif", lambda: True)
    for user in ("toolchain.runtime.image.decode", "toolchain.data.walk"):
        monkeypatch.setattr(f"{user}.reads_heif", lambda: True)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.mark.usefixtures("missing")
def test_without_the_package_heic_is_no_image_and_the_error_says_how_to_read_it() -> None:
    assert not is_image_name("IMG_1.HEIC")
    with pytest.raises(ImageError, match="HEIC") as caught:
        read_image(HEIC)
    assert 'pip install "rtl-toolchain[heif]"' in str(caught.value.hint)


def test_a_package_that_cannot_be_imported_is_named_and_the_image_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pillow_heif").mkdir()
    (tmp_path / "pillow_heif" / "__init__.py").write_text("raise RuntimeError('libheif')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    with pytest.raises(ImageError, match="can't be imported: libheif") as caught:
        read_image(HEIC)
    assert "--force-reinstall" in str(caught.value.hint)


@pytest.mark.usefixtures("installed")
def test_with_the_package_heic_is_an_image_and_its_thumbnail_is_not_taken() -> None:
    assert is_image_name("IMG_1.HEIC")
    image = read_image(HEIC, Preprocessing(decode_scale=1))
    assert (image.size, image.getpixel((0, 0))) == ((2, 1), (255, 0, 0))


@pytest.mark.usefixtures("installed")
def test_damaged_heic_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC[:20] + b"damaged")
    with pytest.raises(ImageError, match=r"a\.heic: a damaged HEIC"):
        read_image(tmp_path / "a.heic")


@pytest.mark.usefixtures("installed")
def test_pillow_itself_does_not_open_heic_afterwards() -> None:
    read_image(HEIC)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(HEIC))
