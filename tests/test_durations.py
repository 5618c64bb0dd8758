from __future__ import annotations

import pytest

from toolchain.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60),
        ("5m", 300),
        ("5 min", 300),
        ("1h", 3600),
        ("0.2s", 0.2),
        ("200MS", 0.2),
        ("3", 3),
    ],
)
def test_lengths_of_time_are_read_in_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "0s", "1h30m", "nan", "inf", "1e3s", "5 d"])
def test_anything_else_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        seconds_of(text)
