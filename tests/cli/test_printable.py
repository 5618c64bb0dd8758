"""Names with control characters reach no terminal, and JSON keeps them exactly."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from tests.conftest import Rtl, draw_stripes
from tests.runtime.tiny import tiny_card, tiny_model, write
from toolchain.cli import terminal
from toolchain.printable import printable, printable_json, shell_word
from toolchain.progress_bar import NotebookReporter, TerminalReporter
from toolchain.runtime.card import encode_card

NAMES = {
    "escape": "a\x1b[2Jb",
    "C1": "a\x9b2Jb",
    "delete": "a\x7fb",
    "newline": "a\nerror: b",
    "return": "a\rb",
    "bell": "a\x07b",
    "bidi": "a\u202eb\u2066c",
    "mark": "a\u200fb",
    "line separator": "a\u2028b",
    "surrogate": "a\udce9b",
    "tag": "a\U000e0041b",
}
HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize("kind", NAMES)
def test_every_harmful_character_is_replaced(kind: str) -> None:
    name = NAMES[kind]
    shown = printable(name)
    assert not HARMFUL.search(shown)
    assert "\n" not in shown
    assert json.loads(printable_json(json.dumps(name, ensure_ascii=False))) == name
    assert not HARMFUL.search(printable_json(json.dumps(name, ensure_ascii=False)))


@pytest.mark.parametrize(
    "name", ["café", "東京　駅", "\u0646\u200c\u0645", "👨\u200d👩", "a\u00a0b"]
)
def test_names_of_any_language_stay_as_they_are(name: str) -> None:
    assert printable(name) == name
    assert printable_json(f'"{name}"') == f'"{name}"'


@pytest.mark.parametrize("name", [*NAMES.values(), "it's \x1b", "back\\\x1b", "plain one", "-"])
def test_a_command_with_any_name_can_be_pasted(name: str) -> None:
    word = shell_word(name)
    assert not HARMFUL.search(word)
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode("utf-8", "surrogateescape") == name


def test_the_console_replaces_what_a_table_lets_through(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a\x1b[2Jb", title="t\x9b2J")
    table.add_row("c\x1b]0;owned\x07d")
    terminal.console().print(table, Text("e\u202ef"))
    assert not HARMFUL.search(capsys.readouterr().out)


def test_progress_replaces_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalReporter().message("reading a\x1b[2J\nerror: b")
    assert capsys.readouterr().err == "reading a [2J error: b\n"
    shown: list[object] = []
    NotebookReporter(shown.append).message("a\x1b[2Jb")
    assert not HARMFUL.search(repr(shown))


CLASSES = ("red\x1b[31m", "blue\x9b2J\u202e", "green\nerror: pwned")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A model whose name and classes, and images whose names, hold control characters."""
    folder = tmp_path / "x\x1b[2Jy"
    folder.mkdir()
    card = encode_card(tiny_card(classes=CLASSES))
    for name in ("one\u202e.jpg", "two\x9b.jpg"):
        draw_stripes(folder / name, "down", 1)
    (folder / "bad\x1b]0;t\x07.jpg").write_text("text")
    (folder / "worse\x7f.jpg").write_text("text")
    return write(tiny_model(card=card), folder / "m\x1b[31m.onnx")


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "MODEL", "FOLDER", "--format", "table", "--top", "3"),
        ("predict", "MODEL", "FOLDER"),
        ("predict", "MODEL", "FOLDER", "-o", "out\x1b.jsonl"),
        ("predict", "MODEL", "gone\x1b[2J.jpg"),
        ("predict", "gone\x1b[2J.onnx", "FOLDER"),
        ("inspect", "MODEL"),
        ("inspect", "MODEL", "--json"),
        ("verify", "MODEL"),
        ("data", "check", "FOLDER"),
        ("evaluate", "FOLDER"),
        ("export", "FOLDER"),
        ("report", "FOLDER"),
        ("bench", "MODEL", "--batch-size", "1", "--seconds", "0.1", "--retries", "0"),
        ("bench", "FOLDER"),
        ("no\x1b[2Jcommand",),
        ("predict", "MODEL", "FOLDER", "--top", "\x1b[2J"),
    ],
)
def test_no_command_prints_them(rtl_here: Rtl, hostile: Path, words: tuple[str, ...]) -> None:
    places = {"MODEL": str(hostile), "FOLDER": str(hostile.parent)}
    done = rtl_here(*(places.get(word, word) for word in words))
    assert done.stdout + done.stderr
    assert not HARMFUL.search(done.stdout + done.stderr)
    assert "\nerror: pwned" not in done.stdout
    assert "bug in rtl" not in done.stderr


def test_rows_hold_the_exact_names(rtl_here: Rtl, hostile: Path) -> None:
    rows = [
        json.loads(line)
        for line in rtl_here("predict", hostile, hostile.parent).stdout.splitlines()
    ]
    assert {row["file"] for row in rows} == {str(path) for path in hostile.parent.glob("*.jpg")}
    assert {row["label"] for row in rows if "label" in row} <= set(CLASSES)
    inspected = json.loads(rtl_here("inspect", hostile, "--json").stdout)
    assert tuple(inspected["card"]["classes"]) == CLASSES
