"""Ways to damage an image file, for the tests and for tests/slow/image_fuzzing.py."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

EXTREMES: tuple[bytes, ...] = (
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xff",
    b"\xff\x7f",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
)
EXTREMES += (b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1", b"\1\0", b"\x40\0", b"\0\x40")

Mutation = Callable[[bytes, bytes, Random], bytes]
"""Returns damaged bytes, from the bytes of a file, those of another file and a random generator."""


def _flipped_bits(data: bytes, _: bytes, random: Random) -> bytes:
    return _flipped(data, len(data), random)


def _flipped_header(data: bytes, _: bytes, random: Random) -> bytes:
    return _flipped(data, min(len(data), 300), random)


def _flipped(data: bytes, until: int, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 5, 20, 100))):
        changed[random.randrange(until)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, _: bytes, random: Random) -> bytes:
    return data[: random.randrange(min(len(data), random.choice((100, 1000, len(data)))))]


def _part(data: bytes, random: Random) -> slice:
    start = random.randrange(len(data))
    return slice(start, start + random.randrange(1, random.choice((10, 200, 20_000))))


def _removed(data: bytes, _: bytes, random: Random) -> bytes:
    part = _part(data, random)
    return data[: part.start] + data[part.stop :]


def _repeated(data: bytes, _: bytes, random: Random) -> bytes:
    part = _part(data, random)
    return data[: part.start] + data[part] * random.randrange(2, 30) + data[part.stop :]


def _zeroed(data: bytes, _: bytes, random: Random) -> bytes:
    part = _part(data, random)
    return data[: part.start] + bytes(len(data[part])) + data[part.stop :]


def _extremes(data: bytes, _other: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 4))):
        value = random.choice(EXTREMES)
        start = random.randrange(min(len(data), random.choice((64, 400, len(data)))))
        changed[start : start + len(value)] = value
    return bytes(changed)


def _spliced(data: bytes, other: bytes, random: Random) -> bytes:
    part = _part(data, random)
    return data[: part.start] + other[_part(other, random)] + data[part.stop :]


def _swapped_header(data: bytes, other: bytes, random: Random) -> bytes:
    length = random.choice((4, 16, 50, 200, 600))
    return other[:length] + data[length:]


def _appended(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: random.randrange(1, len(data) + 1)] + other


def _unchanged(data: bytes, _: bytes, __: Random) -> bytes:
    return data


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": _flipped_bits,
    "bits flipped in the header": _flipped_header,
    "cut off": _cut,
    "part removed": _removed,
    "part repeated": _repeated,
    "part zeroed": _zeroed,
    "extreme numbers": _extremes,
    "part of another file": _spliced,
    "header of another file": _swapped_header,
    "another file behind": _appended,
    "wrong extension": _unchanged,
}
