"""Damaged files of every format are read or refused (more: tests/slow/image_fuzzing.py)."""

from __future__ import annotations

import warnings
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.image.mutations import MUTATIONS
from tests.runtime.image.test_sniff import READ
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess

SEEDS = {kind: write() for kind, (write, _, _) in READ.items()}
SMALL = Preprocessing(size=8, resize_size=9, decode_scale=1)
# Small, because a damaged header may declare any size, and a test should take a second.
MAX_PIXELS = 1_000_000


def read_or_refused(data: bytes) -> None:
    try:
        image = read_image(data, SMALL, max_pixels=MAX_PIXELS)
    except ImageError as error:
        refusal = str(error)
    else:
        assert image.mode == "RGB"
        assert preprocess(image, SMALL).shape == (8, 8, 3)
        return
    assert refusal.startswith("image: ")
    assert len(refusal) < 300


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(SEEDS)),
    st.sampled_from(sorted(SEEDS)),
    st.sampled_from(sorted(MUTATIONS)),
    st.integers(0, 2**32),
)
def test_a_damaged_file_is_read_or_refused(kind: str, other: str, mutation: str, seed: int) -> None:
    read_or_refused(MUTATIONS[mutation](SEEDS[kind], SEEDS[other], Random(seed)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", *(data[:4] for data in SEEDS.values())]), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(start: bytes, rest: bytes) -> None:
    read_or_refused(start + rest)


def test_reading_a_damaged_file_leaves_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    for data in SEEDS.values():
        read_or_refused(data[: len(data) // 2])
    assert list(warnings.filters) == before
