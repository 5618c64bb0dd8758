"""fastai's quick start: `fine_tune`, an epoch of the head and then epochs of everything."""

from __future__ import annotations

from benchmarks.peers.trainers.fastai_head import MODEL, label, learner_of
from benchmarks.peers.trainers.outcome import Options, main


def train(options: Options) -> None:
    """Fine-tune and export the learner."""
    learner, note = learner_of(options)
    learner.fine_tune(options.epochs)
    learner.remove_cb(note)
    learner.export(MODEL)


if __name__ == "__main__":
    main({"train": train, "label": label})
