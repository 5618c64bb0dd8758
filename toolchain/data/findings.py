"""What is wrong, or may be, with the classes and splits that were found: errors and notes."""

from __future__ import annotations

import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.data.class_names import (
    LabelledPaths,
    class_names,
    look_alike,
    similar_names,
    some_of,
)
from toolchain.data.folders import folders_with_images, looks_like_data
from toolchain.data.left_out import Account, is_clutter, left_out_summary, remedy_for
from toolchain.data.other_tasks import kept_for_another_task
from toolchain.data.split_names import split_named
from toolchain.data.walk import Entry, is_image_name, list_folder
from toolchain.errors import DataError
from toolchain.printable import shell_words

RUN_FILES = ("settings.toml", "card.json")
"""By these a run folder is known, which is given for a data set by mistake."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")


def require_classes(root: Path, classes: set[str], account: Account, layouts: str) -> None:
    """Raise DataError for fewer than two classes, with what was left out and what may be meant."""
    if len(classes) > 1:
        return
    _require_no_run(root)
    entries = [entry for entry in account.entries() if not is_clutter(entry)]
    found = (
        f"only one class, '{min(classes)}'; a classifier needs two or more"
        if classes
        else "no images found"
    )
    left_out = f" (left out: {left_out_summary(entries)})" if entries else ""
    empty = {Path(e.first).name for e in entries if e.reason == "a class without images"}
    if other := kept_for_another_task(classes | empty):
        left_out += f"; {other}, and rtl classifies whole images"
    meant, remedy = _meant(root), remedy_for(entries)
    hint = f"did you mean {meant}? " if meant else f"{remedy}; " if remedy else ""
    if tables := [e.path for e in _listed(root) if e.path.suffix.lower() in (".csv", ".tsv")]:
        hint += f"a table is given itself, as {tables[0]}; "
    raise DataError(f"{root}: {found}{left_out}", hint=f"{hint}expected {layouts}")


def require_list(file: Path, layouts: str) -> None:
    """Raise DataError for a file that is an image or an archive, and so no list of images."""
    if is_image_name(file.name):
        hint = f"give the folder of its class's folder; expected {layouts}"
        raise DataError(f"{file} is one image, not a data set", hint=hint)
    if tarfile.is_tarfile(file) or zipfile.is_zipfile(file) or file.suffix.lower() in ARCHIVES:
        raise DataError(f"{file} is an archive", hint=f"unpack it; expected {layouts}")


def _require_no_run(root: Path) -> None:
    if all((root / name).is_file() for name in RUN_FILES):
        raise DataError(
            f"{root} is a run folder, not a data set",
            hint=f"to train it further: rtl finetune DATA --weights {shell_words(root)}",
        )


def _meant(root: Path) -> Path | None:
    """Return a folder below that looks like a data set, or that above a folder of one class."""
    if not root.is_dir():
        return None
    if below := looks_like_data(root):
        return below
    above = root.absolute().parent
    return above if _holds_images(root) and _siblings_hold_images(root, above) else None


def _siblings_hold_images(folder: Path, above: Path) -> bool:
    # Only the names directly in them are listed: what lies above may be a whole home folder.
    return any(
        entry.is_folder and entry.path.name != folder.name and _holds_images(entry.path)
        for entry in _listed(above)
    )


def _holds_images(folder: Path) -> bool:
    return any(is_image_name(e.path.name) for e in _listed(folder) if not e.is_folder)


def _listed(folder: Path) -> list[Entry]:
    """Return what lies in a folder that nobody named; nothing where it can't be listed."""
    try:
        return list_folder(folder)
    except DataError:
        return []


def require_known(root: Path, classes: Sequence[str], others: Mapping[str, LabelledPaths]) -> None:
    """Raise DataError for a class of val or test that train lacks, with a similar name of train."""
    known = {look_alike(name): name for name in classes}
    for split, items in others.items():
        unknown = sorted(class_names(items) - set(classes))
        if not unknown:
            continue
        similar = [f"'{known[look]}'" for name in unknown if (look := look_alike(name)) in known]
        hint = "class folders are matched by name; rename or move them"
        if similar:
            hint = f"train has {some_of(similar)}, which differs in case or blanks; rename one"
        raise DataError(
            f"{root}: {split} has classes that train lacks: {', '.join(unknown)}", hint=hint
        )


def split_notes(splits: Mapping[str, LabelledPaths], classes: Sequence[str]) -> list[str]:
    """Return a line for names that are easily mistaken, and for each split without some class."""
    notes = [
        f"classes whose names differ in case or blanks only: {', '.join(map(repr, names))}"
        for names in similar_names(classes)
    ]
    if other := kept_for_another_task(classes):
        notes.append(f"{other}; here they are read as classes")
    for split in ("val", "test"):
        if splits[split] and (lacking := sorted(set(classes) - class_names(splits[split]))):
            notes.append(f"{split} has no image of {some_of(lacking)}")
    return notes


def group_notes(splits: Mapping[str, LabelledPaths], groups: Mapping[Path, str]) -> list[str]:
    """Return a line where images of one group are in several splits."""
    found: dict[str, set[str]] = defaultdict(set)
    for split, items in splits.items():
        for path, _ in items:
            if path in groups:
                found[groups[path]].add(split)
    torn = sorted(group for group, where in found.items() if len(where) > 1)
    if not torn:
        return []
    return [f"groups of images that are in more than one split: {len(torn)}, first {torn[0]}"]


def beside_other_split(root: Path) -> list[str]:
    """Return a line where a folder is itself a split: `photos/train` beside `photos/val`."""
    own = split_named(root.absolute().name)
    if own is None:
        return []
    above = root.absolute().parent
    others = [
        entry.path
        for entry in _listed(above)
        if entry.is_folder and split_named(entry.path.name) not in (None, own)
    ]
    if not any(map(folders_with_images, others)):
        return []
    return [f"{root} stands beside folders of other splits; to use those, give {above}"]
