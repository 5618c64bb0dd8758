"""Read images that were damaged in many ways, and fail where one is neither read nor refused.

    python tests/slow/image_fuzzing.py FOLDER... [--images 20000] [--seed 0]

The images of the folders are the seeds; small ones are taken more often than large ones. Each
damaged file goes through `read_image` and `preprocess` in a worker process of its own kind, with a
time limit; what is asked is a picture or an `ImageError`. Anything else, another exception, a
process that dies, a limit that passes, is printed with the number of the image, and the exit status
is 1. `--only NUMBER` repeats one image in this process; the numbers depend on the seeds and --seed.

Printed for each kind of damage: how many were read, how many refused, the slowest, and the peak
memory of a worker that read one.
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
MOST_MEMORY = 6 * 2**30


@dataclass
class Figures:
    """What became of the images of one kind of damage."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest: int = 0
    peak_mb: float = 0.0


class Seeds:
    """The images that are damaged, and which is taken for which number."""

    def __init__(self, folders: list[Path], seed: int) -> None:
        files = sorted(f for folder in folders for f in folder.rglob("*") if f.is_file())
        self.data = [data for f in files if f.suffix != ".tsv" and (data := f.read_bytes())]
        self.weights = [1 / (1 + 3 * megapixels(data)) for data in self.data]
        self.seed = seed

    def damaged(self, number: int) -> tuple[str, bytes, Random]:
        """Return the kind of damage of an image, and its bytes."""
        random = Random(f"{self.seed}:{number}")
        data, other = random.choices(self.data, self.weights, k=2)
        kind = KINDS[number % len(KINDS)]
        return kind, MUTATIONS[kind](data, other, random), random


def megapixels(data: bytes) -> float:
    """Return the size that a file says it has; what says nothing is taken for small."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width * image.height / 1e6
    except Exception:  # whatever Pillow raises for a seed that is damaged already
        return 0.0


def outcome(kind: str, data: bytes, random: Random) -> str:
    """Read one image; give what became of it, or raise what must not be raised."""
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
    """Answer numbers with (what became of the image, milliseconds, peak memory in MB)."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    while (number := pipe.recv()) is not None:
        kind, data, random = seeds.damaged(number)
        forget_peak()
        started = time.perf_counter()
        try:
            became = outcome(kind, data, random)
        except BaseException:
            became = traceback.format_exc()
        pipe.send((became, 1000 * (time.perf_counter() - started), peak_mb()))


def forget_peak() -> None:
    """Let the system count the peak memory of this process anew, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mb() -> float:
    """Return the peak memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def answers(
    seeds: Seeds, numbers: range, limit: float
) -> Iterator[tuple[int, tuple[str, float, float]]]:
    """Yield the answer for each number, from a worker that is started anew when it dies or hangs."""
    context = multiprocessing.get_context("fork")
    worker = None
    for number in numbers:
        if worker is None:
            pipe, theirs = context.Pipe()
            worker = context.Process(target=work, args=(seeds, theirs), daemon=True)
            worker.start()
            theirs.close()
        pipe.send(number)
        died = None
        if pipe.poll(limit):
            try:
                yield number, pipe.recv()
                continue
            except EOFError:
                died = "crash"
        worker.kill()
        worker.join()
        worker = None
        yield number, (died or "hang", 1000 * limit, 0.0)
    if worker is not None:
        pipe.send(None)
        worker.join()


def main() -> int:
    """Damage and read the images, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--only", type=int, metavar="NUMBER")
    given = parser.parse_args()
    seeds = Seeds(given.folders, given.seed)
    if given.only is not None:
        print(outcome(*seeds.damaged(given.only)))
        return 0
    figures = {kind: Figures() for kind in KINDS}
    failures: list[tuple[int, str]] = []

    def collect(first: int) -> None:
        numbers = range(first, given.images, given.workers)
        for number, (became, ms, peak) in answers(seeds, numbers, given.limit):
            of_kind = figures[KINDS[number % len(KINDS)]]
            of_kind.outcomes[became if became in ("read", "refused") else "failed"] += 1
            if ms > of_kind.slowest_ms:
                of_kind.slowest_ms, of_kind.slowest = ms, number
            of_kind.peak_mb = max(of_kind.peak_mb, peak)
            if became not in ("read", "refused"):
                failures.append((number, became))
                print(f"image {number}: {became}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(collect, range(given.workers)))
    print_table(figures, len(seeds.data))
    return 1 if failures else 0


def print_table(figures: dict[str, Figures], seeds: int) -> None:
    """Print a line for each kind of damage, as Markdown."""
    print(f"{seeds} seeds\n")
    print("| damage | images | read | refused | failed | slowest (number) | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for kind, found in figures.items():
        counts = " | ".join(str(found.outcomes[name]) for name in ("read", "refused", "failed"))
        slowest = f"{found.slowest_ms:,.0f} ms ({found.slowest})"
        total = found.outcomes.total()
        print(f"| {kind} | {total} | {counts} | {slowest} | {found.peak_mb:,.0f} MB |")
    every = sum((found.outcomes for found in figures.values()), Counter[str]())
    print(f"| all | {every.total()} | {every['read']} | {every['refused']} | {every['failed']} |||")


if __name__ == "__main__":
    sys.exit(main())
