"""Label images in Node, in a browser and in C++, and compare with rtl's predictor.

    rtl export runs/photos --input image
    python tests/slow/other_runtimes.py runs/photos/export/model.image.onnx photos/val

Node and Chromium run what examples/javascript/ holds, with onnxruntime-node, sharp and
onnxruntime-web from npm (`--packages FOLDER` keeps or takes a folder with node_modules; about
500 MB). With `--onnxruntime FOLDER`, an unpacked release of onnxruntime (include/ and lib/),
examples/cpp/ is built by CMake and labels the JPEGs among the images; it takes libjpeg and
nlohmann-json from the system.

Printed is, for each: the difference from the logits in the card, the images whose label is not that
of `Predictor`, and the largest difference of a probability. The exit status is 1 where the proof
failed or a label differs.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import toolchain
from tests.reporting.chromium import chromium_page, find_chromium
from toolchain.runtime.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("onnxruntime-node", "onnxruntime-web", "sharp")
JPEG_SUFFIXES = {".jpg", ".jpeg"}
SUFFIXES = {*JPEG_SUFFIXES, ".png", ".webp"}

Answers = list[dict[str, Any]]


def main() -> int:
    """Compare the runtimes with the predictor; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="A file with the input `image`.")
    parser.add_argument("photos", type=Path, help="A folder of images.")
    parser.add_argument("--packages", type=Path, help="Folder of node_modules.")
    parser.add_argument("--onnxruntime", type=Path, help="Folder with its include/ and lib/.")
    arguments = parser.parse_args()
    photos = sorted(p for p in arguments.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    expected = predictor_answers(arguments.model, photos)
    with tempfile.TemporaryDirectory(prefix="rtl-runtimes-") as temporary:
        folder = app_folder(Path(temporary), arguments.model, arguments.packages)
        good = [compared("Node", *node_answers(folder, photos), expected)]
        chromium = find_chromium()
        if chromium is None:
            print("browser: no Chromium is installed")
        else:
            answers = browser_answers(chromium, folder, photos)
            good.append(compared("browser", *answers, expected))
        if arguments.onnxruntime is None:
            print("C++: --onnxruntime is not given")
        else:
            program = built_program(Path(temporary) / "build", arguments.onnxruntime)
            jpegs = [n for n, p in enumerate(photos) if p.suffix.lower() in JPEG_SUFFIXES]
            answers = cpp_answers(program, arguments.model, [photos[n] for n in jpegs])
            good.append(compared("C++", *answers, [expected[n] for n in jpegs]))
    return 0 if all(good) else 1


def app_folder(folder: Path, model: Path, packages: Path | None) -> Path:
    """Return a folder with the app, the model and its packages."""
    shutil.copytree(ROOT / "examples" / "javascript", folder, dirs_exist_ok=True)
    shutil.copy(model, folder / "model.image.onnx")
    (folder / "package.json").write_text('{"type": "module"}')
    if packages is not None and (packages / "node_modules").is_dir():
        (folder / "node_modules").symlink_to((packages / "node_modules").resolve())
        return folder
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
    if packages is not None:
        shutil.copytree(folder / "node_modules", packages / "node_modules")
    return folder


def predictor_answers(model: Path, photos: list[Path]) -> Answers:
    """Return the predictor's label and probabilities of each image."""
    with Predictor(model, cache=False) as predictor:
        found = list(predictor.predict_many(photos))
    kept = [prediction for prediction in found if not isinstance(prediction, toolchain.ImageError)]
    assert len(kept) == len(photos), "an image can't be read"
    return [{"label": p.label, "probabilities": p.probabilities.tolist()} for p in kept]


def node_answers(folder: Path, photos: list[Path]) -> tuple[float, Answers]:
    """Return (difference from the card, answers) of Node."""
    command = ["node", "predict.mjs", "model.image.onnx", *map(str, photos)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"node ended with {done.returncode}:\n{done.stderr}")
    proof, *answers = map(json.loads, done.stdout.splitlines())
    return proof["difference"], answers


def built_program(build: Path, onnxruntime: Path) -> Path:
    """Return the program of examples/cpp/, built with an onnxruntime."""
    source = ROOT / "examples" / "cpp"
    where = f"-DONNXRUNTIME={onnxruntime.resolve()}"
    subprocess.run(["cmake", "-S", source, "-B", build, where], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    return build / "predict"


def cpp_answers(program: Path, model: Path, photos: list[Path]) -> tuple[float, Answers]:
    """Return (difference from the card, answers) of the program in C++."""
    command = [program, model, *photos]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"predict ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    proof, *answers = map(json.loads, done.stdout.splitlines())
    return proof["difference"], [{**found, "label": found["labels"][0]} for found in answers]


def browser_answers(chromium: str, folder: Path, photos: list[Path]) -> tuple[float, Answers]:
    """Return (difference from the card, answers) of a browser."""
    for number, photo in enumerate(photos):
        shutil.copy(photo, folder / f"photo-{number}")
    blank = folder / "blank.html"
    blank.touch()
    with served(folder) as address, chromium_page(chromium, blank) as page:
        page.events.clear()
        page.call("Page.navigate", url=f"{address}/index.html")
        page._wait_for_load()
        ready = "new Promise(r => setInterval(() => globalThis.proof && r(proof.difference), 50))"
        difference = page.value(ready)
        # An image that the browser can't decode has no label.
        refused = "{label: '', probabilities: [], error: String(error)}"
        then = f".then(r => r.blob()).then(labelOf).catch(error => ({refused}))"
        answers = [page.value(f"fetch('photo-{n}'){then}") for n in range(len(photos))]
        return difference, answers


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, on a free port, and yield its address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def compared(name: str, proof: float, answers: Answers, expected: Answers) -> bool:
    """Print a line about one runtime; return whether all labels are the predictor's."""
    pairs = list(zip(answers, expected, strict=True))
    other = sum(1 for a, b in pairs if a["label"] != b["label"])
    off = max(
        abs(x - y)
        for a, b in pairs
        for x, y in zip(a["probabilities"], b["probabilities"], strict=True)
    )
    print(
        f"{name}: off by {proof:.1e} from the card; {len(pairs)} images, {other} other labels, "
        f"probabilities within {off:.1e}"
    )
    return other == 0


if __name__ == "__main__":
    sys.exit(main())
