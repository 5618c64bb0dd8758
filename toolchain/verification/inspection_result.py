"""The result of `rtl inspect`, and what it shows: a model file, and the reports beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from toolchain.display import Block, Cell, Displayed, Facts, Line, Span, Table, megabytes, percent
from toolchain.metrics.wording import acceptance_words, accuracy_qualifier
from toolchain.printable import printable
from toolchain.runtime.card import Card, Precision
from toolchain.runtime.onnxfile.scan import Value

BELONGS = {True: Span("yes", "good"), False: Span("NO", "bad"), None: Span("?", "unsure")}
VERDICTS = {True: Span("✓", "good"), False: Span("FAILED", "bad"), None: Span("")}
MOST_CLASSES = 20
"""Number of class names that are shown; `--json` has them all."""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What an ONNX file holds, read from the file and not from its card."""

    opset: int
    ir_version: int
    nodes: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    precision: Precision
    """In which it stores its weights."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the onnxruntime that is installed opens the file."""

    onnxruntime: str | None
    """Its version; None where it is not installed."""
    opened: bool
    reason: str | None = None
    """Why it was not opened."""


class LevelFound(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a report."""

    level: str
    against: str
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report of a verification that lies beside the file."""

    file: str
    belongs: bool = False
    """True where it was written for a file of exactly these bytes."""
    unreadable: str | None = None
    """Why it can't be read; then the rest is empty."""
    written: str
    """When, by the file system: ISO 8601, UTC."""
    passed: bool = False
    levels: tuple[LevelFound, ...] = ()
    provider: str | None = None
    versions: dict[str, str] = {}


class ReferencesFound(msgspec.Struct, frozen=True, kw_only=True):
    """The reference outputs that lie beside the file."""

    file: str
    bytes: int
    belongs: bool = False
    """True where they were made for the same classes, in the same order."""
    unreadable: str | None = None
    images: int = 0


class Inspection(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """The description of a model file; see docs/json.md."""

    version: int = 2
    model: str
    bytes: int
    sha256: str
    graph: Graph | None
    """None for TorchScript and .pt2."""
    opening: Opening | None
    """None where it was not tried: for TorchScript and .pt2."""
    parity: Report | None
    rejected: Report | None
    references: ReferencesFound | None
    card: Card

    def blocks(self) -> list[Block]:
        """Return the description of a model file, and of the files beside it."""
        card, parity = self.card, self.parity
        rows: list[tuple[str, Cell]] = [
            ("kind", _kind_words(self)),
            *_opening_rows(self),
            ("input", input_words(card)),
            ("preprocessing", preprocessing_words(card)),
            ("classes", class_words(card)),
            ("probabilities", probability_words(card)),
            ("network", network_words(card)),
            *aligned_rows(card),
            *adapted_rows(card),
        ]
        if card.acceptance is None:
            rows.append(("metrics", _metrics_words(card)))
        else:
            rows.append((card.precision, acceptance_words(card.acceptance)))
        rows.append(("made", _made_words(card)))
        digests = [
            ("the file", self.sha256),
            ("weights", card.weights.sha256),
            ("data", card.data_sha256),
            ("settings", card.settings_sha256),
        ]
        blocks: list[Block] = [
            Facts(rows, title=printable(self.model)),
            Line(),
            Facts(digests, title="sha256"),
            _proofs(self),
        ]
        if parity is not None and parity.belongs:
            blocks.append(_level_grid(parity.levels))
        return blocks


def _kind_words(result: Inspection) -> Cell:
    """Return the format and precision, and of ONNX the versions in it."""
    card, graph = result.card, result.graph
    of_onnx = "" if graph is None else f", opset {graph.opset}, IR version {graph.ir_version}"
    kind = card.format or "trained weights, not exported,"
    size = f"{megabytes(result.bytes)}{of_onnx}"
    if graph is None or graph.precision == card.precision:
        return f"{kind} {card.precision}, {size}"
    changed = f"changed by another tool: its card is of a file in {card.precision}"
    return Span(f"{kind} {graph.precision}, {size}; {changed}", "unsure")


def _opening_rows(result: Inspection) -> list[tuple[str, Cell]]:
    """Return which onnxruntime opens the file, and whether the one here does."""
    opening, lowest = result.opening, result.card.lowest_onnxruntime
    if opening is None:
        return [("opens in", "torch; not tried")]
    wanted = f"onnxruntime {lowest} or newer" if lowest else "onnxruntime"
    if opening.opened:
        return [("opens in", f"{wanted}; opened in {opening.onnxruntime}")]
    here = "" if opening.onnxruntime is None else f"onnxruntime {opening.onnxruntime} does not: "
    reason = printable(f"{here}{opening.reason}")
    return [("opens in", wanted), ("not here", Span(reason, "bad"))]


def _made_words(card: Card) -> str:
    """Return when a file was made and with what."""
    versions = {name: v for name, v in card.versions.items() if name != "exporter torch"}
    exporter = card.versions.get("exporter torch", versions.get("torch"))
    if exporter != versions.get("torch"):
        versions["torch"] = f"{versions.get('torch')} (exported with {exporter})"
    return f"{_moment(card.created)} with {_version_words(versions)}"


def _moment(iso: str) -> str:
    """Write a time for a person.

    >>> _moment("2026-11-22T14:26:25+00:00")
    '2026-11-22 14:26 UTC'
    """
    return f"{iso[:10]} {iso[11:16]} UTC"


def _version_words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _proofs(result: Inspection) -> Table:
    """Return what the file can be checked by: its card, and what lies beside it."""
    proof, parity, references = result.card.proof, result.parity, result.references
    rows: list[tuple[Cell, ...]] = []
    if proof is None:
        rows.append(("the card", "–", "holds no proof"))
    else:
        inputs = len(proof.logits) + len(proof.extremes)
        stored = f"logits of {inputs} generated inputs, within {proof.tolerance:g}"
        rows.append(("the card", "–", f"{stored}; rtl verify repeats them"))
    if parity is None:
        rows.append(("parity report", "–", "none beside the file"))
    else:
        rows.append(("parity report", *_report_words(parity, result.card)))
    if references is None:
        rows.append(("references", "–", "none beside the file"))
    elif references.unreadable is not None:
        rows.append(("references", *_unreadable(references.unreadable)))
    else:
        of = "the same" if references.belongs else "other"
        images = f"{references.images} images of {of} classes, {megabytes(references.bytes)}"
        rows.append(("references", BELONGS[references.belongs], images))
    if result.rejected is not None:
        rows.append(("rejected", *_rejected_words(result.rejected)))
    return Table(("proof", "belongs", "what it says"), rows)


def _report_words(report: Report, card: Card) -> tuple[Cell, Cell]:
    """Return whether a report belongs to this file, and its verdict."""
    if report.unreadable is not None:
        return _unreadable(report.unreadable)
    passed = sum(level.passed for level in report.levels)
    words = f"{passed} of {len(report.levels)} levels passed"
    if not report.belongs:
        return BELONGS[False], f"about another file, where {words}"
    where = report.provider or "an unnamed provider"
    when = printable(f" at export, {_moment(card.created)}, on {where}")
    versions = printable(f"with {_version_words(report.versions)}")
    return BELONGS[True], Span(f"{words}{when}\n{versions}", "good" if report.passed else "bad")


def _unreadable(reason: str) -> tuple[Cell, Cell]:
    return BELONGS[None], printable(f"can't be read: {reason}")


def _level_grid(levels: Sequence[LevelFound]) -> Table:
    """Return a row for each level and a column for each reference, with the verdicts."""
    references = list(dict.fromkeys(level.against for level in levels))
    verdicts = {(level.level, level.against): level.passed for level in levels}
    rows: list[tuple[Cell, ...]] = [
        (printable(name), *(VERDICTS[verdicts.get((name, against))] for against in references))
        for name in dict.fromkeys(level.level for level in levels)
    ]
    return Table(("level", *map(printable, references)), rows)


def _rejected_words(report: Report) -> tuple[Cell, Cell]:
    """Return why a file of this name was not kept."""
    if report.unreadable is not None:
        return _unreadable(report.unreadable)
    short = ", ".join(f"{v.level} against the {v.against}" for v in report.levels if not v.passed)
    words = f"{_moment(report.written)}: another file was not kept, for {short}"
    return BELONGS[report.belongs], printable(words)


def class_words(card: Card) -> str:
    """Return the class names, or the first of them where there are many."""
    more = len(card.classes) - MOST_CLASSES
    shown = ", ".join(card.classes[:MOST_CLASSES])
    return f"{len(card.classes)}: {shown}" + (f", … and {more} more" if more > 0 else "")


def input_words(card: Card) -> str:
    """Return what a graph takes: its name, dtype and shape."""
    side, batch = card.preprocessing.size, card.batch or "batch"
    return {
        "pixels": f"pixels: uint8 [{batch}, {side}, {side}, 3], RGB, resized and cropped",
        "tensor": f"tensor: float32 [{batch}, 3, {side}, {side}], RGB, normalised",
        "image": "image: uint8 [height, width, 3], RGB, of any size",
    }[card.input]


def preprocessing_words(card: Card) -> str:
    """Return how an image becomes the network's pixels, and where that happens."""
    p = card.preprocessing
    if p.mode == "squash":
        words = f"resized to {p.size}×{p.size}"
    else:
        words = f"short side {p.resize_size}, centre {p.size}×{p.size}"
    separator, place = ("; ", " in the graph") if card.input == "image" else (", ", "")
    words = f"EXIF orientation applied{separator}{words}{place}"
    words += f", JPEGs decoded small while ≥ {p.decode_scale}×" if p.decode_scale else ""
    return words + (f"; trained at {card.trained_size}" if card.trained_size else "")


def network_words(card: Card) -> str:
    """Return the network, which of its stages the classifier reads, and where training began."""
    read = {"last": "", "last-two": ", its last two stages read", "all": ", all its stages read"}
    return f"{card.architecture}{read[card.head_stages]}, started from {card.weights.origin}"


def probability_words(card: Card) -> str:
    """Return how probabilities come from logits, and which labels follow from them."""
    if card.task == "multi-label":
        return (
            f"sigmoid, temperature {card.temperature:g}; "
            f"a class counts from {percent(card.label_threshold)}"
        )
    rejected = "" if card.threshold is None else f"; rejected below {percent(card.threshold)}"
    return f"softmax, temperature {card.temperature:g}{rejected}"


def aligned_rows(card: Card) -> list[tuple[str, Cell]]:
    """Return for which photographs a model was trained with `--target`; nothing for any other."""
    found = card.aligned
    if found is None:
        return []
    if not found.for_other_camera:
        words = (
            f"{found.labelled_images} labelled photographs of another camera are training images"
        )
        return [("aligned", f"no: {words}")]
    labelled = f", {found.labelled_images} of them labelled" if found.labelled_images else ""
    words = f"to {found.target_images} photographs of another camera{labelled}, by {found.method}"
    return [("aligned", words)]


def adapted_rows(card: Card) -> list[tuple[str, Cell]]:
    """Return what a file was fitted to, by `rtl adapt`; nothing for any other."""
    found = card.adapted
    if found is None:
        return []
    words = f"to {found.target_images} photographs of another camera, from {found.from_sha256[:16]}"
    return [("adapted", f"{words}…")]


def _metrics_words(card: Card) -> str:
    if card.adapted is not None:
        return "none; it was adapted to photographs without labels"
    if card.metrics is None:
        return "none; rtl evaluate RUN before the export puts them in"
    metrics = card.metrics
    low, high = metrics.accuracy_interval
    qualifier = accuracy_qualifier(card.task)
    return (
        f"{percent(metrics.accuracy)} of {metrics.images} {metrics.split} images{qualifier} "
        f"({percent(low)} to {percent(high)}), macro F1 {percent(metrics.macro_f1)}"
    )
