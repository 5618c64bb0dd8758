"""The story of `rtl verify`: does this file still answer like the model it was made from?

Three witnesses, each used where it is at hand:
- the card: logits of generated inputs, in the file itself;
- the references: real images and outputs, in a file beside the model;
- the run: the trained model in torch and the user's own validation images.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import DataError, ModelFileError, ParityError
from toolchain.machine import installed_versions
from toolchain.narrator import Narrator, Silent
from toolchain.runfolder import RunFolder, references_file, run_of_model
from toolchain.runtime.card import Card
from toolchain.runtime.image import read_image
from toolchain.runtime.preprocess import preprocess
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.verify import decisions, numbers
from toolchain.verify.backends import Backend, EagerBackend, open_backend
from toolchain.verify.decisions import Both
from toolchain.verify.references import References, evenly, read_references

BATCHES = (1, 2, 5)
"""The sizes that are compared: one, the exporter's example, and an odd one."""
CHUNK = 8
MOST_IMAGES = 400

CARD_FIELDS = (
    "classes",
    "task",
    "preprocessing",
    "normalisation",
    "temperature",
    "threshold",
    "architecture",
    "weights",
)


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison, with its verdict."""

    level: str
    against: str
    passed: bool
    rule: str
    figures: dict[str, float | int | tuple[str, ...]]

    @property
    def summary(self) -> str:
        """The figures in one line, for a person."""
        f = self.figures
        if "error" in f:
            return _listed(f["error"])
        if self.level == "card":
            different = f"different in {_listed(f['different'])}" if "different" in f else "equal"
            return f"{f['fields']} fields, {different}"
        if self.level == "decisions":
            flipped = f": {_listed(f['flipped'])}" if "flipped" in f else ""
            return (
                f"{f['images']} images, {f['flips']} other labels{flipped}, "
                f"probabilities within {f['max_probability_difference']:.1g}"
            )
        if "relative_difference" in f:
            return f"{f['inputs']} inputs, off by {f['relative_difference']:.1g} (relative)"
        return f"{f['inputs']} inputs, off by {f['max_difference']:.1g}, allowed {f['bound']:.1g}"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The whole verdict. Described in docs/json.md."""

    version: int = 1
    model: str
    sha256: str
    provider: str
    passed: bool
    levels: tuple[Level, ...]
    versions: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Workshop:
    """What a run folder offers for verification: the trained model and validation images."""

    eager: EagerBackend
    names: list[str]
    paths: list[Path]
    """At most as many validation images as were asked for, spread over the classes."""


def verify(
    model: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    data: str | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    images: int = MOST_IMAGES,
    narrator: Narrator | None = None,
) -> Verification:
    """Verify a model file with every witness at hand.

    `run` names the run folder where the file was moved out of it, `data` the images where they were
    moved; a run around the file that lacks its images is left out. Raises ModelFileError or
    ProviderError for a file that can't be opened, ParityError where no witness is at hand; a
    comparison that fails is in the result.
    """
    narrator = narrator or Silent()
    path = Path(model)
    backend = open_backend(path, provider=provider, threads=threads)
    folder = RunFolder.open(run) if run is not None else run_of_model(path)
    workshop = None
    if folder is not None and (run is not None or _has_torch()):
        try:
            workshop = open_workshop(folder, images=images, data=data)
        except DataError as error:
            if run is not None or data is not None:
                raise
            narrator.say(f"{error}; verifying without the run ({error.hint})")
    stored = references_file(path)
    references = read_references(stored) if stored.is_file() else None
    return verify_backend(
        backend,
        path,
        provider=provider,
        references=references,
        workshop=workshop,
        narrator=narrator,
    )


def verify_backend(
    backend: Backend,
    path: Path,
    *,
    provider: str = "cpu",
    references: References | None,
    workshop: Workshop | None,
    narrator: Narrator,
) -> Verification:
    """Compare an open model with the witnesses given, and with its own card."""
    started = time.monotonic()
    levels: list[Level] = []
    if backend.card.proof is not None:
        levels += _levels("card", lambda: _against_card(backend))
    if references is not None:
        levels += _levels("references", lambda: _against_references(backend, references))
    if workshop is not None:
        levels += _levels("run", lambda: _against_workshop(backend, workshop, narrator))
    if not levels:
        raise ParityError(
            f"nothing to verify {path} against: no proof in its card, no references, no run",
            hint="rtl verify MODEL --run RUN",
        )
    return Verification(
        model=str(path),
        sha256=file_sha256(path),
        provider=provider,
        passed=all(level.passed for level in levels),
        levels=tuple(levels),
        versions=installed_versions(),
        seconds=round(time.monotonic() - started, 3),
    )


def open_workshop(
    run: RunFolder, *, images: int = MOST_IMAGES, data: str | None = None
) -> Workshop:
    """Give the trained model of a run and up to `images` of its validation images.

    Raises DataError where the images are not where they were and `data` doesn't say where.
    """
    from toolchain.evaluate.evaluate import (
        known_unreadable,
        load_run_classifier,
        run_dataset,
        run_settings,
    )

    dataset = run_dataset(run, run_settings(run), data)
    unreadable = known_unreadable(run)
    readable = [s.path for s in dataset.val if dataset.name_of(s.path) not in unreadable]
    paths = evenly(readable, images)
    eager = EagerBackend(load_run_classifier(run), run.read_card())
    return Workshop(eager, [dataset.name_of(path) for path in paths], paths)


def require_parity(result: Verification) -> None:
    """Raise ParityError naming the first level that fell short, its figures and its rule."""
    for level in result.levels:
        if not level.passed:
            raise ParityError(
                f"{result.model}: {level.level} against the {level.against} fell short: "
                f"{level.summary}",
                hint=f"the rule is: {level.rule}",
            )


