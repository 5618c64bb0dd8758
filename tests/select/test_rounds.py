"""Rounds of a comparison: who is dropped, who wins, when it ends. No network is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolchain.runs.selection import Measured, Selection, measured
from toolchain.runs.settings_file import read_settings
from toolchain.select.clock import OutOfTime
from toolchain.select.rounds import Right, Trial, run_rounds, why

SETTINGS = read_settings(None, {"data": "photos"})
FOLDS = range(5)
IMAGES = 40
"""Of a fold."""


def trial(name: str, cost: float) -> Trial:
    return Trial(name, SETTINGS, {"strategy": name}, cost)


def answers(rate: float, fold: int, seed: int = 0) -> Right:
    return np.random.default_rng((seed, fold)).random(IMAGES) < rate


def known(name: str, cost: float, rate: float) -> Trial:
    """Return a trial that is known on all folds, as a linear probe is."""
    made = trial(name, cost)
    made.right = {fold: answers(rate, fold) for fold in FOLDS}
    return made


def by_rate(**rates: float) -> Callable[[Trial, int], Right]:
    """Return a training whose trials are right on these shares of the images."""
    return lambda one, fold: answers(rates[one.name], fold, seed=int(one.cost))


def test_a_planted_winner_wins_though_it_is_the_dearest() -> None:
    trials = [trial("cheap", 0), trial("middle", 1), trial("dear", 2)]
    found = run_rounds(trials, FOLDS, by_rate(cheap=0.6, middle=0.7, dear=0.99))
    assert found is not None
    assert found.ranking.chosen.name == "dear"
    assert {row.name: row.verdict for row in found.rows} == {
        "dear": "chosen",
        "middle": "worse",
        "cheap": "worse",
    }


def test_identical_candidates_are_a_tie_and_the_cheaper_is_taken() -> None:
    found = run_rounds(
        [trial("dear", 5), trial("cheap", 1)], FOLDS, lambda _, fold: answers(0.9, fold)
    )
    assert found is not None
    assert found.ranking.chosen.name == "cheap"
    assert found.ranking.chosen.correct == max(c.correct for c in found.ranking.candidates)


def test_names_with_commas_are_told_apart_in_the_reason() -> None:
    names = ("layer4 on, 0.1", "layer4 on, 0.2", "layer3 on, 0.1")
    trials = [trial(name, cost) for cost, name in enumerate(names)]
    found = run_rounds(trials, FOLDS[:1], lambda _, fold: answers(0.6, fold))
    assert found is not None
    assert "from layer4 on, 0.2 or layer3 on, 0.1, and" in why(found)


def test_accuracies_of_different_images_say_of_how_many() -> None:
    def shown(*rows: Measured) -> str:
        found = Selection(asked={}, chosen={}, reason="", folds=1, measured=list(rows), seconds=1.0)
        return repr(found)

    probe, tried = measured("probe", 53, 35, "reference"), measured("head", 11, 10, "chosen")
    assert "66.0 % of 53" in shown(probe, tried)
    assert "90.9 % of 11" in shown(probe, tried)
    assert "fold" not in shown(probe, tried).replace("out-of-fold", "")
    assert " of 53" not in shown(probe)
    assert "training images, 1 fold\n" in shown(probe)


def test_the_luckiest_of_equals_seldom_wins() -> None:
    """Of 40 comparisons of eight equals at a level of 5 %, two may be decided by luck."""

    def chosen(seed: int) -> str:
        def train(one: Trial, fold: int) -> Right:
            return answers(0.9, fold, seed=100 * seed + int(one.cost))

        found = run_rounds([trial(str(cost), cost) for cost in range(8)], FOLDS, train)
        assert found is not None
        return found.ranking.chosen.name

    assert sum(chosen(seed) != "0" for seed in range(40)) <= 2


def test_what_is_shown_to_be_worse_is_not_trained_further() -> None:
    trained: list[tuple[str, int]] = []

    def train(one: Trial, fold: int) -> Right:
        trained.append((one.name, fold))
        return answers({"good": 1.0, "bad": 0.1}[one.name], fold)

    run_rounds([trial("good", 0), trial("bad", 1)], FOLDS, train)
    assert trained == [("good", 0), ("bad", 0)]


def test_nothing_is_trained_where_nothing_could_be_shown_to_be_better() -> None:
    probe = known("probe", 0, 1.0)
    probe.right[0][:5] = False  # five errors: to be right on all of them is p = 0.0625

    def train(one: Trial, fold: int) -> Right:
        raise AssertionError(f"{one.name} was trained on fold {fold}")

    found = run_rounds([probe, trial("tail", 1)], FOLDS, train)
    assert found is not None
    assert found.ranking.chosen.name == "probe"
    assert found.ended == "nothing left could win"
    assert found.rows[-1].verdict == "not tried"


def test_a_trial_that_can_no_longer_win_is_dropped() -> None:
    probe = known("probe", 0, 1.0)
    for fold in FOLDS:
        probe.right[fold][:2] = False  # ten errors, of which it would have to be right on nine
    trained: list[int] = []

    def train(_: Trial, fold: int) -> Right:
        trained.append(fold)
        return probe.right[fold].copy()

    found = run_rounds([probe, trial("tail", 1)], FOLDS, train)
    assert found is not None
    assert found.ranking.chosen.name == "probe"
    assert len(trained) < 5
    assert {row.verdict for row in found.rows} == {"chosen", "tie"}


def test_when_the_time_is_over_the_folds_that_all_have_count() -> None:
    def train(one: Trial, fold: int) -> Right:
        if one.name == "slow" and fold == 2:
            raise OutOfTime
        return answers({"quick": 0.9, "slow": 0.92}[one.name], fold, seed=int(one.cost))

    found = run_rounds([trial("quick", 0), trial("slow", 1)], FOLDS, train)
    assert found is not None
    assert found.folds == 2
    assert all(row.images == 2 * IMAGES for row in found.rows)
    assert found.ended == "the rest did not fit into the time"


def test_a_fold_counts_for_all_that_have_it_where_the_one_that_lacks_it_has_lost() -> None:
    right = answers(1.0, 0)
    right[:2] = False  # nobody can be shown to be better by two images

    def train(one: Trial, fold: int) -> Right:
        if one.name == "slow" and fold == 1:
            raise OutOfTime
        return right.copy()

    trials = [trial("quick", 0), trial("done", 1), trial("slow", 2)]
    found = run_rounds(trials, range(2), train)
    assert found is not None
    images = {row.name: row.images for row in found.rows}
    assert images == {"quick": 2 * IMAGES, "done": 2 * IMAGES, "slow": IMAGES}
    assert found.ranking.chosen.name == "quick"
    assert found.folds == 2


def test_what_there_was_no_time_for_is_not_tried() -> None:
    def train(one: Trial, fold: int) -> Right:
        if one.name == "slow":
            raise OutOfTime
        return answers(0.9, fold)

    found = run_rounds([trial("quick", 0), trial("slow", 1)], FOLDS, train)
    assert found is not None
    assert [(row.name, row.verdict) for row in found.rows] == [
        ("quick", "chosen"),
        ("slow", "not tried"),
    ]


def test_what_has_begun_goes_on_where_there_is_no_time_for_another() -> None:
    def train(one: Trial, fold: int) -> Right:
        if one.name == "slow":
            raise OutOfTime
        return answers({"quick": 0.8, "better": 0.95}[one.name], fold, seed=int(one.cost))

    trials = [trial("quick", 0), trial("better", 1), trial("slow", 2)]
    found = run_rounds(trials, FOLDS, train)
    assert found is not None
    assert [(row.name, row.verdict) for row in found.rows] == [
        ("better", "chosen"),
        ("quick", "worse"),
        ("slow", "not tried"),
    ]
    assert found.folds > 1
    assert found.ended == "the rest did not fit into the time"


def test_no_fold_of_any_is_nothing() -> None:
    def train(_: Trial, fold: int) -> Right:
        raise OutOfTime

    assert run_rounds([trial("slow", 0)], FOLDS, train) is None
