"""Weights of networks: where training starts from, loading a trained model, digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save
from torch import Tensor

from toolchain.errors import ModelFileError, TrainingError
from toolchain.files import display_path, file_sha256, is_folder
from toolchain.networks.checkpoint_layout import find_network
from toolchain.networks.fitting import load_weights, usable
from toolchain.networks.imagenet import imagenet_state
from toolchain.networks.known_architectures import recognised
from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    State,
    build_network,
    on_meta_device,
)
from toolchain.networks.weights_file import (
    ACCEPTED,
    SUFFIXES,
    read_content,
    require_weights_file,
)
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Card, Normalisation, decode_card

MODEL_FILE, CARD_FILE = "model.safetensors", "card.json"
"""Names of a run's weights and of the card beside them."""


class WeightsFile(NamedTuple):
    """A file to start training from."""

    path: Path
    card: Card | None
    """The card of a trained run, where the file is its model: it names the classes of the head."""
    other_card: bool = False
    """Whether a card lies beside the file that is not of these weights."""

    @property
    def origin(self) -> str:
        """A few words about where the weights come from, for the card of the new model."""
        if self.card is not None and self.path.name == MODEL_FILE:
            return f"run {self.path.absolute().parent.name}"
        return f"file {self.path.name}"


def start_classifier(
    arch: str, classes: Sequence[str], weights: str, *, dropout: float, progress: ProgressReporter
) -> tuple[Classifier, str]:
    """Return (classifier, origin) to start training from; `origin` describes the weights in a line.

    `weights` is `none` (random), `imagenet` (torchvision's), or the path of a weights file or a run
    folder. The head is new, but for the classes that a run's model knows already. What was
    unwrapped, converted or left out is reported in one message. Raises TrainingError where the
    weights can't be downloaded or read, or don't fit the architecture.
    """
    network = build_network(arch, len(classes), dropout=dropout)
    if weights == "none":
        return Classifier(network, IMAGENET_NORMALISATION), "random"
    if weights == "imagenet":
        state, origin = imagenet_state(arch, progress)
        load_weights(network, state, arch, origin, classes=classes, known_classes=None)
        return Classifier(network, IMAGENET_NORMALISATION), origin
    file = weights_file(Path(weights))
    where = display_path(file.path)
    found = find_network(read_content(file.path), where)
    known = file.card.classes if file.card is not None else None
    notes = load_weights(
        network, found.state, arch, file.origin, classes=classes, known_classes=known
    )
    other = (f"{CARD_FILE} beside it is of other weights and is not used",) * file.other_card
    progress.message(f"weights of {where}: {'; '.join((*other, *found.notes, *notes))}")
    return Classifier(network, IMAGENET_NORMALISATION), file.origin


def require_weights(weights: str) -> None:
    """Raise TrainingError where `weights` name a file or folder that holds none; little is read."""
    if weights not in ("none", "imagenet"):
        path = Path(weights)
        require_weights_file(_file_in(path) if is_folder(path) else path)


def weights_file(path: Path) -> WeightsFile:
    """Return the weights file that a path names: itself, that of a run folder, or the only one.

    Raises TrainingError for a folder without one, or with several.
    """
    if is_folder(path):
        path = _file_in(path)
    card = _card_beside(path)
    of_a_run = path.name == MODEL_FILE and path.with_name(CARD_FILE).is_file()
    return WeightsFile(path, card, other_card=of_a_run and card is None)


def architecture_of(weights: str) -> str | None:
    """Return torchvision's name of the network in a weights file or a run; None for another.

    Raises TrainingError where there is none to read.
    """
    path = weights_file(Path(weights)).path
    return recognised(find_network(read_content(path), display_path(path)).state)


def _file_in(folder: Path) -> Path:
    model = folder / MODEL_FILE
    if model.is_file():
        return model
    if (folder / "settings.toml").is_file():
        raise TrainingError(
            f"{folder} is a run without {MODEL_FILE}: its training was stopped early",
            hint=shell_words("rtl", "finetune", "--resume", folder),
        )
    files = sorted(f for f in folder.iterdir() if f.suffix in SUFFIXES and f.is_file())
    if len(files) == 1:
        return files[0]
    found = ", ".join(f.name for f in files[:5])
    wrong = f"several weights files, none {MODEL_FILE}: {found}" if files else "no weights file"
    raise TrainingError(f"{folder} holds {wrong}", hint=ACCEPTED)


def _card_beside(path: Path) -> Card | None:
    """Return the card beside a weights file; None without one, or where it is of other weights."""
    file = path.with_name(CARD_FILE)
    if not file.is_file() or not path.is_file():
        return None
    try:
        card = decode_card(file.read_bytes(), source=str(file))
    except (ModelFileError, OSError):
        return None
    return card if card.weights.sha256 == file_sha256(path) else None


def load_classifier(
    arch: str, classes: int, weights: Path, normalisation: Normalisation
) -> Classifier:
    """Return a trained classifier from its weights file, in eval mode, on the CPU.

    Raises TrainingError where the file can't be read or is not of such a classifier.
    """
    state = read_weights(weights)
    # A Dropout does nothing in eval mode, but it changes the name of the linear layer's weights.
    dropout = 0.5 if "network.fc.1.weight" in state else 0.0
    with on_meta_device():  # random weights would only be replaced
        network = build_network(arch, classes, dropout=dropout)
    classifier = Classifier(network, normalisation)
    own = classifier.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
    if wrong:
        raise TrainingError(
            f"{weights} is not a model of {arch} for {classes} classes: "
            f"{len(wrong)} tensors differ, such as {wrong[0]}"
        )
    origin = str(weights)
    loaded = {n: usable(t, own[n], n, origin)[0].clone() for n, t in state.items()}
    classifier.load_state_dict(loaded, assign=True)
    return classifier.eval()


def read_weights(path: Path) -> State:
    """Return the state dict in a .safetensors or .pth file, floating-point tensors as float32.

    The names are those of the file. No code of it is run. Raises TrainingError where the file is
    missing or holds no state dict.
    """
    state = read_content(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(f"{path} holds no state dict (names and tensors)", hint=ACCEPTED)
    return {name: v.float() if v.is_floating_point() else v for name, v in state.items()}


def state_sha256(state: State) -> str:
    """Return the SHA-256 of a state dict; equal tensors have the same one on every machine."""
    return hashlib.sha256(weights_bytes(state)).hexdigest()


def weights_bytes(state: State) -> bytes:
    """Return a state dict as the bytes of a .safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