def outputs(backend: Backend, pixels: NDArray[np.uint8]) -> Both:
    """Give (probabilities, logits) of any number of pixels, computed in small batches."""
    parts = [backend.run(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
    return _joined(parts)


def pixels_of(backend: Backend, source: Path | bytes, name: str) -> NDArray[np.uint8]:
    """Give what the model sees of an image, from its bytes and by the model's own card."""
    preprocessing = backend.card.preprocessing
    return preprocess(read_image(source, preprocessing, name=name), preprocessing)


def file_sha256(path: Path) -> str:
    """Give the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _levels(against: str, compare: Callable[[], list[Level]]) -> list[Level]:
    """Give the levels of a witness; a model that can't compute fails, whatever the reason."""
    try:
        return compare()
    except ModelFileError as error:
        return [
            Level(
                level="numbers",
                against=against,
                passed=False,
                rule="the model computes any batch",
                figures={"error": (str(error),)},
            )
        ]


def _against_card(backend: Backend) -> list[Level]:
    proof = backend.card.proof
    assert proof is not None
    _, logits = backend.run(generated_pixels(backend.card.preprocessing.size))
    difference = proof_difference(proof, logits)
    return [
        Level(
            level="numbers",
            against="card",
            passed=difference <= proof.tolerance,
            rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|a|) on generated inputs",
            figures={"inputs": len(logits), "relative_difference": difference},
        )
    ]


def _against_references(backend: Backend, references: References) -> list[Level]:
    probabilities, logits = outputs(backend, references.pixels)
    difference = numbers.compare(references.logits, logits)
    on_probabilities = numbers.compare(references.probabilities, probabilities)
    worst = numbers.worst([difference, on_probabilities])
    levels = [_numbers_level("references", worst, inputs=len(references))]
    if references.classes != backend.card.classes:
        raise ModelFileError("the references were made for other classes than the card names")
    with_bytes = [i for i, data in enumerate(references.files) if data]
    if with_bytes:
        names = [references.names[i] for i in with_bytes]
        pixels = np.stack(
            [pixels_of(backend, references.files[i], references.names[i]) for i in with_bytes]
        )
        reference = references.probabilities[with_bytes], references.logits[with_bytes]
        found = outputs(backend, pixels)
        levels.append(
            _decisions_level("references", backend.card, names, reference, found, difference)
        )
    return levels


def _against_workshop(backend: Backend, workshop: Workshop, narrator: Narrator) -> list[Level]:
    eager = workshop.eager
    generated = generated_pixels(eager.card.preprocessing.size)
    differences = []
    for size in BATCHES:
        batch = np.resize(generated, (size, *generated.shape[1:]))
        expected, found = eager.run(batch), backend.run(batch)
        differences += [numbers.compare(a, b) for a, b in zip(expected, found, strict=True)]

    reference, candidate = [], []
    tracked = narrator.track(
        range(0, len(workshop.paths), CHUNK), "verifying", -(-len(workshop.paths) // CHUNK)
    )
    for start in tracked:
        chunk = workshop.paths[start : start + CHUNK]
        names = workshop.names[start : start + CHUNK]
        # Each side makes its own pixels from the bytes, by its own card.
        sides = [
            np.stack([pixels_of(side, p, n) for p, n in zip(chunk, names, strict=True)])
            for side in (eager, backend)
        ]
        reference.append(eager.run(sides[0]))
        candidate.append(backend.run(sides[1]))
    expected_all, found_all = _joined(reference), _joined(candidate)
    on_images = numbers.compare(expected_all[1], found_all[1])
    differences.append(numbers.compare(expected_all[0], found_all[0]))
    worst = numbers.worst([*differences, on_images])
    return [
        _card_level(eager.card, backend.card),
        _numbers_level("run", worst, inputs=sum(BATCHES) + len(workshop.paths)),
        _decisions_level("run", eager.card, workshop.names, expected_all, found_all, on_images),
    ]


def _joined(parts: list[Both]) -> Both:
    return np.concatenate([p for p, _ in parts]), np.concatenate([row for _, row in parts])


def _card_level(expected: Card, found: Card) -> Level:
    """Compare what shapes an answer: permuted classes give wrong labels from right numbers."""
    different = tuple(n for n in CARD_FIELDS if getattr(expected, n) != getattr(found, n))
    figures: dict[str, float | int | tuple[str, ...]] = {"fields": len(CARD_FIELDS)}
    if different:
        figures["different"] = different
    return Level(
        level="card",
        against="run",
        passed=not different,
        rule="equal in " + ", ".join(CARD_FIELDS),
        figures=figures,
    )


def _numbers_level(against: str, difference: numbers.Difference, *, inputs: int) -> Level:
    return Level(
        level="numbers",
        against=against,
        passed=difference.passed,
        rule=numbers.RULE,
        figures={
            "inputs": inputs,
            "max_difference": difference.max_abs,
            "mean_difference": difference.mean_abs,
            "bound": difference.bound,
        },
    )


def _decisions_level(
    against: str,
    card: Card,
    names: list[str],
    reference: Both,
    candidate: Both,
    difference: numbers.Difference,
) -> Level:
    result = decisions.compare_decisions(
        names, reference, candidate, card=card, bound=difference.bound
    )
    figures: dict[str, float | int | tuple[str, ...]] = {
        "images": result.images,
        "flips": result.flips,
        "flips_outside_margin": result.flips_outside_margin,
        "max_probability_difference": result.max_probability_difference,
    }
    if result.flipped:
        figures["flipped"] = result.flipped
    return Level(
        level="decisions",
        against=against,
        passed=result.passed,
        rule=decisions.RULES[card.task],
        figures=figures,
    )


def _listed(value: float | int | tuple[str, ...]) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
