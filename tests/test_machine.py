"""The description of the machine."""

from __future__ import annotations

import importlib.metadata

import pytest

from toolchain.machine import installed_versions
from toolchain.version import __version__


def test_the_version_of_rtl_is_that_of_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1")
    assert installed_versions()["rtl-toolchain"] == __version__


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert list(installed_versions()) == ["rtl-toolchain"]
