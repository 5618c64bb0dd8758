"""Training: whole commands from the start of the process to a trained model on the disk.

Before or after each peer the same `rtl finetune` of the head runs, in alternating order, so that a
ratio compares neighbours in time. Labels are made afterwards, untimed, by the model that was kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.accuracy import accuracy
from benchmarks.peers.environment import CanNotRunError
from benchmarks.peers.material import rtl_finetune
from benchmarks.peers.rows import Row
from benchmarks.peers.session import Session
from benchmarks.peers.trainers.outcome import LABELS, read_curve


@dataclass(frozen=True)
class Trainer:
    """A way to train: rtl with a recipe of configs/, or a file of trainers/."""

    who: str
    epochs: tuple[int, ...]
    """What is measured without --epochs."""
    recipe: str = ""
    module: str = ""
    packages: tuple[str, ...] = ()


HEAD = Trainer("rtl head", (20,), recipe="photos-head")
TRAINERS = (
    Trainer("rtl partial", (10,), recipe="photos-partial"),
    Trainer("fastai head", (5,), module="fastai_head", packages=("fastai",)),
    Trainer("fastai fine_tune", (3,), module="fastai_fine_tune", packages=("fastai",)),
    Trainer("Ultralytics", (5,), module="ultralytics_classify", packages=("ultralytics",)),
    Trainer(
        "transformers Trainer",
        (5,),
        module="transformers_trainer",
        packages=("transformers", "accelerate"),
    ),
    Trainer("tutorials' loop, head", (20,), module="plain_loop_head"),
)
BY_NAME = {trainer.who: trainer for trainer in (HEAD, *TRAINERS)}


def run(
    session: Session,
    names: Sequence[str],
    seeds: Sequence[int],
    epochs: Sequence[int],
    *,
    alone: bool = False,
) -> None:
    """Measure trainers with every seed, each beside rtl's head or `alone`, and append the rows."""
    pair = 0
    for seed in seeds:
        for trainer, count in _cases(names, epochs):
            pair += 1
            both = [(HEAD, HEAD.epochs[0]), (trainer, count)]
            if alone:
                del both[0]
            for one, its_epochs in both if pair % 2 else both[::-1]:
                row = session.row("train", one.who, epochs=its_epochs, seed=seed, pair=pair)
                try:
                    session.require(one.packages)
                    row |= _trained(session, one, its_epochs, seed)
                except CanNotRunError as error:
                    row["skipped"] = str(error)
                session.append(row)


def _cases(names: Sequence[str], epochs: Sequence[int]) -> Iterator[tuple[Trainer, int]]:
    for trainer in TRAINERS:
        if not names or trainer.who in names:
            for count in epochs or trainer.epochs:
                yield trainer, count


def _trained(session: Session, trainer: Trainer, epochs: int, seed: int) -> Row:
    """Train in a folder that the next training removes, and return the figures."""
    material = session.material
    place = material.scratch / "training"
    shutil.rmtree(place, ignore_errors=True)
    # rtl keeps features between runs: each run starts without.
    shutil.rmtree(material.scratch / "cache" / "rtl", ignore_errors=True)
    curve: list[list[float]] = []
    if trainer.recipe:
        command = rtl_finetune(material, trainer.recipe, place, seed=seed, epochs=epochs)
        finished = session.process(command)
        labels = _labels_of_rtl(session, place)
    else:
        place.mkdir()
        words = ["python", "-m", f"benchmarks.peers.trainers.{trainer.module}"]
        given = [str(material.photographs), str(place)]
        training = [*words, "train", *given, "--epochs", str(epochs), "--seed", str(seed)]
        finished = session.process(training, source_tree=True)
        session.process([*words, "label", *given], source_tree=True)
        labels = json.loads((place / LABELS).read_text(encoding="utf-8"))
        curve = read_curve(place)
    return {
        "seconds": round(finished.seconds, 2),
        "processor_seconds": round(finished.processor_seconds, 2),
        "accuracy": round(accuracy(labels, material.photographs / "val"), 4),
        "images": len(labels),
        "curve": curve,
    }


def _labels_of_rtl(session: Session, place: Path) -> dict[str, str]:
    """Return the label of each validation photograph, as the other trainers write them."""
    command = ["rtl", "evaluate", str(place), "--split", "val", "--quiet", "--json"]
    found = json.loads(session.process(command).output)
    return {result["file"].removeprefix("val/"): result["predicted"] for result in found["results"]}
