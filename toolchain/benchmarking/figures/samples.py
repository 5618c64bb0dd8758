"""Latencies of single calls as text, small enough to stand in a benchmark's JSON."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import msgspec
import numpy as np


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """The latencies of one case, in the order of the calls."""

    round_calls: tuple[int, ...]
    """Calls of each round."""
    data: str
    """Milliseconds as little-endian float32, compressed by zlib, in base64."""


def encode_samples(rounds: Sequence[Sequence[float]]) -> Samples:
    """Return the latencies in ms of each round's calls as text."""
    values = np.concatenate([np.asarray(values, dtype="<f4") for values in rounds])
    data = base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()
    return Samples(round_calls=tuple(len(values) for values in rounds), data=data)


def decode_samples(samples: Samples) -> list[list[float]]:
    """Return the latencies in ms of each round's calls; raise ValueError for damaged text."""
    needed = 4 * sum(samples.round_calls)
    try:
        # Not more than is needed: a few bytes of text may stand for gigabytes.
        content = zlib.decompressobj().decompress(base64.b64decode(samples.data), needed + 1)
    except zlib.error as error:
        raise ValueError(f"samples can't be decompressed: {error}") from error
    if len(content) != needed or min(samples.round_calls, default=0) < 1:
        raise ValueError("samples are not as many as their rounds say")
    values = np.frombuffer(content, dtype="<f4")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("samples are not all positive numbers")
    ends = np.cumsum(samples.round_calls)[:-1]
    return [part.tolist() for part in np.split(values, ends)]
