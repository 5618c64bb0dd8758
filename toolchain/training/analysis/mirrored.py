"""Classes that a mirrored or turned picture would change, and an augmentation that does so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.intervals import wilson_interval
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.curves import Row
from toolchain.training.analysis.validated import Validated

SIDES = (
    *(("left", "right"), ("l", "r"), ("lt", "rt"), ("links", "rechts"), ("gauche", "droite")),
    *(("izquierda", "derecha"), ("izq", "der"), ("sinistra", "destra"), ("esquerda", "direita")),
    *(("clockwise", "counterclockwise"), ("clockwise", "anticlockwise"), ("cw", "ccw")),
    *(("port", "starboard"), ("east", "west"), ("b", "d"), ("p", "q"), ("od", "os")),
    *(("左", "右"), ("dextral", "sinistral"), ("lefthand", "righthand"), ("лево", "право")),
)
"""Words of class names that a picture exchanges when it is mirrored."""
ENDS = (
    *(("up", "down"), ("top", "bottom"), ("upper", "lower"), ("north", "south"), ("6", "9")),
    *(("oben", "unten"), ("haut", "bas"), ("six", "nine"), ("n", "u"), ("m", "w"), ("上", "下")),
    *(("upright", "inverted"), ("upright", "upsidedown"), ("arriba", "abajo")),
)
"""Words that it exchanges when it is turned upside down."""
QUARTERS = (("horizontal", "vertical"), ("across", "down"), ("landscape", "portrait"), ("h", "v"))
"""Words that it exchanges when it is turned by 90°."""
MIRRORS = ("s0", "s1", "s3", "turns", "randaugment", "trivialaugment")
OVERTURNS = ("s0", "s1", "turns")
TURNS = ("turns",)
LEAST_SHARE, LEAST_IMAGES = 0.2, 2
"""How often classes with such names are taken for each other to be asked about."""
LEAST_IMAGES_OF_A_PAIR, ONLY_EACH_OTHER, LEARNT = 12, 0.8, 0.75
"""Other classes are asked about where so many images are told apart no better than by a coin, their
errors are mostly for each other, and training images are not told apart either."""


class MirrorPair(NamedTuple):
    """Two classes by their index, and what makes the one of the other."""

    first: int
    second: int
    change: str


def mirror_pairs(classes: Sequence[str], augment: str) -> list[MirrorPair]:
    """Return the classes whose names say that the augmentation makes the one of the other.

    >>> mirror_pairs(["left_hand", "right_hand", "both"], "s3")
    [MirrorPair(first=0, second=1, change='mirrors')]
    """
    words = [tuple(_words(name)) for name in classes]
    known = [
        *((pair, "mirrors") for pair in SIDES if augment in MIRRORS),
        *((pair, "turns over") for pair in ENDS if augment in OVERTURNS),
        *((pair, "turns") for pair in QUARTERS if augment in TURNS),
    ]
    found = []
    for i, first in enumerate(words):
        for j in range(i + 1, len(words)):
            change = next((c for pair, c in known if _exchanged(first, words[j], pair)), None)
            if change:
                found.append(MirrorPair(i, j, change))
    return found


def mirrored_classes(
    validated: Validated, rows: Sequence[Row], settings: FinetuneSettings
) -> str | None:
    """Return the evidence that the augmentation makes pictures of one class look like another's."""
    if validated.multi_label or settings.augment not in MIRRORS:
        return None
    for pair in _confused(validated, rows, settings):
        confusion = validated.confusion
        mutual = confusion[pair.first, pair.second] + confusion[pair.second, pair.first]
        of_both = confusion[[pair.first, pair.second]].sum()
        first, second = validated.classes[pair.first], validated.classes[pair.second]
        return (
            f"'{first}' and '{second}' are taken for each other in {mutual} of {of_both} images, "
            f"and --augment {settings.augment} {pair.change} the training images"
        )
    return None


def _confused(
    validated: Validated, rows: Sequence[Row], settings: FinetuneSettings
) -> Iterator[MirrorPair]:
    """Yield the pairs that are confused, those first whose names say why."""
    confusion = validated.confusion
    for pair in mirror_pairs(validated.classes, settings.augment):
        mutual = confusion[pair.first, pair.second] + confusion[pair.second, pair.first]
        of_both = confusion[[pair.first, pair.second]].sum()
        if mutual >= max(LEAST_IMAGES, LEAST_SHARE * of_both):
            yield pair
    if rows and rows[-1]["train_accuracy"] >= LEARNT and len(validated.classes) == 2:
        return
    for i in range(len(confusion)):
        for j in range(i + 1, len(confusion)):
            if _told_apart_by_a_coin(confusion, i, j):
                yield MirrorPair(i, j, "mirrors")


def _told_apart_by_a_coin(confusion: NDArray[np.int64], i: int, j: int) -> bool:
    right, mutual = confusion[i, i] + confusion[j, j], confusion[i, j] + confusion[j, i]
    pair = confusion[i].sum() + confusion[j].sum()
    # Where all are taken for one of the two, the network has not learnt either.
    if right + mutual < LEAST_IMAGES_OF_A_PAIR or not confusion[i, j] or not confusion[j, i]:
        return False
    low, high = wilson_interval(int(right), int(right + mutual))
    return low <= 0.5 <= high and mutual >= ONLY_EACH_OTHER * (pair - right)


def _exchanged(first: Sequence[str], second: Sequence[str], pair: tuple[str, str]) -> bool:
    """Return whether two names differ in one word only, by the words of the pair."""
    if len(first) != len(second):
        return False
    differing = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    return len(differing) == 1 and set(differing[0]) == set(pair)


def _words(name: str) -> list[str]:
    """Return the words of a class name in lower case: "LeftHand_2" has left, hand and 2.

    A name that begins or ends with a side's word, without a break, is divided there.
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words = re.findall(r"[^\W_]+", spaced.lower())
    long = [side for pair in (*SIDES, *ENDS) for side in pair if len(side) >= 4]
    divided: list[str] = []
    for word in words:
        divided += [word] if word in long else _divided(word, long)
    return divided


def _divided(word: str, sides: Sequence[str]) -> list[str]:
    for side in sides:
        if word.startswith(side):
            return [side, word.removeprefix(side)]
        if word.endswith(side):
            return [word.removesuffix(side), side]
    return [word]
