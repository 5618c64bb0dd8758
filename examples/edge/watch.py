"""Watch a folder and write a line of JSON for each image: watch.py model.onnx FOLDER RESULTS."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolchain import ImageError, Predictor

SECONDS = 1.0


def done_before(results: Path) -> set[tuple[str, int]]:
    """Return what has a line already; a last line that the power cut short is removed."""
    data = results.read_bytes() if results.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(results, len(whole))
    rows = (json.loads(line) for line in whole.splitlines())
    return {(row["file"], row["modified"]) for row in rows}


def settled(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield files, again and again, that did not change from one look to the next."""
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = {}
        for file in sorted(folder.iterdir()):
            with suppress(FileNotFoundError):  # gone since it was listed
                now[file] = (file.stat().st_mtime_ns, file.stat().st_size)
        yield from ((file, now[file][0]) for file in now if before.get(file) == now[file])
        before = now
        time.sleep(SECONDS)


def watch(model: str, folder: Path, results: Path) -> None:
    """Predict each image once, until Ctrl-C; one that can't be read has its error in its line."""
    done = done_before(results)
    with Predictor(model) as predictor, results.open("a", encoding="utf-8", buffering=1) as lines:
        for file, modified in settled(folder):
            if (file.name, modified) in done or file.name.startswith(".") or file.is_dir():
                continue
            try:
                found = predictor(file)
                row = {"label": found.label, "probability": round(found.probability, 6)}
            except ImageError as error:
                row = {"error": str(error)}
            lines.write(json.dumps({"file": file.name, "modified": modified} | row) + "\n")
            done.add((file.name, modified))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        watch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
