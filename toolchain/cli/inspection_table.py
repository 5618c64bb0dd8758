"""What `rtl inspect` shows: a model file, and what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from toolchain.cli.plain import printable
from toolchain.cli.tables import (
    acceptance_words,
    facts,
    megabytes,
    new_table,
    percent,
    show,
    whole_words,
)
from toolchain.runtime.card import Card

if TYPE_CHECKING:
    from toolchain.verification.inspection import Inspection, LevelFound, Report

BELONGS = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("?", "yellow")}
VERDICTS = {True: Text("✓", "green"), False: Text("FAILED", "bold red"), None: Text("")}
MOST_CLASSES = 20
"""So many class names are shown; `--json` gives them all."""


def show_inspection(result: Inspection) -> None:
    """Show what a model file says about itself, and what lies beside it."""
    card, parity = result.card, result.parity
    rows: list[tuple[str, str | Text]] = [
        ("kind", _kind_words(result)),
        *_opening_rows(result),
        ("input", input_words(card)),
        ("preprocessing", preprocessing_words(card)),
        ("classes", class_words(card)),
        ("probabilities", probability_words(card)),
        ("network", f"{card.architecture}, started from {card.weights.origin}"),
    ]
    if card.acceptance is None:
        rows.append(("metrics", _metrics_words(card)))
    else:
        rows.append((card.precision, acceptance_words(card.acceptance)))
    rows.append(("made", _made_words(card)))
    digests: list[tuple[str, str | Text]] = [
        ("the file", result.sha256),
        ("weights", card.weights.sha256),
        ("data", card.data_sha256),
        ("settings", card.settings_sha256),
    ]
    show(
        facts(rows, title=printable(result.model)),
        Text(),
        facts(digests, title="sha256"),
        _proofs(result),
    )
    if parity is not None and parity.belongs:
        show(_level_grid(parity.levels))


def _kind_words(result: Inspection) -> str:
    """Say the format and precision, and of ONNX the versions in it."""
    card, graph = result.card, result.graph
    of_onnx = "" if graph is None else f", opset {graph.opset}, IR version {graph.ir_version}"
    return f"{card.format} {card.precision}, {megabytes(result.bytes)}{of_onnx}"


def _opening_rows(result: Inspection) -> list[tuple[str, str | Text]]:
    """Say which onnxruntime opens the file, and whether the one here does."""
    opening, lowest = result.opening, result.card.lowest_onnxruntime
    if opening is None:
        return [("opens in", "torch; not tried")]
    wanted = f"onnxruntime {lowest} or newer" if lowest else "onnxruntime"
    if opening.opened:
        return [("opens in", f"{wanted}; opened in {opening.onnxruntime}")]
    here = "" if opening.onnxruntime is None else f"onnxruntime {opening.onnxruntime} does not: "
    reason = printable(f"{here}{opening.reason}")
    return [("opens in", wanted), ("not here", Text(reason, "bold red"))]


def _made_words(card: Card) -> str:
    """Say when a file was made and with what."""
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
    """Show what the file can be checked by: its card, and what lies beside it."""
    table = new_table("proof", "belongs", "what it says")
    proof, parity, references = result.card.proof, result.parity, result.references
    if proof is None:
        table.add_row("the card", "–", "holds no proof")
    else:
        held = f"logits of {len(proof.logits)} generated inputs, within {proof.tolerance:g}"
        table.add_row("the card", "–", f"{held}; rtl verify repeats them")
    if parity is None:
        table.add_row("parity report", "–", "none beside the file")
    else:
        table.add_row("parity report", *_report_words(parity, result.card))
    if references is None:
        table.add_row("references", "–", "none beside the file")
    elif references.unreadable is not None:
        table.add_row("references", *_unreadable(references.unreadable))
    else:
        of = "the same" if references.belongs else "other"
        images = f"{references.images} images of {of} classes, {megabytes(references.bytes)}"
        table.add_row("references", BELONGS[references.belongs], images)
    if result.rejected is not None:
        table.add_row("rejected", *_rejected_words(result.rejected))
    return table


def _report_words(report: Report, card: Card) -> tuple[Text, Text]:
    """Say whether a report is about this file, and its verdict."""
    if report.unreadable is not None:
        return _unreadable(report.unreadable)
    passed = sum(level.passed for level in report.levels)
    words = f"{passed} of {len(report.levels)} levels passed"
    if not report.belongs:
        return BELONGS[False], Text(f"about another file, where {words}")
    where = report.provider or "an unnamed provider"
    when = printable(f" at export, {_moment(card.created)}, on {where}")
    versions = printable(f"with {_version_words(report.versions)}")
    verdict = Text(words, "green" if report.passed else "bold red")
    return BELONGS[True], verdict + Text(f"{when}\n{versions}")


def _unreadable(reason: str) -> tuple[Text, Text]:
    return BELONGS[None], Text(printable(f"can't be read: {reason}"))


def _level_grid(levels: Sequence[LevelFound]) -> Table:
    """Show which witness heard each level, and its verdict."""
    witnesses = list(dict.fromkeys(level.against for level in levels))
    verdicts = {(level.level, level.against): level.passed for level in levels}
    table = new_table("level", *map(printable, witnesses))
    for name in dict.fromkeys(level.level for level in levels):
        heard = (verdicts.get((name, witness)) for witness in witnesses)
        table.add_row(printable(name), *(VERDICTS[passed] for passed in heard))
    return table


def _rejected_words(report: Report) -> tuple[Text, Text]:
    """Say why a file of this name was not kept."""
    if report.unreadable is not None:
        return _unreadable(report.unreadable)
    short = ", ".join(f"{v.level} against the {v.against}" for v in report.levels if not v.passed)
    words = f"{_moment(report.written)}: another file was not kept, for {short}"
    return BELONGS[report.belongs], Text(printable(words))


def class_words(card: Card) -> str:
    """Name the classes, where they are many the first ones."""
    more = len(card.classes) - MOST_CLASSES
    shown = ", ".join(card.classes[:MOST_CLASSES])
    return f"{len(card.classes)}: {shown}" + (f", … and {more} more" if more > 0 else "")


def input_words(card: Card) -> str:
    """Say what a graph takes."""
    side, batch = card.preprocessing.size, card.batch or "batch"
    return {
        "pixels": f"pixels: uint8 [{batch}, {side}, {side}, 3], RGB, resized and cropped",
        "tensor": f"tensor: float32 [{batch}, 3, {side}, {side}], RGB, normalised",
        "image": "image: uint8 [height, width, 3], RGB, of any size",
    }[card.input]


def preprocessing_words(card: Card) -> str:
    """Say how an image becomes the network's pixels, and where that happens."""
    p = card.preprocessing
    if p.mode == "squash":
        words = f"resized to {p.size}×{p.size}"
    else:
        words = f"short side {p.resize_size}, centre {p.size}×{p.size}"
    words = f"upright; {words} in the graph" if card.input == "image" else f"upright, {words}"
    words += f", JPEGs decoded small while ≥ {p.decode_scale}×" if p.decode_scale else ""
    return words + (f"; trained at {card.trained_size}" if card.trained_size else "")


def probability_words(card: Card) -> str:
    """Say how probabilities come from logits, and what is made of them."""
    if card.task == "multi-label":
        return (
            f"sigmoid, temperature {card.temperature:g}; "
            f"a class counts from {percent(card.label_threshold)}"
        )
    rejected = "" if card.threshold is None else f"; rejected below {percent(card.threshold)}"
    return f"softmax, temperature {card.temperature:g}{rejected}"


def _metrics_words(card: Card) -> str:
    if card.metrics is None:
        return "none; rtl evaluate RUN before the export puts them in"
    metrics = card.metrics
    low, high = metrics.accuracy_interval
    whole = whole_words(card.task)
    return (
        f"{percent(metrics.accuracy)} of {metrics.images} {metrics.split} images{whole} "
        f"({percent(low)} to {percent(high)}), macro F1 {percent(metrics.macro_f1)}"
    )
