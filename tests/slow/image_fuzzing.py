"""Damage images in many ways, and fail where one is neither read nor refused.

    python tests/slow/image_fuzzing.py FOLDER... [--images 20000] [--seed 0]

The images of the folders are the seeds; small ones are chosen more often than large ones. Each
damaged file is read by `read_image` and `preprocess` in a worker process with a time limit; the
expected result is an image or an `ImageError`. Any other exception, a crash or a passed time limit
is printed with the number of the image, and the exit status is 1. `--only NUMBER` repeats one image
in this process; the numbers depend on the seeds and --seed.

The table has, for each kind of damage: how many images were read and how many refused, the slowest,
and the peak memory of a worker.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.runtime.image.mutations import MUTATIONS  # noqa: E402
from toolchain.errors import ImageError  # noqa: E402
from toolchain.runtime.card import Preprocessing  # noqa: E402
from toolchain.runtime.image.decode import read_image  # noqa: E402
from toolchain.runtime.image.preprocess import preprocess  # noqa: E402

KINDS = tuple(MUTATIONS)
EXTENSIONS = (".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".avif", ".jp2", ".ico", ".ppm", "")
MAX_MEMORY_BYTES = 6 * 2**30


@dataclass
class Figures:
    """The results for the images of one kind of damage."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest: int = 0
    peak_mb: float = 0.0


class Seeds:
    """The images to damage, and the choice of one for each number."""

    def __init__(self, folders: list[Path], seed: int) -> None:
        files = sorted(f for folder in folders for f in folder.rglob("*") if f.is_file())
        self.data = [data for f in files if f.suffix != ".tsv" and (data := f.read_bytes())]
        self.weights = [1 / (1 + 3 * megapixels(data)) for data in self.data]
        self.seed = seed

    def damaged(self, number: int) -> tuple[str, bytes, Random]:
        """Return (kind of damage, damaged bytes, random generator) of an image by its number."""
        random = Random(f"{self.seed}:{number}")
        data, other = random.choices(self.data, self.weights, k=2)
        kind = KINDS[number % len(KINDS)]
        return kind, MUTATIONS[kind](data, other, random), random


def megapixels(data: bytes) -> float:
    """Return the size that a file declares; 0 where it declares none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width * image.height / 1e6
    except Exception:  # a seed that is damaged already
        return 0.0


def outcome(kind: str, data: bytes, random: Random) -> str:
    """Read one image and return "read" or "refused"; any other error is raised."""
    preprocessing = Preprocessing(decode_scale=random.choice((0, 0, 1, 2)))
    with tempfile.TemporaryDirectory() as folder:
        source: bytes | Path = data
        if kind == "wrong extension":
            source = Path(folder, "image" + random.choice(EXTENSIONS))
            source.write_bytes(data)
        try:
            image = read_image(source, preprocessing)
        except ImageError:
            return "refused"
    pixels = preprocess(image, preprocessing)
    if image.mode != "RGB" or pixels.shape != (224, 224, 3):
        raise AssertionError(f"{image.mode}, {pixels.shape}")
    return "read"


def work(seeds: Seeds, pipe: Connection) -> None:
    """Receive numbers and send (result or traceback, milliseconds, peak memory in MB) of each."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    while (number := pipe.recv()) is not None:
        kind, data, random = seeds.damaged(number)
        reset_peak()
        started = time.perf_counter()
        try:
            result = outcome(kind, data, random)
        except BaseException:
            result = traceback.format_exc()
        pipe.send((result, 1000 * (time.perf_counter() - started), peak_mb()))


def reset_peak() -> None:
    """Reset the peak memory of this process, where the system supports it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def results(
    seeds: Seeds, numbers: range, limit: float
) -> Iterator[tuple[int, tuple[str, float, float]]]:
    """Yield (number, result) from a worker, which is restarted when it crashes or hangs."""
    context = multiprocessing.get_context("fork")
    worker = None
    for number in numbers:
        if worker is None:
            pipe, workers_end = context.Pipe()
            worker = context.Process(target=work, args=(seeds, workers_end), daemon=True)
            worker.start()
            workers_end.close()
        pipe.send(number)
        failure = "hang"
        if pipe.poll(limit):
            try:
                yield number, pipe.recv()
                continue
            except EOFError:
                failure = "crash"
        worker.kill()
        worker.join()
        worker = None
        yield number, (failure, 1000 * limit, 0.0)
    if worker is not None:
        pipe.send(None)
        worker.join()


def main() -> int:
    """Damage and read the images, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--only", type=int, metavar="NUMBER")
    arguments = parser.parse_args()
    seeds = Seeds(arguments.folders, arguments.seed)
    if arguments.only is not None:
        print(outcome(*seeds.damaged(arguments.only)))
        return 0
    figures = {kind: Figures() for kind in KINDS}
    failures: list[tuple[int, str]] = []

    def collect(first: int) -> None:
        numbers = range(first, arguments.images, arguments.workers)
        for number, (result, ms, peak) in results(seeds, numbers, arguments.limit):
            of_kind = figures[KINDS[number % len(KINDS)]]
            of_kind.outcomes[result if result in ("read", "refused") else "failed"] += 1
            if ms > of_kind.slowest_ms:
                of_kind.slowest_ms, of_kind.slowest = ms, number
            of_kind.peak_mb = max(of_kind.peak_mb, peak)
            if result not in ("read", "refused"):
                failures.append((number, result))
                print(f"image {number}: {result}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(collect, range(arguments.workers)))
    print_table(figures, len(seeds.data))
    return 1 if failures else 0


def print_table(figures: dict[str, Figures], seeds: int) -> None:
    """Print a line for each kind of damage, as Markdown."""
    print(f"{seeds} seeds\n")
    print("| damage | images | read | refused | failed | slowest (number) | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for kind, found in figures.items():
        columns = " | ".join(str(found.outcomes[name]) for name in ("read", "refused", "failed"))
        slowest = f"{found.slowest_ms:,.0f} ms ({found.slowest})"
        total = found.outcomes.total()
        print(f"| {kind} | {total} | {columns} | {slowest} | {found.peak_mb:,.0f} MB |")
    sums = sum((found.outcomes for found in figures.values()), Counter[str]())
    print(f"| all | {sums.total()} | {sums['read']} | {sums['refused']} | {sums['failed']} |||")


if __name__ == "__main__":
    sys.exit(main())
