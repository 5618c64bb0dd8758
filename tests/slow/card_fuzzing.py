"""Edit a valid file's card and references at random, and fail where verification is fooled.

    python tests/slow/card_fuzzing.py [--edits 2000] [--seed 0]

A tiny model, its card and its reference outputs are edited one to three times: types, missing keys,
numbers, names, sizes, values that are huge or not finite. Each result is verified in this process,
also against the card of the run. Expected is a ModelFileError or ParityError (exit status 5 or 6),
a failed level, or a pass of a file that still gives every image the label that it had. Anything
else is printed with the number of the edit, and the exit status is 1; `--only NUMBER` repeats one.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import onnx
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.runtime.tiny import CLASSES, SIDE, tiny_card, tiny_model  # noqa: E402
from toolchain.errors import ModelFileError, ParityError  # noqa: E402
from toolchain.runtime.card import CARD_KEY, Card, encode_card  # noqa: E402
from toolchain.runtime.predictor import Predictor  # noqa: E402
from toolchain.runtime.selftest import INPUTS, make_proof, proof_pixels  # noqa: E402
from toolchain.runtime.stored_outputs import (  # noqa: E402
    StoredOutputs,
    write_stored_outputs,
)
from toolchain.verification.levels import batches, sessions  # noqa: E402
from toolchain.verification.levels.card import card_level  # noqa: E402
from toolchain.verification.verify import verify  # noqa: E402

IMAGES = 4
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 255, 256, 2**31, 2**63, -(2**63), 10**30),
    *(
        0.0,
        -0.5,
        0.5,
        1e-30,
        1e9,
        1e300,
        "",
        "int8",
        "fp16",
        "image",
        "tensor",
        "squash",
        "x" * 999,
    ),
    *(
        "x" * 999,
        "\x1b[2J",
        "naïve",
        [],
        [1],
        [[1.0]],
        {},
        {"a": 1},
        ["a", "a"],
        [0.1] * 3,
        [[0.0] * 3] * 4,
    ),
)
"""Values that take the place of others in a card."""


def picture_bytes(number: int) -> bytes:
    """Return a small PNG of noise around one colour."""
    generator = np.random.RandomState(number)
    pixels = generator.randint(0, 60, (20, 30, 3)) + np.eye(3, dtype=int)[number % 3] * 180
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


class Original:
    """A valid file with its references, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.onnx"
        self.content = tiny_model()
        self.card = self._with_proof()
        self._write(self.content, encode_card(self.card))
        with Predictor(self.model, cache=False) as predictor:
            self.files = tuple(picture_bytes(i) for i in range(IMAGES))
            pixels = np.stack([predictor.pixels(data) for data in self.files])
            probabilities, logits = predictor.run(pixels)
            self.labels = [predictor(data).label for data in self.files]
        self.stored = StoredOutputs(
            CLASSES, tuple("abcd"), self.files, pixels, probabilities, logits
        )
        write_stored_outputs(self.stored, self.references)
        with np.load(self.references) as arrays:
            self.arrays = dict(arrays)

    @property
    def references(self) -> Path:
        return self.folder / "model.onnx.references.npz"

    def write(self, card: Any, arrays: dict[str, Any]) -> None:
        self._write(self.content, json.dumps(card))
        np.savez(self.references, **arrays)

    def _with_proof(self) -> Card:
        card = tiny_card()
        self._write(self.content, encode_card(card))
        with Predictor(self.model, cache=False) as predictor:
            logits = predictor.run(proof_pixels(SIDE)).logits
        return msgspec.structs.replace(card, proof=make_proof(logits[:INPUTS], logits[INPUTS:]))

    def _write(self, content: onnx.ModelProto, card: str) -> None:
        changed = copy.deepcopy(content)
        del changed.metadata_props[:]
        changed.metadata_props.add(key=CARD_KEY, value=card)
        self.model.write_bytes(changed.SerializeToString())


def edit_card(card: Any, random: Random) -> None:
    """Change one value somewhere in a card, remove it, or double it."""
    place = card
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = random.choice(keys)
        value = place[key]
        if isinstance(value, dict | list) and value and random.random() < 0.75:
            place = value
            continue
        match random.randrange(5):
            case 0 if isinstance(place, dict):
                del place[key]
            case 1 if isinstance(place, list):
                place.append(copy.deepcopy(value))
            case 2 if isinstance(value, int | float):
                place[key] = value * random.choice((-1, 1.001, 2, 1e6))
            case 3 if isinstance(value, list):
                random.shuffle(value)
            case _:
                place[key] = copy.deepcopy(random.choice(ODD))
        return


def edit_arrays(arrays: dict[str, Any], random: Random) -> None:
    """Change one array: values, order, length, type, or leave it out."""
    name = random.choice(list(arrays))
    array = arrays[name]
    match random.randrange(8):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = array[: random.randrange(len(array) + 1)] if array.ndim else array
        case 2:
            arrays[name] = np.concatenate([array, array]) if array.ndim else array
        case 3:
            arrays[name] = array.astype(random.choice(["f8", "i4", "U5", "S3", "c8", "?"]))
        case 4 if array.dtype.kind in "fiu":
            array = arrays[name] = array.copy()
            big = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
            array.flat[random.randrange(array.size)] = random.choice((0, 1, big))
        case 5 if array.dtype.kind == "f":
            arrays[name] = array * np.float32(random.choice((np.inf, 1e30, 1.01, -1)))
        case 6:
            arrays[name] = array[::-1]
        case _:
            arrays[name] = np.zeros(random.choice([(), (0,), (5,), (2, 2), (1, 1, 1, 1)]))


def outcome(original: Original, number: int, seed: int) -> str:
    """Edit, verify, and return what happened. Raises AssertionError for a file that fools us."""
    random = Random(f"{seed} {number}")
    card = json.loads(encode_card(original.card))
    arrays = dict(original.arrays)
    try:
        for _ in range(random.randint(1, 3)):
            if random.random() < 0.6:
                edit_card(card, random)
            elif arrays:
                edit_arrays(arrays, random)
        original.write(card, arrays)
    except ValueError:
        return "an edit that numpy or JSON does not make"
    try:
        result = verify(original.model)
        found = Predictor(original.model, cache=False)
    except ModelFileError:
        return "refused (5)"
    except ParityError:
        return "failed (6)"
    if not result.passed:
        return "failed (6)"
    if not card_level(original.card, found.card).passed:
        return "passes alone, fails against the run"
    labels = [found(data).label for data in original.files]
    assert labels == original.labels, f"{labels} instead of {original.labels}"
    return "passes, with the labels it had"


def main() -> int:
    """Run the edits and print a table of the outcomes; 1 where one is unexpected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    for module, name, fewer in ((sessions, "OPTIMISATIONS", ("all",)), (batches, "SIZES", (2, 5))):
        setattr(module, name, fewer)
    numbers = range(given.edits) if given.only is None else [given.only]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="rtl-fuzzing-") as folder:
        original = Original(Path(folder))
        assert verify(original.model).passed
        for number in numbers:
            try:
                outcomes[outcome(original, number, given.seed)] += 1
            except Exception:  # what is looked for
                outcomes["UNEXPECTED"] += 1
                print(f"edit {number}:\n{traceback.format_exc()}", file=sys.stderr)
    for words, count in outcomes.most_common():
        print(f"{count:6} {words}")
    return int(outcomes["UNEXPECTED"] > 0)


if __name__ == "__main__":
    sys.exit(main())
