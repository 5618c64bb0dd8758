"""fastai's quick start with the body frozen: `fit_one_cycle`."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.accuracy import photographs_of
from benchmarks.peers.trainers.outcome import Options, add_to_curve, main, write_labels

PIXELS, WORKERS = 224, 2
MODEL = "model.pkl"


def learner_of(options: Options) -> tuple[Any, Any]:
    """Return a learner with torchvision's ResNet-18, its body frozen, and what notes its epochs."""
    import fastai.callback.schedule  # noqa: F401, it gives learners fit_one_cycle and fine_tune
    from fastai.callback.core import Callback
    from fastai.metrics import accuracy
    from fastai.torch_core import set_seed
    from fastai.vision.augment import Resize
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.learner import vision_learner
    from torchvision.models import resnet18

    set_seed(options.seed)
    loaders = ImageDataLoaders.from_folder(
        options.photographs,
        train="train",
        valid="val",
        item_tfms=Resize(PIXELS),
        num_workers=WORKERS,
    )
    learner = vision_learner(loaders, resnet18, metrics=accuracy, path=options.folder)
    note = Callback(after_epoch=lambda _: add_to_curve(options, learner.recorder.values[-1][-1]))
    note.order = 100  # after fastai's own recorder
    learner.add_cb(note)
    return learner, note


def train(options: Options) -> None:
    """Train the head and export the learner."""
    learner, note = learner_of(options)
    learner.fit_one_cycle(options.epochs)
    learner.remove_cb(note)
    learner.export(MODEL)


def label(options: Options) -> None:
    """Label the validation photographs with the exported learner."""
    from fastai.learner import load_learner

    learner = load_learner(options.folder / MODEL)
    paths = photographs_of(options.photographs / "val")
    probabilities, _ = learner.get_preds(dl=learner.dls.test_dl(paths, num_workers=0))
    classes = list(learner.dls.vocab)
    write_labels(options, paths, [classes[int(i)] for i in probabilities.argmax(1)])


if __name__ == "__main__":
    main({"train": train, "label": label})
