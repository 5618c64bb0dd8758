"""Folders as a data set: which are splits and which are classes, judged by what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path

from toolchain.data.class_names import LabelledPaths, class_name, look_alike, some_of
from toolchain.data.left_out import Account, ending_of
from toolchain.data.other_tasks import kept_for_another_task
from toolchain.data.split_names import paths_by_split, split_named
from toolchain.data.walk import folders_in, has_images, images_under, is_image_name, list_folder
from toolchain.errors import DataError

DATE = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}|\d{1,2}")
"""Names of folders that sort images by time; classes may well have them in common."""
SEARCH_DEPTH = 3
"""How many folders below a wrong one the right one is looked for."""


class FolderTree:
    """The folders directly in a data set's folder, and what they are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = list_folder(root)
        self.folders = [e.path for e in self.entries if e.is_folder and not e.loops]

    @cached_property
    def splits(self) -> dict[str, Path]:
        """Split → its folder; empty where folders with such names are classes, or there are none.

        A split holds folders of images, a class holds images.
        """
        named = paths_by_split(self.folders)
        nested = {
            path: bool(folders_with_images(path)) for paths in named.values() for path in paths
        }
        if not any(nested.values()) and any(has_images(folder) for folder in self.folders):
            return {}
        return {
            split: min(paths, key=lambda path: not nested[path]) for split, paths in named.items()
        }

    @cached_property
    def class_folders(self) -> list[Path]:
        """The folders that hold images, where none of them is a split."""
        return [] if self.splits else [path for path in self.folders if has_images(path)]

    @property
    def splits_read_as_classes(self) -> list[str]:
        """The names of all class folders, where each of them is that of a split."""
        names = [path.name for path in self.class_folders]
        return names if names and all(map(split_named, names)) else []

    @property
    def split_names(self) -> str:
        """The folders of the splits, as messages name them."""
        return ", ".join(f"{folder.name}/" for folder in self.splits.values())

    @property
    def holds_data(self) -> bool:
        """Whether the folders say which class an image is of, without a table."""
        return bool(self.splits) or len(self.class_folders) > 1

    def images_of_splits(self, account: Account) -> dict[str, LabelledPaths]:
        """Return the images of each split; folders and files beside them go to the account."""
        used = set(self.splits.values())
        for entry in list_folder(self.root, account.add):
            if entry.path in used:
                continue
            if not entry.is_folder:
                _leave_out_file(entry.path, account)
            elif entry.loops:
                account.add(entry.path, "folder", "a link to a folder")
            elif split_named(entry.path.name) in self.splits:
                account.add(entry.path, "folder", "another one for its split")
            else:
                account.add(entry.path, "folder", "no split by its name")
        return {split: images_of_classes(path, account) for split, path in self.splits.items()}


def images_of_classes(folder: Path, account: Account) -> LabelledPaths:
    """Return (path, class) of the images in each class folder, deeper folders included."""
    images: LabelledPaths = []
    for entry in list_folder(folder, account.add):
        path = entry.path
        if not entry.is_folder:
            _leave_out_file(path, account)
        elif entry.loops:
            account.add(path, "folder", "a link to a folder")
        else:
            found = list(_images_of_class(path, account))
            images += [(image, (class_name(path.name),)) for image in found]
            if not found:
                account.add(path, "folder", "a class without images")
    return images


def folders_with_images(folder: Path) -> list[Path]:
    """Return the folders directly in a folder that have images; none where it can't be listed."""
    return [path for path in folders_in(folder) if has_images(path)]


def looks_like_data(folder: Path) -> Path | None:
    """Return the first folder below a folder that looks like a data set, or None."""
    level = folders_with_images(folder)
    for _ in range(SEARCH_DEPTH):
        for path in level:
            if len(folders_with_images(path)) > 1:
                return path.parent if split_named(path.name) == "train" else path
        level = [below for path in level for below in folders_with_images(path)]
    return None


def require_no_splits(root: Path, classes: list[Path]) -> None:
    """Raise DataError where the folders taken for classes look like splits, or hold splits."""
    inside = {path: folders_with_images(path) for path in classes}
    for path, below in inside.items():
        splits = {split_named(folder.name) for folder in below} - {None}
        if "train" in splits and len(splits) > 1:
            _refuse_splits_inside(root, path, below)
    common = set.intersection(*({look_alike(b.name) for b in below} for below in inside.values()))
    if len(classes) < 2 or len(common) < 2 or all(DATE.fullmatch(name) for name in common):
        return
    if any(_has_loose_images(path) for path in classes):
        return
    shared = some_of(b.name for b in inside[classes[0]] if look_alike(b.name) in common)
    raise DataError(
        f"{root}: {some_of(path.name + '/' for path in classes)} all hold folders called "
        f"{shared}, so they look like splits or copies of a data set, not like classes",
        hint=f"call the splits train/, val/ and test/; or give one of them, such as {classes[0]}; "
        "a class holds its images directly, or in folders that the other classes lack",
    )


def _refuse_splits_inside(root: Path, path: Path, below: Iterable[Path]) -> None:
    names = some_of(f"{folder.name}/" for folder in below)
    if any(folders_with_images(folder) for folder in below):
        raise DataError(
            f"{root} is no data set: {path.name}/ in it holds the splits {names}",
            hint=f"did you mean {path}?",
        )
    if other := kept_for_another_task(folder.name for folder in folders_in(root)):
        raise DataError(
            f"{root} has no classes: {path.name}/ holds the splits {names}; {other}",
            hint="rtl classifies whole images: put them into train/CLASS/ and val/CLASS/",
        )
    raise DataError(
        f"{root}: the class folder {path.name}/ holds the splits {names}",
        hint=f"put the classes into the splits: train/{path.name}/, not {path.name}/train/",
    )


def _images_of_class(folder: Path, account: Account) -> Iterable[Path]:
    return images_under(
        folder,
        on_unlisted=lambda path, _: account.add(path, "folder", "can't be listed", place=folder),
        on_left_out=partial(account.add, place=folder),
    )


def _leave_out_file(path: Path, account: Account) -> None:
    if is_image_name(path.name):
        account.add(path, "image", "in no class folder")
    else:
        account.add(path, ending_of(path.name), "no image by its ending")


def _has_loose_images(folder: Path) -> bool:
    return any(not e.is_folder and is_image_name(e.path.name) for e in list_folder(folder))
