"""The settings of a stopped run: all that training wrote, an empty text included."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.errors import DataError
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.stored_settings import stored_settings


def test_a_stopped_run_is_read_whole_where_a_setting_is_an_empty_text(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    settings = FinetuneSettings(data="photos")
    assert settings.group_column == ""
    file.write_text(settings_toml(settings))
    assert stored_settings(file, whole=True) == settings


@pytest.mark.parametrize("gone", ["seed", "epochs"])
def test_a_setting_that_a_stopped_run_lacks_is_named(gone: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    lines = settings_toml(FinetuneSettings(data="photos")).splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith(f"{gone} =")))
    with pytest.raises(DataError, match=f"it lacks {gone}"):
        stored_settings(file, whole=True)


def test_a_stopped_run_of_an_older_rtl_gets_the_defaults_of_later_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    lines = settings_toml(FinetuneSettings(data="photos")).splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("group_column =")))
    assert stored_settings(file, whole=True).group_column == ""
