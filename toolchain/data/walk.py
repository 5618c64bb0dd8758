"""The files in a folder and below, in one order; training data and `rtl predict` both use it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".avif",
        ".mpo",
    ]
)

OnUnlisted = Callable[[Path, OSError], None]
"""Called with a folder that can't be listed and the error, before the walk continues."""


def ignore_unlisted(folder: Path, error: OSError) -> None:
    """Skip a folder that can't be listed, without a report."""


def images_under(
    folder: Path, *, special_files: bool = True, on_unlisted: OnUnlisted = ignore_unlisted
) -> Iterator[Path]:
    """Yield the image files in a folder and below, by suffix, in the order of `walk_files`."""
    walked = walk_files(folder, is_image_name, special_files=special_files, on_unlisted=on_unlisted)
    return (path for path, _ in walked)


def is_image_name(name: str) -> bool:
    """Return whether a name has the suffix of an image, in any case, and is not hidden.

    >>> is_image_name("a.JPG"), is_image_name("jpg"), is_image_name(".jpg")
    (True, False, False)
    """
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and is_visible(name) and f".{suffix.lower()}" in IMAGE_SUFFIXES


def is_visible(name: str) -> bool:
    """Return whether a name does not begin with a dot."""
    return not name.startswith(".")


def walk_files(
    root: Path,
    is_wanted: Callable[[str], bool],
    *,
    depth: int = sys.maxsize,
    special_files: bool = True,
    on_unlisted: OnUnlisted = ignore_unlisted,
) -> Iterator[tuple[Path, list[str]]]:
    """Yield (path, its names below `root`) of the files whose name is wanted, in sorted order.

    The order is that of `sorted` on the paths, although the walk is lazy: it holds the names of
    the open folders only. Hidden folders are left out, and so are symbolic links to folders, which
    may lead back to a parent. Hidden files are left out only if `is_wanted` rejects them. `depth`
    is how many names a path may have below `root`. Broken links are yielded, so that reading them
    reports the error. `special_files` says whether pipes, sockets and devices are yielded.
    """

    def listed(folder: Path) -> tuple[Path, Iterator[str], set[str]]:
        return folder, *_contents(folder, is_wanted, special_files, on_unlisted)

    # Of each open folder: its path, its names in order, and which of them are folders.
    opened = [listed(root)]
    while opened:
        folder, names, folders = opened[-1]
        name = next(names, None)
        if name is None:
            opened.pop()
        elif name not in folders:
            yield folder / name, [*(parent.name for parent, *_ in opened[1:]), name]
        elif len(opened) < depth:
            opened.append(listed(folder / name))


def _contents(
    folder: Path,
    is_wanted: Callable[[str], bool],
    special_files: bool,
    on_unlisted: OnUnlisted,
) -> tuple[Iterator[str], set[str]]:
    """Return the wanted names in a folder, sorted, and those among them that are folders."""
    files: list[str] = []
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if is_visible(entry.name):
                        folders.add(entry.name)
                elif is_wanted(entry.name) and _is_file(entry, special_files):
                    files.append(entry.name)
    except OSError as error:
        on_unlisted(folder, error)
    return iter(sorted([*files, *folders])), folders


def _is_file(entry: os.DirEntry[str], special_files: bool) -> bool:
    """Return whether an entry is to be read as a file; a link to a folder is not."""
    try:
        if entry.is_file():
            return True
        if entry.is_dir():
            return False
        return special_files or (entry.is_symlink() and not Path(entry).exists())
    except OSError:  # a link to itself, for example; reading it reports the error
        return True
