"""Damage the files of a run folder in many ways, and fail where `rtl report` does not cope.

    python tests/slow/report_fuzzing.py [--cases 1000] [--seed 0]

The runs are written, not trained (tests/reporting/made_run.py). In each case one file is damaged as
in run_folder_fuzzing.py, or one value of its JSON is replaced by another. The expected result is a
page without an unescaped name, or a `ToolchainError`; a failure is any other exception.
`--only NUMBER` repeats one case.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.reporting.made_run import draw_photographs, made_run  # noqa: E402
from tests.slow.run_folder_fuzzing import DAMAGE  # noqa: E402
from toolchain.errors import ToolchainError  # noqa: E402
from toolchain.reporting.report import report  # noqa: E402
from toolchain.runs.runfolder import RunFolder  # noqa: E402

CLASSES = ("ants", "<script>x</script>", "wasps")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1e300, -1e300, 10**30, "", "<script>x</script>", "\u202e\x00", [], {},
    [1], "ants", [[1]], {"a": 1}, 0.5,
)  # fmt: skip
MACHINE = {
    "processor": "p", "cores": 2, "instructions": [], "memory_gb": 4.0, "system": "s",
    "python": "3", "versions": {"numpy": "2"},
}  # fmt: skip
ROW = {
    "target": "t", "model": "m.onnx", "provider": "cpu", "threads": 2, "batch_size": 1,
    "verdict": "stable", "p50_ms": 7.25, "p90_ms": 8.0, "p99_ms": 9.0, "images_per_s": 138.0,
}  # fmt: skip
PARITY = {
    "model": "m", "sha256": "0", "provider": "cpu", "passed": True, "versions": {}, "seconds": 1.0,
    "levels": [{"level": "numbers", "against": "card", "passed": True, "rule": "r", "summary": "s",
                "figures": {"images": 1}}],
}  # fmt: skip


def replace_a_value(value: Any, random: Random) -> Any:
    """Return a JSON value with one value in it replaced or left out, at any depth."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        key = random.choice(list(copy)) if isinstance(copy, dict) else random.randrange(len(copy))
        if random.random() < 0.1:
            del copy[key]
        else:
            copy[key] = replace_a_value(copy[key], random)
        return copy
    return random.choice(VALUES)


def damage(file: Path, random: Random) -> None:
    """Damage a file, its bytes or a value."""
    data = file.read_bytes()
    if random.random() < 0.3 or file.suffix not in (".json", ".jsonl"):
        kind = random.choice([name for name in DAMAGE if name != "swap"])
        file.write_bytes(DAMAGE[kind](data, b"", random))
    elif file.suffix == ".jsonl":
        lines = data.decode().splitlines()
        number = random.randrange(len(lines))
        lines[number] = json.dumps(replace_a_value(json.loads(lines[number]), random))
        file.write_text("\n".join(lines))
    else:
        file.write_text(json.dumps(replace_a_value(json.loads(data), random)))


def make_runs(folder: Path) -> list[RunFolder]:
    """Write a run of each task, with a benchmark and an exported file that has a report."""
    names = draw_photographs(folder / "data", CLASSES, 4)
    runs = []
    for task in ("single-label", "multi-label"):
        run = made_run(folder / task, folder / "data", CLASSES, names, task=task)  # type: ignore[arg-type]
        run.bench.mkdir()
        content = {"verdict": "stable", "machine": MACHINE, "results": [ROW]}
        run.bench_result("cpu").write_text(json.dumps(content))
        run.export.mkdir()
        (run.export / "model.onnx").write_bytes(b"m")
        (run.export / "model.onnx.parity.json").write_text(json.dumps(PARITY))
        runs.append(run)
    return runs


def try_case(runs: list[RunFolder], folder: Path, random: Random) -> str:
    """Return what became of a case; raise what is no ToolchainError."""
    copy = folder / "case"
    shutil.rmtree(copy, ignore_errors=True)
    run = random.choice(runs)
    shutil.copytree(run.path, copy)
    files = [f for f in sorted(copy.rglob("*")) if f.is_file() and f.suffix != ".safetensors"]
    damage(random.choice(files), random)
    others = [run.path] if random.random() < 0.3 else []
    try:
        written = report([copy, *others], folder / "page.html", pictures=random.random() < 0.1)
    except ToolchainError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    page = Path(written.file).read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert not {"\u202e", "\x00"} & set(page)
    return "named" if written.missing else "used"


def main() -> int:
    """Run the cases and print what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        runs = make_runs(Path(name))
        for number in range(given.cases) if given.only is None else [given.only]:
            try:
                found[try_case(runs, Path(name), Random(f"{given.seed}:{number}"))] += 1
            except Exception:
                found["FAILED"] += 1
                print(f"case {number}:\n{traceback.format_exc()}")
    print(dict(found))
    return 1 if found["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
