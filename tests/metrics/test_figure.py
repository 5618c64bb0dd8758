"""Names in figures: fonts, lengths, and no box in place of a letter."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from toolchain.metrics.figure import drawn_names, whole_ticks


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[font_manager.FontEntry]:
    """The fonts of the system, here none but matplotlib's first; a test adds to them."""
    fonts: list[font_manager.FontEntry] = []
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    first = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    monkeypatch.setattr(font_manager, "findfont", lambda family: str(first))
    return fonts


def add_font(fonts: list[font_manager.FontEntry], path: Path, family: str, letters: str) -> None:
    """Write a font with a square for each of these letters, and install it."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    fonts.append(font_manager.FontEntry(fname=str(path), name=family))


def test_names_that_the_first_font_has_need_no_other(
    installed: list[font_manager.FontEntry],
) -> None:
    names = ["café", "кошка", "Ελλάδα", "قطة", "under $5_{ or $9"]
    drawn = drawn_names(names)
    assert drawn.labels == names
    assert drawn.families == ["DejaVu Sans"]
    assert not drawn.incomplete


def test_names_without_a_font_are_numbered_and_have_no_box(
    installed: list[font_manager.FontEntry],
) -> None:
    drawn = drawn_names(["猫", "cat", "犬 dog", "ก"])
    assert drawn.labels == ["1", "cat", "3: dog", "4"]
    assert drawn.incomplete


def test_a_font_of_the_system_draws_what_the_first_lacks(
    installed: list[font_manager.FontEntry], tmp_path: Path
) -> None:
    add_font(installed, tmp_path / "unfit.ttf", "Test Color Emoji", "猫犬")
    add_font(installed, tmp_path / "han.ttf", "Test Han", "猫犬")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    installed.insert(0, font_manager.FontEntry(fname=str(tmp_path / "broken.ttf"), name="Broken"))
    drawn = drawn_names(["猫", "犬 dog", "ก"])
    assert drawn.labels == ["猫", "犬 dog", "3"]
    assert drawn.families == ["DejaVu Sans", "Test Han"]


def test_long_and_equal_names_stay_apart() -> None:
    long = "x" * 300
    labels = drawn_names([long, long + "y", "a\nb", "short", "cafe\u0301"], most_letters=20).labels
    assert max(map(len, labels)) <= 23
    assert len(set(labels)) == 5
    assert labels[2:] == ["a b", "short", "café"]


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (1, 1, [1]),
        (1, 2, [1, 2]),
        (1, 7, [1, 2, 3, 4, 5, 6, 7]),
        (1, 25, [1, 5, 10, 15, 20, 25]),
        (1, 11, [1, 2, 4, 6, 8, 10, 11]),
        (1, 300, [1, 50, 100, 150, 200, 250, 300]),
        (1, 2000, [1, 500, 1000, 1500, 2000]),
    ],
)
def test_ticks_are_the_ends_and_round_numbers(first: int, last: int, ticks: list[int]) -> None:
    assert whole_ticks(first, last) == ticks
