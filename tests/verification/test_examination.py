"""Whatever a judged file makes a library raise is a failed level, and other errors go through."""

from __future__ import annotations

import pytest

from toolchain.errors import DataError, MissingExtraError, ModelFileError, ParityError
from toolchain.verification.examination import attempted, examined
from toolchain.verification.result import Level


def raising(error: Exception) -> Level:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        KeyError("weight"),
        IndexError("list index out of range"),
        AssertionError(),
        MemoryError(),
        RecursionError("too deep"),
        ValueError("two\nlines"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_error_becomes_a_failed_level_that_names_what_was_compared(error: Exception) -> None:
    level = examined("numbers", "run", lambda: raising(error))
    assert (level.level, level.against, level.passed) == ("numbers", "run", False)
    assert type(error).__name__ in level.summary
    assert "\n" not in level.summary


@pytest.mark.parametrize("error", [ModelFileError("no kernel"), ParityError("other shape")])
def test_an_error_about_the_file_keeps_its_words_and_asks_for_the_place(error: Exception) -> None:
    level = examined("numbers", "card", lambda: raising(error), lambda: "the batch")
    assert (level.summary, level.where) == (str(error), "the batch")


@pytest.mark.parametrize("error", [DataError("gone"), MissingExtraError("torch", "train")])
def test_an_error_about_the_reference_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)):
        examined("card", "run", lambda: raising(error))


def test_an_interruption_goes_through() -> None:
    def interrupted() -> Level:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempted("card", "run", interrupted)


def test_the_traceback_of_a_failed_level_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "toolchain"):
        examined("numbers", "run", lambda: raising(KeyError("weight")))
    (record,) = caplog.records
    assert record.getMessage() == "the level numbers against the run failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)
