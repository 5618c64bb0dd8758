"""The packages of each extra, compared with pyproject.toml."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT
from toolchain.extras import EXTRA_OF, EXTRAS

WITH_RAY = {"pyarrow"}
"""What ray[data] requires, so that pyproject.toml does not name it."""


def packages_of(extra: str) -> set[str]:
    """Return the names of the packages that pyproject.toml lists for an extra."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = declared["project"]["optional-dependencies"][extra]
    return {re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_lists_the_packages_of_pyproject(extra: str) -> None:
    modules = {package.replace("-", "_") for package in packages_of(extra)}
    assert set(EXTRAS[extra]) - WITH_RAY == modules


def test_each_module_comes_with_one_extra() -> None:
    assert len(EXTRA_OF) == sum(map(len, EXTRAS.values()))
    assert (EXTRA_OF["filelock"], EXTRA_OF["onnxruntime"]) == ("train", "cpu")
