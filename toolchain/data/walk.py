"""The files in a folder and below, in one order; training data and `rtl predict` both use it.

What is not yielded is reported, so that the caller can count it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from toolchain.data.left_out import HEIC_ENDINGS, Kind, Reason, ending_of
from toolchain.errors import DataError
from toolchain.runtime.image.heif import reads_heif

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif",
    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
    ".avif", ".avifs", ".mpo", ".ico",
))  # fmt: skip
"""The usual endings of the formats that `runtime/image/decode.py` accepts."""
SYSTEM_NAMES = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin")
)
"""Files and folders that systems leave beside images, in small letters; some hold thumbnails."""

OnUnlisted = Callable[[Path, OSError], None]
"""Called with a folder that can't be listed and the error, before the walk continues."""
OnLeftOut = Callable[[Path, Kind, Reason], None]
"""Called with what is not yielded: the path, what it is, and why."""


def ignore_unlisted(folder: Path, error: OSError) -> None:
    """Skip a folder that can't be listed, without a report."""


def ignore_left_out(path: Path, kind: Kind, reason: Reason) -> None:
    """Skip what is left out, without a report."""


def images_under(
    folder: Path,
    *,
    special_files: bool = True,
    on_unlisted: OnUnlisted = ignore_unlisted,
    on_left_out: OnLeftOut = ignore_left_out,
) -> Iterator[Path]:
    """Yield the image files in a folder and below, by suffix, in the order of `walk_files`."""
    walked = walk_files(
        folder,
        is_image_name,
        special_files=special_files,
        on_unlisted=on_unlisted,
        on_left_out=on_left_out,
    )
    return (path for path, _ in walked)


def has_images(folder: Path) -> bool:
    """Return whether there is an image in a folder or below, by suffix; ends at the first one."""
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders += [entry.path] if is_visible(entry.name) else []
                    elif is_image_name(entry.name) and _is_file(entry, special_files=True):
                        return True
        except OSError:  # the walk that yields the images reports it
            continue
    return False


def is_image_name(name: str) -> bool:
    """Return whether a name has the suffix of an image, in any case, and is not hidden.

    HEIC counts where the package that reads it is installed.

    >>> is_image_name("a.JPG"), is_image_name("jpg"), is_image_name(".jpg")
    (True, False, False)
    """
    return is_visible(name) and _has_image_suffix(name)


def is_visible(name: str) -> bool:
    """Return whether a name is no hidden one: it begins with a dot, or is one of a system."""
    return not name.startswith(".") and name.lower() not in SYSTEM_NAMES


def _has_image_suffix(name: str) -> bool:
    _, dot, suffix = name.rpartition(".")
    ending = f".{suffix.lower()}"
    return bool(dot) and (ending in IMAGE_SUFFIXES or (ending in HEIC_ENDINGS and reads_heif()))


class Entry(NamedTuple):
    """One visible name in a folder."""

    path: Path
    is_folder: bool
    """A folder, or a link to one."""
    loops: bool
    """A link to a folder that contains it."""


def list_folder(folder: Path, on_left_out: OnLeftOut = ignore_left_out) -> list[Entry]:
    """Return the visible files and folders in a folder, sorted. Raises DataError without access."""
    try:
        with os.scandir(folder) as found:
            entries = [(entry.name, _is_folder(entry), entry.is_symlink()) for entry in found]
    except OSError as error:
        raise DataError(f"{folder}: {(error.strerror or str(error)).lower()}") from error
    for name, is_folder, _ in entries:
        if not is_visible(name):
            kind = "folder" if is_folder else "image" if _has_image_suffix(name) else "file"
            on_left_out(folder / name, kind, "hidden")
    return [
        Entry(folder / name, is_folder, is_folder and is_link and _loops(folder / name))
        for name, is_folder, is_link in sorted(entries)
        if is_visible(name)
    ]


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted; none where it can't be listed."""
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if _is_folder(e) and is_visible(e.name)]
    except OSError:
        return []
    paths = [folder / name for name in sorted(found)]
    return [path for path in paths if not (path.is_symlink() and _loops(path))]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for example
        return False


def _loops(link: Path) -> bool:
    above = os.path.realpath(link.absolute().parent)
    return Path(above).is_relative_to(os.path.realpath(link))


def walk_files(
    root: Path,
    is_wanted: Callable[[str], bool],
    *,
    depth: int = sys.maxsize,
    special_files: bool = True,
    on_unlisted: OnUnlisted = ignore_unlisted,
    on_left_out: OnLeftOut = ignore_left_out,
) -> Iterator[tuple[Path, list[str]]]:
    """Yield (path, its names below `root`) of the files whose name is wanted, in sorted order.

    The order is that of `sorted` on the paths, although the walk is lazy: it holds the names of
    the open folders only. Hidden folders are left out, and so are symbolic links to folders, which
    may lead back to a parent. Hidden files are left out only if `is_wanted` rejects them. `depth`
    is how many names a path may have below `root`. Broken links are yielded, so that reading them
    reports the error. `special_files` says whether pipes, sockets and devices are yielded.
    """

    def listed(folder: Path) -> tuple[Path, Iterator[str], set[str]]:
        return folder, *_contents(folder, is_wanted, special_files, on_unlisted, on_left_out)

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
    on_left_out: OnLeftOut,
) -> tuple[Iterator[str], set[str]]:
    """Return the wanted names in a folder, sorted, and those among them that are folders."""
    files: list[str] = []
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if is_visible(name):
                        folders.add(name)
                    else:
                        on_left_out(folder / name, "folder", "hidden")
                elif is_wanted(name) and _is_file(entry, special_files):
                    files.append(name)
                else:
                    on_left_out(folder / name, *_why_left_out(entry, is_wanted(name)))
    except OSError as error:
        on_unlisted(folder, error)
    return iter(sorted([*files, *folders])), folders


def _why_left_out(entry: os.DirEntry[str], is_wanted: bool) -> tuple[Kind, Reason]:
    if _is_folder(entry):
        return "folder", "a link to a folder"
    if not is_visible(entry.name):
        return ("image" if _has_image_suffix(entry.name) else "file"), "hidden"
    if is_wanted:
        return "file", "not a regular file"
    return ending_of(entry.name), "no image by its ending"


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
