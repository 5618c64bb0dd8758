"""The version stands in toolchain/version.py, and the changelog knows it."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import toolchain
from tests.conftest import ROOT

HEADING = re.compile(r"^## \[(.+?)\](?: - (\S+))?$", re.MULTILINE)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_newest_dated_entry_of_the_changelog_is_the_version() -> None:
    unreleased, newest, *_ = HEADING.findall(CHANGELOG)
    assert unreleased == ("Unreleased", "")
    assert newest[0] == toolchain.__version__


def test_entries_are_dated_and_stand_newest_first() -> None:
    dates = [date.fromisoformat(day) for _, day in HEADING.findall(CHANGELOG)[1:]]
    assert dates == sorted(dates, reverse=True)


def test_pyproject_reads_the_version_where_rtl_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == ROOT / "toolchain" / "version.py"
