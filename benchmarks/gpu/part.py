"""The process of one part: checks what the part needs, runs it, and writes rows and outcome.

    python -m benchmarks.gpu.part FOLDER NUMBER

`FOLDER` holds job.json and NUMBER.part.json. Each row is written when it is known, so that those of
a part that is stopped are kept.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import CannotRunError, Job, PartFailedError, read_job
from benchmarks.gpu.parts import Part


def run(part: Part, job: Job, rows: Path) -> tuple[str, str]:
    """Run a part, append its rows to a file, and return (status, reason in one line)."""
    try:
        if part.not_on_cpu and job.device == "cpu":
            raise CannotRunError(part.not_on_cpu)
        require_modules(part.needs)
        if part.uses_gpu and job.device == "cuda":
            require_gpu()
        module, _, function = part.function.partition(":")
        with rows.open("a", encoding="utf-8") as file:
            for row in getattr(importlib.import_module(module), function)(job, **part.arguments):
                file.write(json.dumps(row) + "\n")
                file.flush()
    except CannotRunError as error:
        return "skipped", one_line(error)
    except PartFailedError as error:
        return "failed", one_line(error)
    except Exception as error:
        traceback.print_exc()
        return "failed", described(error)
    return "done", ""


def require_modules(names: tuple[str, ...]) -> None:
    """Raise CannotRunError that names the modules that are not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotRunError(
            f"not installed: {', '.join(missing)} (--wheels FOLDER takes their wheels)"
        )


def require_gpu() -> None:
    """Raise CannotRunError where torch sees no GPU.

    torch is imported before onnxruntime everywhere: it loads the CUDA libraries of its own
    environment, which onnxruntime, installed into another folder, would not find.
    """
    import torch

    if not torch.cuda.is_available():
        raise CannotRunError(f"torch {torch.__version__} sees no CUDA device")


def described(error: Exception) -> str:
    """Return an error in one line, with the hint where it has one."""
    hint = getattr(error, "hint", None)
    name = "" if hasattr(error, "hint") else f"{type(error).__name__}: "
    return name + one_line(error) + (f" ({hint})" if hint else "")


def one_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def main(arguments: list[str]) -> None:
    """Run the part that a file describes."""
    folder, number = Path(arguments[0]), arguments[1]
    fields: dict[str, Any] = json.loads((folder / f"{number}.part.json").read_text())
    part = Part(**{**fields, "needs": tuple(fields["needs"])})
    status, reason = run(part, read_job(folder / "job.json"), folder / f"{number}.rows.jsonl")
    outcome = json.dumps({"status": status, "reason": reason})
    (folder / f"{number}.outcome.json").write_text(outcome, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
