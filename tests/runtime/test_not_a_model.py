"""A file that is no model is named for what it is, with the run folder that it lies in."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from toolchain.errors import DataError, ModelFileError
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.session import open_session

SAFETENSORS = struct.pack("<Q", 2) + b"{}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run that are given by mistake."""
    folder = tmp_path / "my run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("card.json", "settings.toml", "checkpoints/last.json"):
        (folder / name).write_text('{"version": 1}\n')
    for name in ("model.safetensors", "checkpoints/last.safetensors"):
        (folder / name).write_bytes(SAFETENSORS)
    return folder


@pytest.mark.parametrize(
    "name",
    ["card.json", "settings.toml", "model.safetensors", "checkpoints/last.safetensors"],
)
def test_a_file_of_a_run_leads_to_the_run(name: str, run: Path) -> None:
    with pytest.raises(ModelFileError, match="in a run folder, not a model file") as caught:
        open_session(run / name)
    assert f"give the run folder '{run}'" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["card.json", "checkpoints", "checkpoints/last.safetensors"])
def test_a_part_of_a_run_in_the_place_of_the_run_leads_to_it(name: str, run: Path) -> None:
    with pytest.raises(DataError, match="is in a run folder") as caught:
        RunFolder.open(run / name)
    assert str(caught.value.hint) == f"give '{run}'"


def test_the_run_is_named_as_the_file_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    with pytest.raises(ModelFileError) as caught:
        open_session(Path("my run/card.json"))
    assert "give the run folder 'my run'," in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(SAFETENSORS, "the weights"), (b"\x80\x02}q\x00.", "a pickle"), (b"epochs = 3\n", "a text")],
)
def test_other_files_are_called_what_they_are(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"is {kind}") as caught:
        open_session(path)
    assert "rtl export RUN" in str(caught.value.hint)


@pytest.mark.parametrize("first", ["rtl", "card"])
def test_a_delta_leads_to_its_export(first: str, tmp_path: Path) -> None:
    header = b'{"__metadata__":{"%s":"{}"}}' % first.encode()
    path = tmp_path / "my food.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError, match="is a delta") as caught:
        open_session(path)
    assert f"rtl export RUN --delta '{path}' makes one" in str(caught.value.hint)
