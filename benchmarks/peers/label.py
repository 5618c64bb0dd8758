"""Labelling: a folder of photographs, and the first label of a new process.

All tools take turns in rounds, in alternating order; a first round, which compiles modules and
fills caches, is not counted. The ratio of a round compares whole processes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import models
from benchmarks.peers.accuracy import photographs_of
from benchmarks.peers.environment import CanNotRunError, Finished
from benchmarks.peers.models import make_models
from benchmarks.peers.session import Session


@dataclass(frozen=True)
class Labeller:
    """A way to label: the command `rtl predict`, or a file of labellers/."""

    who: str
    model: str
    module: str = ""
    packages: tuple[str, ...] = ()
    own_labels: bool = False
    """Whether its model is another one, so that its labels are not compared."""


COMMAND = Labeller("rtl predict", models.RTL)
PREDICTOR = Labeller("rtl Predictor", models.RTL, "rtl_predictor")
PEERS = (
    Labeller(
        "Ultralytics, its .pt",
        models.ULTRALYTICS,
        "ultralytics_predict",
        ("ultralytics",),
        own_labels=True,
    ),
    Labeller(
        "Ultralytics, its .onnx",
        models.ULTRALYTICS_ONNX,
        "ultralytics_predict",
        ("ultralytics",),
        own_labels=True,
    ),
    Labeller(
        "Optimum pipeline", models.OPTIMUM, "optimum_pipeline", ("optimum-onnx", "transformers")
    ),
    Labeller("timm", models.PLAIN, "timm_model", ("timm",)),
    Labeller("torchvision", models.PLAIN, "torchvision_model", ("torchvision",)),
    Labeller("session.run", models.ONNX, "bare_session"),
)
LABELLERS = (COMMAND, PREDICTOR, *PEERS)
FIRST = {"predict": COMMAND.who, "start": PREDICTOR.who}
"""What the others are compared with."""


def run(
    session: Session, subject: str, names: Sequence[str], rounds: int, *, warm: bool = False
) -> None:
    """Measure labellers round by round, and append the rows; `warm` leaves out the first round."""
    folder = session.material.folder
    given = folder if subject == "predict" else photographs_of(folder)[0]
    reasons = make_models(session) if session.versions else {}
    first = FIRST[subject]
    chosen = [one for one in LABELLERS if not names or one.who in {*names, first}]
    expected: dict[str, str] = {}
    for number in range(int(warm), rounds + 1):
        for one in list(chosen) if number < 2 or number % 2 else chosen[::-1]:
            row = session.row(subject, one.who, round=number)
            try:
                session.require(one.packages)
                if one.model in reasons:
                    raise CanNotRunError(f"its model could not be made: {reasons[one.model]}")
                finished, labels = _labelled(session, one, given)
            except CanNotRunError as error:
                session.append(row | {"skipped": str(error)})
                chosen.remove(one)
                continue
            expected = expected or labels  # rtl's own, which are first
            same = sum(labels[name] == label for name, label in expected.items())
            row |= {
                "seconds": round(finished.seconds, 3),
                "processor_seconds": round(finished.processor_seconds, 3),
                "images": len(labels),
            }
            row["same_labels"] = None if one.own_labels else same
            if number:
                session.append(row)


def _labelled(session: Session, labeller: Labeller, given: Path) -> tuple[Finished, dict[str, str]]:
    """Return the whole process as it ended, and the label of each file."""
    material = session.material
    output = material.scratch / ("labels.json" if labeller.module else "labels.csv")
    output.unlink(missing_ok=True)
    model = str(material.models / labeller.model)
    if labeller.module:
        words = ["python", "-m", f"benchmarks.peers.labellers.{labeller.module}"]
        command = [*words, model, str(output), str(given)]
        finished = session.process(command, source_tree=True, limit_s=300)
        return finished, json.loads(output.read_text(encoding="utf-8"))
    command = ["rtl", "predict", model, str(given), "-o", str(output), "--quiet"]
    finished = session.process(command, limit_s=300)
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return finished, {Path(row["file"]).name: row["label_1"] for row in rows}
