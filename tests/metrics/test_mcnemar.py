"""McNemar's exact test, against an enumeration of all outcomes."""

from __future__ import annotations

import itertools
import math

import pytest

from toolchain.metrics.mcnemar import mcnemar_p


@pytest.mark.parametrize("total", [1, 2, 5, 10])
def test_p_is_the_share_of_outcomes_that_are_at_least_as_uneven(total: int) -> None:
    # If both models are equally good, each image on which they differ is a fair coin.
    lost_counts = [sum(coins) for coins in itertools.product((0, 1), repeat=total)]
    for lost in range(total + 1):
        uneven = abs(2 * lost - total)
        as_uneven = sum(abs(2 * count - total) >= uneven for count in lost_counts)
        assert mcnemar_p(lost, total - lost) == pytest.approx(as_uneven / len(lost_counts))


def test_models_without_differences_or_with_even_ones_have_p_1() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(40, 40) == 1.0


def test_the_test_is_symmetric() -> None:
    assert mcnemar_p(9, 2) == mcnemar_p(2, 9)


def test_many_images_agree_with_the_normal_distribution() -> None:
    # With the usual continuity correction.
    z = (3200 - 3000 - 1) / math.sqrt(3000 + 3200)
    assert mcnemar_p(3000, 3200) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
