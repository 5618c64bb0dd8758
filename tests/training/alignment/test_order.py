"""Which photographs of the other camera a step sees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from toolchain.data.layouts import Sample
from toolchain.training.alignment.images import UNKNOWN
from toolchain.training.alignment.order import TargetOrder


def samples(count: int, labelled: int = 0) -> list[Sample]:
    labels = [0] * labelled + [UNKNOWN] * (count - labelled)
    return [Sample(Path(f"{n}.jpg"), label, str(n)) for n, label in enumerate(labels)]


def batches(order: TargetOrder, epoch: int = 1) -> list[list[int]]:
    order.epoch = epoch
    return list(order)


def test_there_are_as_many_full_batches_as_of_training_images() -> None:
    for count in (5, 100):
        order = TargetOrder(samples(count), 7, 8, seed=0)
        assert len(order) == 7
        assert [len(batch) for batch in batches(order)] == [8] * 7


def test_every_photograph_is_drawn_alike_often() -> None:
    drawn = Counter(
        index for batch in batches(TargetOrder(samples(8), 6, 4, seed=0)) for index in batch
    )
    assert set(drawn.values()) == {3}


def test_labelled_photographs_stand_first_in_each_batch_and_take_turns() -> None:
    found = batches(TargetOrder(samples(30, labelled=3), 6, 8, seed=0))
    first = [index for batch in found for index in batch[:2]]
    assert set(Counter(first).values()) == {4}
    assert set(first) == {0, 1, 2}


def test_an_epoch_has_its_own_order_whatever_came_before_it() -> None:
    order = TargetOrder(samples(40), 5, 8, seed=1)
    second = batches(order, 2)
    assert batches(order, 1) != second
    assert batches(TargetOrder(samples(40), 5, 8, seed=1), 2) == second
    assert batches(TargetOrder(samples(40), 5, 8, seed=2), 2) != second
