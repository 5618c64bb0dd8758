"""Watch a folder and write a line of JSON for each image: watch.py model.onnx FOLDER RESULTS."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolchain import ImageError, Predictor

POLL_S = 1.0
"""Seconds between two listings of the folder."""


def done_before(results: Path) -> set[tuple[str, int]]:
    """Return (name, modified) of the lines in the results; an incomplete last line is removed."""
    data = results.read_bytes() if results.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(results, len(whole))
    rows = (json.loads(line) for line in whole.splitlines())
    return {(row["file"], row["modified"]) for row in rows}


def unchanged_files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield (file, modified), at every poll, for each file unchanged since the poll before."""
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = {}
        for file in sorted(folder.iterdir()):
            with suppress(FileNotFoundError):  # gone since it was listed
                now[file] = (file.stat().st_mtime_ns, file.stat().st_size)
        yield from ((file, now[file][0]) for file in now if before.get(file) == now[file])
        before = now
        time.sleep(POLL_S)


def watch(model: str, folder: Path, results: Path) -> None:
    """Predict each image once, until Ctrl-C; the line of one that can't be read has its error."""
    done = done_before(results)
    with Predictor(model) as predictor, results.open("a", encoding="utf-8", buffering=1) as lines:
        for file, modified in unchanged_files(folder):
            if (file.name, modified) in done or file.name.startswith(".") or file.is_dir():
                continue
            try:
                prediction = predictor(file)
                row = {"label": prediction.label, "probability": round(prediction.probability, 6)}
            except ImageError as error:
                row = {"error": str(error)}
            lines.write(json.dumps({"file": file.name, "modified": modified} | row) + "\n")
            done.add((file.name, modified))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        watch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
