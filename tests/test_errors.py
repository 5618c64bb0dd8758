"""The classes of errors: one tree, and each pickles with all that it holds."""

from __future__ import annotations

import pickle

import pytest

import toolchain
from toolchain import errors
from toolchain.errors import MissingExtraError, SettingsError, ToolchainError

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ToolchainError)
]


def made(kind: type[ToolchainError]) -> ToolchainError:
    if kind is MissingExtraError:
        return MissingExtraError("torch", "train")
    return kind("what is wrong", hint="what to do")


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_pickles_with_its_message_hint_result_and_exit_code(
    kind: type[ToolchainError],
) -> None:
    error = made(kind)
    error.result = {"files": 1}
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert copy.hint == error.hint is not None
    assert copy.result == {"files": 1}
    assert copy.exit_code == error.exit_code


def test_every_error_is_public_and_in_the_tree_of_the_docstring() -> None:
    for kind in CLASSES:
        assert getattr(toolchain, kind.__name__) is kind
        assert kind.__name__ in str(errors.__doc__)


def test_a_wrong_setting_is_an_error_of_rtl_and_a_value_error() -> None:
    assert issubclass(SettingsError, ToolchainError)
    assert issubclass(SettingsError, ValueError)
    assert SettingsError.exit_code == 2
