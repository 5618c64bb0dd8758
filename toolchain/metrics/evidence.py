"""How much a number of validation images can show, and how sure a figure of theirs is.

Only the standard library: `rtl inspect` and `rtl verify` use it on a device.
"""

from __future__ import annotations

from toolchain.display import percent
from toolchain.metrics.intervals import clopper_pearson_upper, wilson_interval
from toolchain.metrics.mcnemar import mcnemar_p

SIGNIFICANT = 0.05


def can_show_a_difference(images: int) -> bool:
    """Return whether so many images could show that one model is better than another.

    With five or fewer no result could: even if the one were right on all of them and the other on
    none, McNemar's test would give p = 0.0625.

    >>> can_show_a_difference(5), can_show_a_difference(6)
    (False, True)
    """
    return mcnemar_p(0, images) <= SIGNIFICANT


def accuracy_words(correct: int, images: int) -> str:
    """Return an accuracy with the number of images and its 95 % interval.

    >>> accuracy_words(21, 24)
    '87.5 % of 24 images (95 % interval 69.0 % to 95.7 %)'
    """
    low, high = wilson_interval(correct, images)
    noun = "image" if images == 1 else "images"
    return (
        f"{percent(correct / images)} of {images} {noun} "
        f"(95 % interval {percent(low)} to {percent(high)})"
    )


def most_flips(flips: int, images: int) -> float:
    """Return the share of labels that may differ, at 95 %, where `flips` of `images` did.

    >>> round(most_flips(0, 1), 2), round(most_flips(0, 149), 3)
    (0.95, 0.02)
    """
    return clopper_pearson_upper(flips, images)


def flips_words(flips: int, images: int) -> str:
    """Return what so many differing labels of so many images show about all images.

    >>> flips_words(0, 1)
    '1 image proves nothing: up to 95.0 % of all may differ'
    >>> flips_words(0, 300)
    'at most 1.0 % of all (95 %)'
    """
    bound = percent(most_flips(flips, images))
    if can_show_a_difference(images):
        return f"at most {bound} of all (95 %)"
    counted = "1 image proves" if images == 1 else f"{images} images prove"
    return f"{counted} nothing: up to {bound} of all may differ"


def as_good_as_the_best(correct: list[int], images: int) -> int:
    """Return how many counts of right images are not shown to be below the highest.

    Two counts of the same images differ by at least as many images as lie between them; where even
    that many, all in one direction, are not significant, the lower one may be as good.

    >>> as_good_as_the_best([10, 20, 22, 21], 24)
    3
    """
    best = max(correct)
    return sum(mcnemar_p(0, best - count) > SIGNIFICANT for count in correct)
