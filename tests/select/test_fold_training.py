"""The training of a fold is given up where its other epochs can't be done in time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from toolchain.select.clock import OutOfTime
from toolchain.select.fold_training import ends_in_time


def trained(seconds: list[float], epochs: int) -> Any:
    history = [{"seconds": each} for each in seconds]
    return SimpleNamespace(
        finished=SimpleNamespace(history=history),
        epoch=len(history),
        setup=SimpleNamespace(settings=SimpleNamespace(epochs=epochs)),
    )


def test_a_fold_is_given_up_after_the_epoch_that_shows_it() -> None:
    with pytest.raises(OutOfTime):
        ends_in_time(time.monotonic() + 20.0)(trained([10.0], 10))


def test_a_slow_first_epoch_alone_does_not_end_it() -> None:
    ends_in_time(time.monotonic() + 20.0)(trained([10.0, 1.0], 10))


def test_the_last_epoch_needs_no_time_more() -> None:
    ends_in_time(time.monotonic() - 1.0)(trained([10.0], 1))
