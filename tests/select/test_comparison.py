"""The choice among candidates: a clear winner wins, luck does not, and of a tie the cheapest."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from toolchain.select.comparison import Candidate, rank, significant


def right(*wrong: int, images: int = 120) -> NDArray[np.bool_]:
    """Return the answers of a candidate that is wrong on these images alone."""
    answers = np.ones(images, bool)
    answers[list(wrong)] = False
    return answers


def candidate(name: str, answers: NDArray[np.bool_], cost: float) -> Candidate:
    return Candidate(name, answers, cost, {"strategy": name})


def test_of_identical_candidates_the_cheaper_is_taken() -> None:
    same = right(1, 2, 3)
    ranking = rank([candidate("dear", same, 10), candidate("cheap", same, 1)])
    assert ranking.chosen.name == "cheap"
    assert [row.verdict for row in ranking.rows()] == ["chosen", "tie"]


def test_a_candidate_that_is_better_on_few_images_is_a_tie_and_the_cheaper_is_taken() -> None:
    ranking = rank([candidate("dear", right(1), 10), candidate("cheap", right(1, 2, 3, 4), 1)])
    assert ranking.candidates[0].name == "dear"
    assert ranking.chosen.name == "cheap"
    assert {c.name for c in ranking.ties} == {"dear", "cheap"}


def test_a_clear_winner_is_taken_whatever_it_costs() -> None:
    ranking = rank([candidate("dear", right(1), 100), candidate("cheap", right(*range(20)), 1)])
    assert ranking.chosen.name == "dear"
    assert [row.verdict for row in ranking.rows()] == ["chosen", "worse"]


@pytest.mark.parametrize("seed", range(20))
def test_the_luckiest_of_twenty_equals_is_not_taken_over_the_cheapest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    equals = [candidate(str(i), rng.random(120) < 0.9, float(i)) for i in range(20)]
    assert rank(equals).chosen.name == "0"


def test_one_candidate_is_chosen() -> None:
    assert rank([candidate("only", right(), 1)]).chosen.name == "only"


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        rank([])


def test_the_more_are_compared_the_clearer_each_has_to_be() -> None:
    assert significant([0.03]) == [True]
    assert significant([0.03, 0.5]) == [False, False]
    assert significant([0.01, 0.04]) == [True, True]
