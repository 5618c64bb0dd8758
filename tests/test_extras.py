"""The packages of each extra, compared with pyproject.toml."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toolchain import extras
from toolchain.errors import MissingExtraError
from toolchain.extras import EXTRA_OF, EXTRAS, import_extra, missing_extra

IMPORTED = {"mlflow-skinny": "mlflow", "mlcommons-loadgen": "mlperf_loadgen"}
"""Packages whose module has another name."""


def packages_of(extra: str) -> set[str]:
    """Return the names of the packages that pyproject.toml lists for an extra."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = declared["project"]["optional-dependencies"][extra]
    return {re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_lists_the_packages_of_pyproject(extra: str) -> None:
    modules = {IMPORTED.get(name) or name.replace("-", "_") for name in packages_of(extra)}
    assert set(EXTRAS[extra]) == modules


def test_each_module_comes_with_one_extra() -> None:
    assert len(EXTRA_OF) == sum(map(len, EXTRAS.values()))
    assert (EXTRA_OF["filelock"], EXTRA_OF["onnxruntime"]) == ("train", "cpu")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an optional package that is found first and imported anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(extras._EXTRA_OR_NONE, "fakeengine", "cpu")
    monkeypatch.setitem(extras.PROBES, "fakeengine", "Session")
    yield tmp_path / "fakeengine"
    for name in [name for name in sys.modules if name.startswith("fakeengine")]:
        del sys.modules[name]


BROKEN = {
    "library": "raise ImportError('libengine.so.1: cannot open shared object file')",
    "windows": "raise ImportError('DLL load failed while importing engine')",
    "system": "raise OSError('libcudart.so: cannot open shared object file')",
    "part": "import fakeengine.capi",
    "dependency": "import a_package_that_is_not_there",
    "numpy": "raise AttributeError('_ARRAY_API not found')",
    "syntax": "def",
    "old": "Sess = 1",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_package_that_cannot_be_imported_is_not_called_missing(package: Path, kind: str) -> None:
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN[kind])
    with pytest.raises(MissingExtraError, match=r"^fakeengine is installed and can't be") as raised:
        import_extra("fakeengine")
    assert "--force-reinstall" in (raised.value.hint or "")
    assert raised.value.reason
    assert ("Visual C++" in (raised.value.hint or "")) == (kind == "windows")


def test_a_package_that_is_absent_is_not_called_broken(package: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"^fakeengine is not installed$") as raised:
        import_extra("fakeengine")
    assert raised.value.hint == 'pip install "rtl-toolchain[cpu]"'


def test_an_empty_folder_of_a_package_is_named(package: Path) -> None:
    (package / "capi").mkdir(parents=True)
    with pytest.raises(MissingExtraError, match="is a folder without the package") as raised:
        import_extra("fakeengine")
    assert str(package) in str(raised.value)


def test_a_package_that_is_there_is_returned(package: Path) -> None:
    package.mkdir()
    (package / "__init__.py").write_text("Session = 3")
    assert import_extra("fakeengine").Session == 3


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if kind not in ("old", "syntax")])
def test_an_error_during_an_import_names_the_package(package: Path, kind: str) -> None:
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN[kind])
    with pytest.raises((ImportError, OSError, AttributeError)) as raised:
        importlib.import_module("fakeengine")
    found = missing_extra(raised.value)
    assert found is not None
    assert found.what == "fakeengine"
    assert found.reason


def test_what_an_empty_folder_lacks_names_the_package(package: Path) -> None:
    package.mkdir()
    module = importlib.import_module("fakeengine")
    with pytest.raises(AttributeError) as raised:
        module.Session  # noqa: B018
    assert "a folder without the package" in str(missing_extra(raised.value))


def test_other_errors_name_no_package() -> None:
    for error in (ValueError("x"), ImportError("y", name="json"), AttributeError("z", obj=3)):
        assert missing_extra(error) is None
