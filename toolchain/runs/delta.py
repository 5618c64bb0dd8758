"""What a training changed, as a small file beside the model: `delta.safetensors`.

It holds the tensors that were trained (low-rank differences or norms, and the classifier), the card
and the settings of its run, and the digest of the weights that it is a difference to. Any run that
has those, such as one of `--strategy head` from the same weights, becomes the trained model by it.
It is made to be handed on, so it says nothing of the folders of the machine that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.errors import DataError
from toolchain.files import encode_json
from toolchain.printable import shell_words
from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.settings_paths import PATHS, path_name
from toolchain.runtime.card import Card, decode_card, encode_card

if TYPE_CHECKING:
    from toolchain.networks.resnet import State

VERSION = 1
HINT = "give the delta.safetensors of a run of --strategy lora or bn"
HEAD = "network.fc."
"""How the names of the classifier's tensors begin, which a delta always holds."""


class DeltaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a delta says of itself, besides its card."""

    version: int = VERSION
    base_sha256: str
    """Digest of the tensors that the delta does not hold and the trained model has."""
    base_origin: str
    """One line about where these come from."""
    settings: str
    """settings.toml of its run, without where things are: see `portable_settings`."""
    unreadable: tuple[str, ...] = ()
    """Names of the images that training could not read."""


@dataclass(frozen=True, eq=False)
class Delta:
    """A delta file that was read."""

    path: Path
    record: DeltaRecord
    card: Card
    """Of the trained model."""
    tensors: State


def portable_settings(settings: FinetuneSettings) -> str:
    """Return settings as TOML, with the names of data and weights in the place of their paths."""
    names = {name: path_name(getattr(settings, name)) for name in PATHS}
    names["data"] = names["data"] or "data"  # the root of a file system has no name
    return settings_toml(msgspec.structs.replace(settings, **names))


def delta_bytes(state: State, trained: frozenset[str], record: DeltaRecord, card: Card) -> bytes:
    """Return the tensors of `state` that were `trained` as the bytes of a delta file."""
    from safetensors.torch import save

    tensors = {n: t.detach().cpu().contiguous() for n, t in state.items() if n in trained}
    metadata = {"rtl": encode_json(record).decode(), "card": encode_card(card)}
    return save(tensors, metadata=metadata)


def base_sha256(state: State, trained: frozenset[str]) -> str:
    """Return the digest of the tensors of `state` that were not `trained`."""
    from toolchain.networks.weights import state_sha256

    return state_sha256({name: tensor for name, tensor in state.items() if name not in trained})


def read_delta(path: Path) -> Delta:
    """Return the delta in a file; DataError for a file that is none, or is damaged."""
    tensors, metadata = _content(path)
    with reading(path, hint=HINT):
        record = msgspec.json.decode(metadata["rtl"], type=DeltaRecord)
        if record.version > VERSION:
            raise ValueError(f"it has version {record.version}; this rtl reads {VERSION}")
        card = decode_card(metadata["card"], source=str(path))
    return Delta(path, record, card, tensors)


def _content(path: Path) -> tuple[State, dict[str, str]]:
    """Return the tensors and the texts in a safetensors file that has those of a delta."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        inside = RunFolder(path).delta
        hint = shell_words("--delta", inside) if inside.is_file() else HINT
        raise DataError(f"{path} is a folder, and a delta is a file", hint=hint)
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint=HINT)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if "rtl" not in metadata or "card" not in metadata:
                raise DataError(f"{path} is no delta: nothing in it names its run", hint=HINT)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is no delta: {error}", hint=HINT) from error


def apply_delta(delta: Delta, base: State, base_name: str) -> State:
    """Return the trained model's tensors: those of `base` with the delta's.

    `base` is a state dict of the same architecture, whatever its classes. Raises DataError where
    the delta is not a difference to it.
    """
    from toolchain.networks.low_rank import merged

    kept = {name: t for name, t in base.items() if not name.startswith(HEAD)}
    kept = {name: t for name, t in kept.items() if name not in delta.tensors}
    if base_sha256(kept, frozenset()) != delta.record.base_sha256:
        raise DataError(
            f"{delta.path} is not a difference to the weights of {base_name}",
            hint=f"it needs a run whose frozen layers are those of {delta.record.base_origin}, "
            "such as one of --strategy head from there",
        )
    return merged({**kept, **delta.tensors})
