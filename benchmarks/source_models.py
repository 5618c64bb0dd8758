"""Whether several `--weights` choose the source model that full trials find best.

Run it as `python -m benchmarks.source_models run`; `… table` prints what was measured. Sources are
ResNet-18s that are fine-tuned here on each of three sets. For each set, strategy and seed the other
sources are compared by rtl, and each of them is trained in full as well. A case is right where the
validation accuracy from the chosen source is that of the best one, or at most a point below. Rows
are appended to `--results`, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SOURCES = ("food3", "steel6", "hymenoptera")
SETS = (*SOURCES, "food10_64px")
SEEDS = (0, 1, 2)
WITHIN = 0.01
"""How far below the best source's accuracy the chosen one's may be."""
TRAINING: dict[str, tuple[str, ...]] = {
    "head": ("--epochs", "20", "--optimizer", "adam", "--lr-head", "2e-2"),
    "partial": (
        *("--freeze-until", "layer4", "--epochs", "5", "--optimizer", "adamw"),
        *("--lr-head", "1e-3", "--lr-backbone", "3e-4"),
    ),
}
COMMON = ("--batch-size", "32", "--schedule", "constant", "--augment", "none")


class Case(NamedTuple):
    """A set that a source model is chosen for."""

    data: str
    strategy: str
    seed: int


class Bench:
    """Runs `rtl finetune` in a folder and keeps what it printed."""

    def __init__(self, shared: Path, folder: Path, results: Path) -> None:
        self.shared, self.folder, self.results = shared, folder, results
        self.done = {self._key(row): row for row in rows_of(results)}

    def sources(self) -> dict[str, Path]:
        """Return the source models by the set that they are of; they are made where missing."""
        weights = self.shared / "weights" / "resnet18-imagenet-partial.safetensors"
        made = {name: self.folder / f"source-{name}" for name in SOURCES}
        for name, run in made.items():
            if not (run / "model.safetensors").is_file():
                self._finetune(name, "partial", 0, [weights], run)
        return made

    def trained(self, case: Case, sources: dict[str, Path]) -> dict[str, Any]:
        """Return the row of a training that starts from one source, or chooses among several."""
        names = sorted(sources)
        row = {**case._asdict(), "sources": names}
        key = self._key(row)
        if key not in self.done:
            printed = self._finetune(case.data, case.strategy, case.seed, list(sources.values()))
            row |= {"accuracy": printed["val_accuracy"], "seconds": printed["seconds"]}
            if len(names) > 1:
                selection = printed["selection"]
                chosen = Path(str(selection["chosen"]["weights"])).resolve()
                row["chosen"] = next(n for n, path in sources.items() if path.resolve() == chosen)
                row["reason"] = selection["reason"]
            with self.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            self.done[key] = row
        return self.done[key]

    def _finetune(
        self,
        data: str,
        strategy: str,
        seed: int,
        weights: Sequence[Path],
        output: Path | None = None,
    ) -> dict[str, Any]:
        words = [sys.executable, "-m", "toolchain", "finetune", str(self.shared / "data" / data)]
        for file in weights:
            words += ["--weights", str(file)]
        words += ["--strategy", strategy, "--seed", str(seed), *COMMON, *TRAINING[strategy]]
        words += ["--json", "--quiet", "--allow-leaks"]
        number = sum(1 for _ in self.folder.glob("run-*"))
        words += ["-o", str(output or self.folder / f"run-{number}")]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["data"], row["strategy"], row["seed"], *row["sources"])


def rows_of(results: Path) -> list[dict[str, Any]]:
    """Return the rows that were measured."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def cases() -> Iterator[Case]:
    """Yield the cases, a seed of all of them first."""
    for seed, strategy, data in itertools.product(SEEDS, TRAINING, SETS):
        yield Case(data, strategy, seed)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the cases that were measured whole, as Markdown, and how many are right."""
    by_case: dict[Case, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_case[Case(row["data"], row["strategy"], row["seed"])].append(row)
    lines = ["| set | strategy | seed | accuracy from each source | chosen | right |"]
    lines.append("|---|---|--:|---|---|---|")
    right: dict[str, list[bool]] = defaultdict(list)
    for case in cases():
        full = {r["sources"][0]: r["accuracy"] for r in by_case[case] if len(r["sources"]) == 1}
        choice = next((row for row in by_case[case] if len(row["sources"]) > 1), None)
        if choice is None or set(full) != set(choice["sources"]):
            continue
        is_right = full[choice["chosen"]] >= max(full.values()) - WITHIN - 1e-9
        right[case.strategy].append(is_right)
        figures = ", ".join(f"{name} {100 * full[name]:.1f} %" for name in sorted(full))
        verdict = "yes" if is_right else "**no**"
        lines.append(f"| {case.data} | {case.strategy} | {case.seed} | {figures} | "
                     f"{choice['chosen']} | {verdict} |")  # fmt: skip
    counts = [f"{strategy}: {sum(found)} of {len(found)}" for strategy, found in right.items()]
    return "\n".join([*lines, "", f"Right: {'; '.join(counts)}."])


def main() -> None:
    """Measure the cases that are missing, or print the table."""
    root = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--shared", type=Path, default=root.parent.parent / "shared")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/rtl-source-models"))
    parser.add_argument("--results", type=Path, default=root / "source_models.jsonl")
    given = parser.parse_args()
    if given.what == "run":
        given.folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(given.shared, given.folder, given.results)
        sources = bench.sources()
        for case in cases():
            others = {name: run for name, run in sources.items() if name != case.data}
            bench.trained(case, others)
            for name, run in others.items():
                bench.trained(case, {name: run})
    print(table(rows_of(given.results)))


if __name__ == "__main__":
    main()
