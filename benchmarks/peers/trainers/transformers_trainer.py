"""transformers' Trainer, with the augmentation of its image-classification example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.trainers.outcome import Options, add_to_curve, main, write_labels
from benchmarks.peers.trainers.transformers_names import transformers_model

PIXELS, WORKERS = 224, 2
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
MODEL = "model"


def photographs(options: Options, split: str) -> Any:
    """Return the photographs of a split with the example's transforms."""
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    as_tensor = [t.ToTensor(), t.Normalize(MEAN, STD)]
    steps = {
        "train": [t.RandomResizedCrop(PIXELS), t.RandomHorizontalFlip(), *as_tensor],
        "val": [t.Resize(PIXELS), t.CenterCrop(PIXELS), *as_tensor],
    }
    return ImageFolder(options.photographs / split, t.Compose(steps[split]))


def batch(items: list[tuple[Any, int]]) -> dict[str, Any]:
    """Return a batch as the model takes it."""
    import torch

    pixels, labels = zip(*items, strict=True)
    return {"pixel_values": torch.stack(pixels), "labels": torch.tensor(labels)}


def train(options: Options) -> None:
    """Train all layers with the Trainer's defaults, and save the model of the last epoch."""
    from torchvision.models import ResNet18_Weights
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(options.seed)
    training = photographs(options, "train")
    state = ResNet18_Weights.DEFAULT.get_state_dict(progress=False)
    arguments = TrainingArguments(
        output_dir=str(options.folder / "trainer"),
        num_train_epochs=options.epochs,
        seed=options.seed,
        dataloader_num_workers=WORKERS,
        dataloader_persistent_workers=True,
        remove_unused_columns=False,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )

    def note(found: Any) -> dict[str, float]:
        accuracy = float((found.predictions.argmax(1) == found.label_ids).mean())
        add_to_curve(options, accuracy)
        return {"accuracy": accuracy}

    trainer = Trainer(
        model=transformers_model(state, training.classes),
        args=arguments,
        data_collator=batch,
        train_dataset=training,
        eval_dataset=photographs(options, "val"),
        compute_metrics=note,
    )
    trainer.train()
    trainer.save_model(str(options.folder / MODEL))


def label(options: Options) -> None:
    """Label the validation photographs with the saved model."""
    import torch
    from transformers import ResNetForImageClassification

    model = ResNetForImageClassification.from_pretrained(options.folder / MODEL).eval()
    validation = photographs(options, "val")
    labels = []
    with torch.inference_mode():
        for pixels, _ in validation:
            best = int(model(pixels[None]).logits.argmax())
            labels.append(model.config.id2label[best])
    write_labels(options, [Path(path) for path, _ in validation.samples], labels)


if __name__ == "__main__":
    main({"train": train, "label": label})
