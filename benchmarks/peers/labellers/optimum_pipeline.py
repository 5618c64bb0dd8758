"""Optimum's onnxruntime model in transformers' pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.labellers.images import main


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    from optimum.onnxruntime import ORTModelForImageClassification
    from transformers import AutoImageProcessor, pipeline

    classify = pipeline(
        "image-classification",
        model=ORTModelForImageClassification.from_pretrained(model),
        image_processor=AutoImageProcessor.from_pretrained(model),
        device="cpu",
    )
    return [found[0]["label"] for found in classify(paths)]


if __name__ == "__main__":
    main(label)
