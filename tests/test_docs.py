"""The pages of docs/: what runs their commands, what is generated, and that commands exist."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from tests.conftest import ROOT
from toolchain.cli.main import rtl as group


def script(name: str) -> ModuleType:
    """Import a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


Capture = pytest.CaptureFixture[str]

docs_check = script("check")
generate = script("generate")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def block(*lines: str, comment: str = "") -> str:
    """Return a console block, with a comment above it."""
    return "\n".join(["", comment, "```console", *lines, "```", ""])


def test_commands_are_the_lines_with_a_prompt_in_console_blocks() -> None:
    text = "```bash\n$ no\n```\n$ no\n" + block("$ one", "what it printed", "$ two")
    [found] = docs_check.blocks(text)
    assert found.commands == ["one", "two"]


def test_a_command_goes_on_over_backslashes_and_second_prompts() -> None:
    text = block(
        "$ rtl predict \\", "  model.onnx", "printed", "$ for i in 1 2; do", "> echo; done"
    )
    [found] = docs_check.blocks(text)
    assert found.commands == ["rtl predict \\\nmodel.onnx", "for i in 1 2; do\necho; done"]


def test_a_comment_with_a_typing_error_fails_the_file(page: Path, capfd: Capture) -> None:
    page.write_text(block("$ true", comment="<!-- docs-check: skp because slow -->"))
    assert docs_check.main([str(page)]) == 1
    assert "line 3: 'docs-check: skp because slow' is neither" in capfd.readouterr().out


def test_a_comment_holds_for_the_next_block_only() -> None:
    skip = "<!-- docs-check: skip because slow -->"
    first, second = docs_check.blocks(block("$ true", comment=skip) + block("$ true"))
    assert (first.skip, second.skip) == ("slow", "")


def test_commands_share_a_folder_a_place_in_it_and_variables(page: Path, capfd: Capture) -> None:
    page.write_text(
        block("$ mkdir here", "$ cd here", "$ export WORD=hello")
        + block("$ echo $WORD > said", '$ test "$(cat ../here/said)" = hello')
    )
    assert docs_check.main([str(page)]) == 0
    assert "echo $WORD > said" in capfd.readouterr().out


def test_the_first_failure_ends_the_file_and_shows_its_output(page: Path, capfd: Capture) -> None:
    page.write_text(block("$ echo lost | grep found; true", "$ echo after"))
    assert docs_check.main([str(page)]) == 1
    out = capfd.readouterr().out
    assert "exit status 1, expected 0" in out
    assert "after" not in out


def test_the_next_file_is_checked_after_a_failure(page: Path, capfd: Capture) -> None:
    other = page.with_name("other.md")
    page.write_text(block("$ echo oh; exit 3"))
    other.write_text(block("$ echo fine"))
    assert docs_check.main([str(page), str(other)]) == 1
    out = capfd.readouterr().out
    assert "exit status 3, expected 0; it printed:\noh" in out
    assert "echo fine" in out


@pytest.mark.parametrize(("status", "verdict"), [(6, 0), (0, 1), (5, 1)])
def test_the_last_command_of_a_block_may_be_expected_to_fail(
    page: Path, status: int, verdict: int
) -> None:
    comment = "<!-- docs-check: exit 6 -->"
    page.write_text(block("$ true", f"$ exit {status}", comment=comment))
    assert docs_check.main([str(page)]) == verdict


def test_a_skipped_block_is_listed_with_its_reason(page: Path, capfd: Capture) -> None:
    comment = "<!-- docs-check: skip because it installs packages -->"
    page.write_text(block("$ exit 1", comment=comment))
    assert docs_check.main([str(page)]) == 0
    assert "skip  exit 1  (it installs packages)" in capfd.readouterr().out


def test_the_shared_folder_lies_beside_the_folder_of_the_commands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.jpg").touch()
    monkeypatch.setattr(docs_check, "SHARED", tmp_path)
    page.write_text(block("$ test -f ../shared/photo.jpg", '$ test -f "$RTL_SHARED/photo.jpg"'))
    assert docs_check.main([str(page)]) == 0


@pytest.mark.parametrize(
    ("comment", "commands"),
    [
        ("photos is ../shared/food", ['test "$(ls photos/pear | wc -l)" = 3', "test -L photos"]),
        (
            "photos is 2 a class of ../shared/food",
            ['test "$(ls photos/pear)" = "$(echo 0; echo 1)"'],
        ),
        ("photos is ../shared/food; exit 5", ["ls photos/pear", "exit 5"]),
    ],
)
def test_a_name_stands_for_shared_files_while_commands_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comment: str, commands: list[str]
) -> None:
    (tmp_path / "food" / "pear").mkdir(parents=True)
    for name in "012":
        (tmp_path / "food" / "pear" / name).touch()
    monkeypatch.setattr(docs_check, "SHARED", tmp_path)
    lines = [f"$ {command}" for command in commands]
    page.write_text(block(*lines, comment=f"<!-- docs-check: {comment} -->"))
    assert docs_check.main([str(page)]) == 0


