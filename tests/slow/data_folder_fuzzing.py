"""Reads random folders of data: each loads with every file accounted for, or is refused in a line.

    python tests/slow/data_folder_fuzzing.py --trees 2000 --seed 0

A tree has names, links, kinds of files, damaged files, lists and tables as people have them, mixed
at random. Printed are how many loaded and how many were refused, and the seed of each tree for
which neither holds; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from toolchain.data import left_out
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import Dataset, read_dataset
from toolchain.data.splits import Splitting
from toolchain.errors import ToolchainError

SPLIT_FOLDERS = (
    "train", "Train", "training_set", "val", "valid", "validation", "dev", "eval", "test",
    "test_set", "test-images", "val2017", "extra", "holdout",
)  # fmt: skip
CLASS_FOLDERS = (
    "cat", "dog", "Dog", "dog ", "café", "café", "ice cream", "0", "1", "train", "test",
    "2023", "images", ".hidden", "@eaDir", "__MACOSX", "\udcff", "new\nline", "#1", "a,b", 'q"x',
)  # fmt: skip
FILES = (
    "1.jpg", "2.JPG", "3.png", "x.heic", "y.CR2", "z.ico", "no_ending", ".DS_Store", "._1.jpg",
    "Thumbs.db", "#4.jpg", "with space.jpg", "comma,.jpg", 'quote".jpg', "5.txt", "é.jpg",
    "é.jpg", "cr\r.jpg", "tab\t.jpg", "\udcfe.png", "6.jpg.part", "7.jpeg",
)  # fmt: skip
LISTS = ("train.txt", "val.txt", "test.txt", "train_list.txt", "notes.txt")
TABLES = ("labels.csv", "train.csv", "val.csv", "test.csv", "metadata.csv")
HEADERS = (
    "image,label", "id,label", "filename,class", "file,labels", "file,cat,dog", "id", "",
    "image,label,split", "image,label,group", "a,b,c", "image\tlabel", "image;label",
)  # fmt: skip
LABELS = ("cat", "dog", "ice cream", "0", "1", "", "cat;dog", "café")
SEPARATORS = (" ", "\t", ",", ", ", ";", "  ")


def picture() -> bytes:
    """Return the smallest picture that decodes."""
    data = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(data, "PNG")
    return data.getvalue()


PICTURE = picture()


def fill(folder: Path, dice: random.Random, most: int) -> None:
    """Put some files, and now and then a link, a pipe or a folder into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in dice.sample(FILES, dice.randrange(most + 1)):
        content = dice.choice((PICTURE, PICTURE, b"", b"damaged", PICTURE[:30]))
        (folder / name).write_bytes(content)
    chance = dice.random()
    link = folder / dice.choice(("link", "link.jpg", "other"))
    if chance < 0.15 and not os.path.lexists(link):
        link.symlink_to(dice.choice((".", "..", "gone", link.name, "../..", "1.jpg")))
    elif chance < 0.2:
        os.mkfifo(folder / "pipe.jpg")
    elif chance < 0.3 and most > 1:
        fill(folder / dice.choice(CLASS_FOLDERS), dice, most // 2)


def write_lists(root: Path, dice: random.Random) -> None:
    """Write lists or tables that name some of the files, in ways that people write them."""
    files = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.suffix.lower() in (".jpg", ".png", ".jpeg")
    ] or ["gone.jpg"]
    tables, clean = dice.random() < 0.5, dice.random() < 0.6
    for name in dice.sample(TABLES if tables else LISTS, dice.randrange(1, 4)):
        header = dice.choice(HEADERS)
        separator = dice.choice(SEPARATORS)
        if tables:
            separator = "\t" if "\t" in header else ";" if ";" in header else ","
        lines = [header] if tables else ["# comment"] * dice.randrange(2)
        for file in dice.sample(files, dice.randrange(1, len(files) + 1)):
            text = dice.choice((file, file, file, f"./{file}", Path(file).stem, file.upper()))
            text = file if clean else text
            cell = (
                f'"{text.replace(chr(34), chr(34) * 2)}"' if clean or dice.random() < 0.3 else text
            )
            labels = LABELS[:3] if clean else LABELS
            more = separator.join(dice.choice(labels) for _ in range(max(1, header.count(","))))
            lines.append(f"{cell}{separator}{more}")
        text = dice.choice(("\n", "\r\n")).join(lines)
        encoding = dice.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
        (root / name).write_bytes(text.encode(encoding, "replace"))


