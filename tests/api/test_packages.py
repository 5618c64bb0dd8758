"""Functions of the package name the optional package that is missing or broken."""

from __future__ import annotations

import pytest

import toolchain
from toolchain.api.packages import names_missing_packages
from toolchain.errors import DataError, MissingExtraError


@names_missing_packages
def failing(error: Exception) -> None:
    """Fail as an import inside a command does."""
    raise error


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"^torch is not installed$") as raised:
        failing(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert raised.value.hint == 'pip install "rtl-toolchain[train]"'


def test_a_package_that_is_broken_is_named() -> None:
    with pytest.raises(MissingExtraError, match="torch is installed and can't be"):
        failing(ImportError("libc10.so: cannot open shared object file", name="torch._C"))


@pytest.mark.parametrize("error", [DataError("no images"), ValueError("x"), ImportError("y")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        failing(error)
    assert raised.value is error


@pytest.mark.parametrize("name", [name for name in toolchain.__all__ if name[0].islower()])
def test_every_function_of_the_package_does_so(name: str) -> None:
    assert hasattr(getattr(toolchain, name), "__wrapped__")