def test_without_the_shared_folder_a_name_that_stands_for_it_is_skipped(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr(docs_check, "SHARED", tmp_path / "nothing")
    page.write_text(block("$ ls photos", comment="<!-- docs-check: photos is ../shared/food -->"))
    assert docs_check.main([str(page)]) == 0
    assert "set RTL_SHARED)" in capfd.readouterr().out


def test_without_the_shared_folder_what_needs_it_and_what_follows_is_skipped(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr(docs_check, "SHARED", tmp_path / "nothing")
    page.write_text(block("$ echo before", "$ cat ../shared/photo.jpg > copy", "$ cat copy"))
    assert docs_check.main([str(page)]) == 0
    out = capfd.readouterr().out
    assert "s  echo before" in out
    assert "set RTL_SHARED)" in out
    assert "skip  cat copy  (comes after a command that needs ../shared)" in out


@pytest.mark.parametrize(
    "name", ["settings.md", "card.schema.json", "api.md", "commands.md", "glossary.md"]
)
def test_generated_pages_are_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == generate.pages()[name], "run `make docs`"


def test_null_is_the_last_choice_of_a_schema_whatever_the_version_of_msgspec() -> None:
    null, number, text = ({"type": name} for name in ("null", "number", "string"))
    schema = {"$defs": {"Card": {"anyOf": [null, text, {"items": [{"anyOf": [null, number]}]}]}}}
    expected = {"$defs": {"Card": {"anyOf": [text, {"items": [{"anyOf": [number, null]}]}, null]}}}
    assert generate.null_last(schema) == expected


def test_every_setting_is_on_its_page_with_its_option() -> None:
    page = generate.pages()["settings.md"]
    row = "| `--momentum` | `momentum` | number ≥ 0 and < 1 | `0.9` | Momentum of sgd. |"
    assert row in page.splitlines()


def test_every_extra_is_on_the_page_of_the_installation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = "".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in rows] == []


BEFORE_A_COMMAND = re.compile(r"\w+=.*|time|do|then|else|!|\$")


def rtl_calls(command: str) -> Iterator[list[str]]:
    """Yield the words after each `rtl` of a shell command."""
    tokens = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    tokens.whitespace_split = True
    words: list[str] = []
    redirected = False
    for token in [*tokens, ";"]:
        if {"<", ">"} & set(token) and set(token) <= set("<>&"):
            redirected = True
            words = words[:-1] if words[-1:] == ["2"] else words
        elif set(token) <= set("();|&"):
            if words[:1] == ["rtl"]:
                yield words[1:]
            words, redirected = [], False
        elif redirected:
            redirected = False  # the file
        elif words or not BEFORE_A_COMMAND.fullmatch(token):
            words.append(token)


def parse(words: list[str]) -> None:
    """Parse a call down to its last subcommand, running nothing; UsageError where it is wrong."""
    command: click.Command = group
    context = click.Context(group, info_name="rtl")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context)
    with contextlib.suppress(click.exceptions.Exit):  # --help, --version
        command.make_context(command.name, words)


def calls_in_docs() -> Iterator[tuple[str, list[str]]]:
    """Yield (where it stands, its words) of every call of rtl in a console block."""
    for path in docs_check.documents():
        for found in docs_check.blocks(path.read_text(encoding="utf-8")):
            # A page may show what a wrong call prints.
            right = found.commands[:-1] if found.status == 2 else found.commands
            for command in right:
                yield from ((f"{path.name}:{found.line}", words) for words in rtl_calls(command))


def test_commands_and_options_in_the_docs_exist() -> None:
    wrong = []
    for where, words in calls_in_docs():
        try:
            parse(words)
        except click.UsageError as error:
            wrong.append(f"{where}: rtl {shlex.join(words)}: {error.format_message()}")
    assert wrong == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("rtl predikt a b", "no command 'predikt'"),
        ("ls; rtl data check photos --strict", "No such option '--strict'"),
        ("rtl predict a b | rtl export runs/a --format coreml", "is not one of"),
        ("rtl finetune photos --strategy \\\n everything", "is not one of"),
        ("rtl verify", "Missing argument"),
    ],
)
def test_a_wrong_call_in_the_docs_would_be_found(command: str, reason: str) -> None:
    *_, words = rtl_calls(command)
    with pytest.raises(click.UsageError) as wrong:
        parse(words)
    assert reason in wrong.value.format_message()


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        ("cd x && rtl doctor > out.txt", [["doctor"]]),
        ("WORD=1 rtl doctor 2> log && rtl demo 2>&1", [["doctor"], ["demo"]]),
        ("for f in *; do rtl inspect $f; done", [["inspect", "$f"]]),
        ('rtl predict m.onnx "a b.jpg" | head -1', [["predict", "m.onnx", "a b.jpg"]]),
        ("rtl --help", [["--help"]]),
    ],
)
def test_calls_of_rtl_are_found_in_shell_commands(command: str, calls: list[list[str]]) -> None:
    assert list(rtl_calls(command)) == calls
