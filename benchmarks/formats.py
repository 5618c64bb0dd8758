"""Every kind of model file of two architectures, verified level by level: makes docs/formats.md.

    python -m benchmarks.formats run      train and export what is not in formats.jsonl yet
    python -m benchmarks.formats write    docs/formats.md from formats.jsonl

ResNet-18 starts from the stored ImageNet weights, ResNet-50 from random ones under a trained head:
its accuracy means little, but rounding errors pass through many more layers. RTL_SHARED is the
folder with photographs and weights.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.material import SHARED, WEIGHTS
from benchmarks.results import config_of
from toolchain.exporters.export import export
from toolchain.exporters.outcome import ExportedModel, RejectedModel
from toolchain.exporters.variants import Variant
from toolchain.machine import this_machine
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune

ROOT = Path(__file__).resolve().parent.parent
STORE = Path(__file__).with_name("formats.jsonl")
PAGE = ROOT / "docs" / "formats.md"
DATA = "food3"
NETWORKS = {"resnet18": (str(WEIGHTS), 20), "resnet50": ("none", 2)}
"""Network → (weights, epochs)."""
VARIANTS = [
    *(
        Variant("onnx", precision, input_kind)
        for precision in ("fp32", "fp16", "int8")
        for input_kind in ("pixels", "tensor", "image")
    ),
    *(
        Variant(model_format, "fp32", input_kind)
        for model_format in ("torchscript", "pt2")
        for input_kind in ("pixels", "tensor")
    ),
]


def run() -> None:
    """Train the head of each network that is not stored yet, export every variant, append rows."""
    done = {row["network"] for row in _rows()}
    for network, (weights, epochs) in NETWORKS.items():
        if network in done:
            continue
        with tempfile.TemporaryDirectory(prefix="rtl-formats-") as scratch:
            os.environ["RTL_CACHE_DIR"] = f"{scratch}/cache"
            given = {"data": str(SHARED / "data" / DATA), "arch": network, "epochs": epochs}
            settings = read_settings(config_of("photos-head"), given)
            # A head on random layers, which is refused as a setting, is exported alike.
            settings = msgspec.structs.replace(settings, weights=weights)
            trained = finetune(settings, Path(scratch) / "run")
            outcomes = export(trained.run.path, VARIANTS)
            rows = [
                {"network": network, **_row(variant, outcome)}
                for variant, outcome in zip(VARIANTS, outcomes, strict=True)
            ]
        with STORE.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _row(variant: Variant, outcome: ExportedModel | RejectedModel) -> dict[str, Any]:
    """Return what is stored of one file."""
    kind = {"format": variant.format, "precision": variant.precision, "input": variant.input}
    print(kind, getattr(outcome, "seconds", outcome), flush=True)
    if isinstance(outcome, RejectedModel):
        return {**kind, "refused": str(outcome.error)}
    levels = [
        {"level": level.level, "against": level.against, "figures": level.figures}
        for level in outcome.verification.levels
    ]
    return {
        **kind,
        "bytes": outcome.bytes,
        "acceptance_ratio": outcome.card.acceptance and outcome.card.acceptance.speed_ratio,
        "levels": levels,
    }


def _rows() -> list[dict[str, Any]]:
    if not STORE.is_file():
        return []
    return [json.loads(line) for line in STORE.read_text(encoding="utf-8").splitlines()]


def write() -> None:
    """Write docs/formats.md from the stored rows."""
    rows = _rows()
    lines = [HEAD.format(machine=_machine())]
    for network in dict.fromkeys(row["network"] for row in rows):
        lines += [f"\n## {network}\n\n", COLUMNS]
        lines += [_line(row) for row in rows if row["network"] == network]
    PAGE.write_text("".join(lines), encoding="utf-8")


HEAD = """<!-- Made by benchmarks/formats.py from benchmarks/formats.jsonl. -->

# Formats, inputs and levels

Every kind of model file that `rtl export` writes (format, precision and input), and the figures of
each level of [verification](verification.md) at its export. The images are the 120 of food3's
validation split. ResNet-18 starts from ImageNet weights. ResNet-50 has random weights under a
trained head: its labels mean little, but its numbers are those of a deeper network.

- numbers: the largest difference from the trained model, with the bound in brackets;
- layers: how many layers were compared, and the largest difference relative to a layer's largest
  value;
- decisions: images with another label, without ties, of all images, and the upper 95 % bound of the
  rate;
- pixels: images whose pixels are not torchvision's;
- in graph: the difference of the pixels that the graph makes, where it resizes and crops itself;
- sessions: provider × optimisation × threads × batch, and those of the model cache, each within
  the card's bound.

{machine}
"""

COLUMNS = (
    "| file | size | numbers | layers | decisions | pixels | in graph | sessions |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def _line(row: dict[str, Any]) -> str:
    """Return one file as a line of the table."""
    kind = " · ".join(row[key] for key in ("format", "precision", "input"))
    if "refused" in row:
        return f"| {kind} | not kept: {row['refused']} | | | | | | |\n"
    found = {(level["level"], level["against"]): level["figures"] for level in row["levels"]}
    numbers, decisions = found["numbers", "run"], found["decisions", "run"]
    cells = [
        kind,
        f"{row['bytes'] / 1e6:.1f} MB",
        f"{numbers['max_difference']:.1g} ({numbers['bound']:.1g})",
        f"{numbers['layers']}, {numbers['layers_worst']:.1g}",
        f"{decisions['flips_outside_margin']} of {decisions['images']} "
        f"({decisions['flip_rate_upper_95']:.1%})".replace("%", " %"),
        f"{found['pixels', 'run']['different']} of {found['pixels', 'run']['images']}",
        _in_graph(found.get(("pixels", "graph's input"))),
        str(found.get(("sessions", "card"), {}).get("sessions", "–")),
    ]
    return f"| {' | '.join(cells)} |\n"


def _in_graph(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "–"
    return f"≤ {figures['max_levels']} of 255 in {figures['share_of_values'] * 100:.2f} %"


def _machine() -> str:
    machine = this_machine()
    names = ("torch", "onnxruntime")
    return f"Measured on: {machine}, {', '.join(f'{n} {machine.versions[n]}' for n in names)}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "write"])
    {"run": run, "write": write}[parser.parse_args().action]()