def plant(root: Path, dice: random.Random) -> None:
    """Make a random data set."""
    fill(root, dice, dice.choice((0, 0, 2, 5)))
    kind = dice.random()
    above = [root]
    if kind < 0.4:
        above = [root / name for name in dice.sample(SPLIT_FOLDERS, dice.randrange(1, 5))]
    elif kind < 0.5:
        above = [root / "dataset"]
    if kind < 0.35:
        above[0] = root / dice.choice(("train", "training_set", "Train"))
    classes = dice.sample(CLASS_FOLDERS, dice.randrange(1, 6))
    for folder in above:
        names = (
            classes if folder == above[0] else dice.sample(classes, dice.randrange(len(classes)))
        )
        for name in [*names, *dice.sample(CLASS_FOLDERS, dice.random() < 0.1)]:
            fill(folder / name, dice, 12)
    if dice.random() < 0.4:
        write_lists(root, dice)


def files_below(root: Path) -> Iterator[Path]:
    """Yield every file, and every link to a folder, which is not followed."""
    for folder, folders, files in os.walk(root):
        for name in files:
            yield Path(folder, name)
        for name in folders:
            if Path(folder, name).is_symlink():
                yield Path(folder, name)


def unaccounted(dataset: Dataset, counted: list[tuple[Path, str]]) -> list[Path]:
    """Return the files that are neither used nor left out with a reason."""
    used = {s.path for split in ("train", "val", "test") for s in dataset.split(split)}
    used |= {path.parent for path in used} | {Path(os.path.realpath(path)) for path in used}
    left = {path for path, _ in counted}
    folders = {path for path, reason in counted if reason != "a class without images"}
    lists = {dataset.root / name for name in (*LISTS, *TABLES)}
    return [
        path
        for path in files_below(dataset.root)
        if path not in used | left | lists and folders.isdisjoint(path.parents)
        and Path(os.path.realpath(path)) not in used
    ]  # fmt: skip


def try_tree(root: Path, dice: random.Random, counted: list[tuple[Path, str]]) -> str:
    """Read one tree; return "loaded", "refused" or what is wrong."""
    task: Any = dice.choice(("single-label", "single-label", "multi-label"))
    group = dice.choice(("", "", "", "group"))
    splitting = Splitting(dice.choice(("7:1:2", "8:2")), dice.choice((0, 3)), group)
    counted.clear()
    try:
        dataset = read_dataset(root, task, splitting)
        if missing := unaccounted(dataset, counted):
            return f"not accounted for: {missing[0]!r} ({dataset.split_by})"
        twice = [path for path, times in Counter(path for path, _ in counted).items() if times > 1]
        if twice:
            return f"counted twice: {twice[0]!r}"
        if dice.random() < 0.2:
            audit_dataset(dataset)
        return "loaded"
    except ToolchainError as error:
        lines = f"{error}{error.hint or ''}"
        return "refused" if "\n" not in lines.replace("new\nline", "") else f"lines: {lines!r}"
    except Exception:
        return traceback.format_exc()


def main() -> int:
    """Read the trees and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counted: list[tuple[Path, str]] = []
    add = left_out.Account.add

    def recording(account: Any, path: Path, kind: str, reason: Any, **more: Any) -> None:
        counted.append((path, reason))
        add(account, path, kind, reason, **more)

    left_out.Account.add = recording  # type: ignore[method-assign, assignment]
    outcomes: Counter[str] = Counter()
    for number in range(options.seed, options.seed + options.trees):
        root = Path(tempfile.mkdtemp(prefix="rtl-tree-"))
        try:
            dice = random.Random(number)
            plant(root, dice)
            outcome = try_tree(root, dice, counted)
        finally:
            shutil.rmtree(root)
        if outcome not in ("loaded", "refused"):
            print(f"seed {number}: {outcome}", flush=True)
            outcome = "wrong"
        outcomes[outcome] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    return int(outcomes["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
