"""The card of a TorchScript or .pt2 file: read from its archive, and refused when it is damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.runtime.tiny import tiny_card
from toolchain.backends.archive import archived_card
from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY, Card, decode_card, encode_card
from toolchain.runtime.onnxfile.scan import MAX_CARD_BYTES


def archive(path: Path, card: bytes) -> Path:
    """Write a zip archive with a card where torch puts it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr(f"archive/extra/{CARD_KEY}", card)
    return path


def card_of(path: Path) -> Card:
    return decode_card(archived_card(path), source=str(path))


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "references.npz"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("classes.npy", b"")
    with pytest.raises(ModelFileError, match="has no rtl card"):
        archived_card(path)


def test_card_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt2", bytes(MAX_CARD_BYTES + 1))
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelFileError, match="a card of 16,777,217 bytes"):
        archived_card(path)


def test_damaged_archive_is_a_model_file_error(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt2", encode_card(tiny_card(format="pt2")).encode())
    assert card_of(path).format == "pt2"
    content, refused = path.read_bytes(), 0
    for place in range(30, len(content) - 22, 7):
        path.write_bytes(content[:place] + b"\xff\xff" + content[place + 2 :])
        try:
            card_of(path)
        except ModelFileError:
            refused += 1
    assert refused > 20
