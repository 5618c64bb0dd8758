"""The batches of each epoch: their order, and their division among processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from toolchain.data.layouts import Sample
from toolchain.training.inputs.order import Order


def samples(*counts: int) -> list[Sample]:
    """Return this many samples of each class."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [Sample(Path(f"{number}.jpg"), label) for number, label in enumerate(labels)]


def epoch(order: Order, number: int) -> list[list[int]]:
    order.epoch = number
    return list(order)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("count", "batch"), [(32, 8), (30, 8), (5, 8), (1, 8), (8, 1)])
def test_each_image_comes_once_an_epoch(count: int, batch: int, seed: int) -> None:
    order = Order(samples(count), batch, seed=seed)
    batches = epoch(order, 1)
    assert sorted(chain(*batches)) == list(range(count))
    assert len(batches) == len(order)
    assert all(len(part) == batch for part in batches[:-1])


def test_no_batch_has_one_image_and_the_one_left_out_differs_between_epochs() -> None:
    order = Order(samples(17), 8, seed=1)
    left_out = set()
    for number in range(1, 30):
        batches = epoch(order, number)
        assert [len(part) for part in batches] == [8, 8]
        left_out |= set(range(17)) - set(chain(*batches))
    assert len(left_out) > 10


def test_each_epoch_has_its_own_order_and_the_seed_repeats_it() -> None:
    first = [epoch(Order(samples(40), 8, seed=5), number) for number in range(1, 6)]
    again = Order(samples(40), 8, seed=5)
    assert len({str(batches) for batches in first}) == 5
    # In any sequence: a resumed run starts at a later epoch.
    assert [epoch(again, number) for number in (5, 4, 3, 2, 1)] == first[::-1]
    assert epoch(Order(samples(40), 8, seed=6), 1) != first[0]


def test_without_a_seed_the_samples_keep_their_order() -> None:
    order = Order(samples(9), 4, seed=None)
    assert epoch(order, 1) == epoch(order, 2) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_balanced_draws_all_classes_equally_often() -> None:
    drawn_from = samples(100, 10, 10)
    order = Order(drawn_from, 16, seed=2, balanced=True)
    drawn = Counter(
        drawn_from[index].label for number in range(50) for index in chain(*epoch(order, number))
    )
    assert sum(drawn.values()) == 50 * 120
    # 2,000 expected with a standard deviation of 36.5; five of them have a probability of 1e-6.
    assert all(abs(count - 2000) < 5 * 36.5 for count in drawn.values()), drawn


def test_balanced_draws_reach_all_images_of_a_class_and_follow_the_seed() -> None:
    order = Order(samples(40, 4), 8, seed=2, balanced=True)
    epochs = [epoch(order, number) for number in range(20)]
    assert set(chain(*chain(*epochs))) == set(range(44))
    assert epochs[0] != epochs[1]
    assert epoch(Order(samples(40, 4), 8, seed=2, balanced=True), 0) == epochs[0]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_each_batch_is_divided_among_the_processes(processes: int, balanced: bool) -> None:
    everything = samples(20, 6)
    alone = Order(everything, 8, seed=4, balanced=balanced)
    shares = [
        Order(everything, 8, seed=4, balanced=balanced, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    for number in (1, 2):
        for order in (alone, *shares):
            order.epoch = number
        for whole, *parts in zip(
            alone.process_batches(), *(s.process_batches() for s in shares), strict=True
        ):
            counted = [part.indices[: part.counted] for part in parts]
            assert Counter(chain(*counted)) == Counter(whole.indices)
            assert {part.step_images for part in parts} == {len(whole.indices)}
            assert largest_gap(counted) <= 1


def test_a_process_without_an_image_computes_one_that_does_not_count() -> None:
    orders = [Order(samples(5), 4, seed=None, rank=rank, processes=3) for rank in range(3)]
    last = [list(order.process_batches())[-1] for order in orders]
    assert [part.indices for part in last] == [(4,), (4,), (4,)]
    assert [part.counted for part in last] == [1, 0, 0]


def test_every_batch_of_a_step_knows_the_images_of_the_whole_step() -> None:
    order = Order(samples(22), 4, seed=3, accumulate=2)
    assert [len(part.indices) for part in order.process_batches()] == [4, 4, 4, 4, 4, 2]
    assert [part.step_images for part in order.process_batches()] == [8, 8, 8, 8, 6, 6]


def largest_gap(parts: Sequence[Sequence[int]]) -> int:
    return max(map(len, parts)) - min(map(len, parts))
