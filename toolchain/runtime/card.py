"""The card: the JSON text inside a model file that describes the model.

It is stored in ONNX metadata under `CARD_KEY`, in TorchScript and pt2 archives as an extra file of
the same name, and beside the weights in a run folder. `docs/card.md` describes it for other
languages.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from toolchain.errors import ModelFileError
from toolchain.files import UNREADABLE, encode_json

SCHEMA_VERSION = 1
CARD_KEY = "rtl.card"
LABEL_THRESHOLD = 0.5
"""Multi-label: the probability from which a class is predicted, unless the card names another."""
PROBABILITIES, LOGITS = "probabilities", "logits"
OUTPUT_NAMES = (PROBABILITIES, LOGITS)
"""Names of the outputs of every exported graph, each float32 [batch, classes]."""

Task = Literal["single-label", "multi-label"]
"""How many classes an image has: exactly one, or any number."""

HeadStages = Literal["last", "last-two", "all"]
"""Of which stages of the network the classifier reads the pooled outputs."""

Format = Literal["onnx", "torchscript", "pt2"]
Precision = Literal["fp32", "fp16", "int8"]
InputKind = Literal["pixels", "tensor", "image"]
"""The input of a graph; see `toolchain.runtime.model_inputs`."""

Positive = Annotated[int, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Channel = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Preprocessing(msgspec.Struct, frozen=True):
    """How an RGB image becomes the network's pixels; see `toolchain.runtime.image.preprocess`."""

    mode: Literal["crop", "squash"] = "crop"
    size: Positive = 224
    """Side of the network's square input, in pixels."""
    resize_size: Positive = 256
    """Short side after the resize and before the centre crop; `squash` does not use it."""
    background: tuple[Channel, Channel, Channel] = (255, 255, 255)
    """RGB colour that transparent images are composed over."""
    decode_scale: Annotated[int, msgspec.Meta(ge=0)] = 0
    """0: decode JPEGs whole. n: decode at 1/2, 1/4 or 1/8 while n times larger than needed."""
    icc: Literal["ignore"] = "ignore"
    """Colour profiles are ignored, as torchvision does."""

    def __post_init__(self) -> None:
        """Raise ValueError for a crop that is larger than the resized image."""
        if self.mode == "crop" and self.resize_size < self.size:
            raise ValueError(f"resize_size {self.resize_size} is smaller than size {self.size}")

    @property
    def needed(self) -> int:
        """The short side, in pixels, that an image is resized to."""
        return self.resize_size if self.mode == "crop" else self.size


class Normalisation(msgspec.Struct, frozen=True):
    """Mean and standard deviation of RGB in 0…1; for `pixels` and `image` they are in the graph."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Weights(msgspec.Struct, frozen=True):
    """The weights that training started from, and the sha256 of the trained ones."""

    origin: str
    sha256: str


class Metrics(msgspec.Struct, frozen=True):
    """Metrics on images that the model was not trained on; rates in 0…1."""

    split: str
    images: Positive
    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    """95 % Wilson interval."""
    macro_f1: Share
    auc: Share | None = None
    """Area under the ROC curve, mean over the classes; None where it is defined for no class."""
    calibration_error: Share | None = None
    """Expected calibration error; None where it was not measured."""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of precision cost and gained on validation images, and the limits it met."""

    images: Positive
    accuracy_before: Share
    accuracy_after: Share
    p_value: Share
    """Of McNemar's exact test: how likely so uneven a change is if both are equally accurate."""
    max_drop: Share
    flips: Annotated[int, msgspec.Meta(ge=0)]
    """Images whose label changed, ties left out."""
    max_flips: Share
    """As a share of the images."""
    speed_ratio: float | None = None
    """Time of fp32 over the time of this file; None where it was not measured."""
    speed_provider: str | None = None
    calibration: str | None = None
    """int8: method and number of training images."""
    kept_float: tuple[str, ...] = ()
    """int8: layers left in float because quantising them cost accuracy."""

    @property
    def drop(self) -> float:
        """How much accuracy was lost; below 0 where it was gained."""
        return self.accuracy_before - self.accuracy_after


class Adaptation(msgspec.Struct, frozen=True, kw_only=True):
    """How a file was fitted to the photographs of another camera, by `rtl adapt`."""

    from_sha256: str
    """Digest of the model file that it was made of."""
    target_sha256: str
    """Digest over the contents of the photographs it was fitted to."""
    target_images: Positive
    source_images: Positive
    """Training images whose features the photographs were compared with."""


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """For which photographs of another camera a model was trained: `rtl finetune --target`."""

    method: Literal["none", "bn", "mmd", "dann", "coral", "mcc"]
    """The setting `align`."""
    target_sha256: str
    """Digest over the contents of the photographs, and the labels of those that have one."""
    target_images: Positive
    labelled_images: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many of them have a label, which was trained on."""

    @property
    def for_other_camera(self) -> bool:
        """Whether the model is for their camera; with none those with a label were trained on."""
        return self.method != "none"


class Proof(msgspec.Struct, frozen=True):
    """The logits of generated inputs, by which a model file can be checked without its run."""

    formula: Literal["waves-1"]
    logits: tuple[tuple[float, ...], ...]
    """One row of finite numbers for each generated input; see `toolchain.runtime.selftest`."""
    tolerance: Annotated[float, msgspec.Meta(gt=0)]
    """Largest accepted difference of a logit, relative to max(1, the largest absolute logit)."""
    extremes: tuple[tuple[float, ...], ...] = ()
    """Three more rows: of all black, all white and noise. Files of older versions have none."""

    def __post_init__(self) -> None:
        """Raise ValueError for rows of different lengths, or another number of extremes."""
        if len({len(row) for row in self.logits + self.extremes}) != 1:
            raise ValueError("the proof's rows differ in length")
        if len(self.extremes) not in (0, 3):
            raise ValueError(f"the proof has {len(self.extremes)} extremes; there are 3")


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a device or a person needs to know about a model file."""

    schema_version: int = SCHEMA_VERSION
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    """Class names in the order of the outputs."""
    task: Task = "single-label"
    preprocessing: Preprocessing
    normalisation: Normalisation
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """probabilities = softmax(logits / temperature); for multi-label sigmoid."""
    threshold: Share | None = None
    """Predictions below this probability are marked as rejected. For multi-label: the probability
    from which a class is predicted, 0.5 where it is None."""
    architecture: str
    head_stages: HeadStages = "last"
    """Which of the network's stages its classifier reads; the graph holds all of it."""
    weights: Weights
    settings_sha256: str
    data_sha256: str
    """Fingerprint of all images and labels of the data set, in all of its splits."""
    metrics: Metrics | None = None
    versions: dict[str, str]
    """Versions of the packages that made the file."""
    format: Format | None = None
    """None in a run folder, where the model is not exported yet."""
    precision: Precision = "fp32"
    input: InputKind = "pixels"
    batch: Positive | None = None
    """The only batch size that the file accepts; None where it accepts any."""
    trained_size: Positive | None = None
    """`preprocessing.size` in training, where the export changed it."""
    acceptance: Acceptance | None = None
    """Why a file of another precision than fp32 was kept."""
    aligned: Alignment | None = None
    """Where the model was trained for the photographs of another camera."""
    adapted: Adaptation | None = None
    """Where the last layer is not the trained one, but was fitted to another camera."""
    opset: int | None = None
    ir_version: int | None = None
    lowest_onnxruntime: str | None = None
    """The oldest onnxruntime that can run this file."""
    proof: Proof | None = None
    created: str
    """ISO 8601, UTC."""

    def __post_init__(self) -> None:
        """Raise ValueError for a class name that occurs twice: labels would be ambiguous."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class name stands twice")

    @property
    def label_threshold(self) -> float:
        """Multi-label: the probability from which a class is predicted."""
        return LABEL_THRESHOLD if self.threshold is None else self.threshold

    @property
    def for_other_camera(self) -> bool:
        """Whether the model is for another camera than that of its validation images."""
        return self.aligned is not None and self.aligned.for_other_camera


class _Version(msgspec.Struct):
    schema_version: int


def encode_card(card: Card) -> str:
    """Return the card as indented JSON text."""
    return msgspec.json.format(encode_json(card), indent=2).decode()


def decode_card(text: str | bytes, *, source: str) -> Card:
    """Return the card in a JSON text; `source` names the file in errors.

    Values are checked strictly. Unknown keys are ignored, so that a later rtl may add some without
    raising the schema version.

    Raises ModelFileError for a text that is not a card, or a card of a newer schema version.
    """
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
        if version < 1:
            raise ModelFileError(f"{source} has a card of version {version}, which never was")
        if version > SCHEMA_VERSION:
            raise ModelFileError(
                f"{source} has a card of version {version}; this rtl reads up to {SCHEMA_VERSION}",
                hint="pip install --upgrade rtl-toolchain",
            )
        return msgspec.json.decode(text, type=Card)
    except UNREADABLE as error:
        raise ModelFileError(
            f"the card of {source} can't be read: {error}", hint="export the model again"
        ) from error
