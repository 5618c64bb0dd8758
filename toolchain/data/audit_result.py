"""What `rtl data check` found; `audit_display` shows it."""

from __future__ import annotations

import msgspec

from toolchain.data.audit_display import audit_blocks
from toolchain.data.file_findings import FileFinding
from toolchain.data.left_out import LeftOut
from toolchain.display import Block, Displayed


class Unreadable(msgspec.Struct, frozen=True):
    """One file that can't be decoded."""

    file: str
    reason: str


class Audit(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """The result of `audit_dataset`. Files are named relative to the data set's folder."""

    version: int = 1
    data: str
    split_by: str
    images: int
    per_class: dict[str, dict[str, int]]
    """class → split → readable images; an image of several classes counts in each."""
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of files with the same bytes or the same pixels."""
    leaks: tuple[tuple[str, ...], ...]
    """Those groups with files in more than one split: validation would contain training images."""
    label_conflicts: tuple[tuple[str, ...], ...]
    """Those groups whose files have different classes."""
    rotated_by_exif: int
    small: int
    rare_classes: tuple[str, ...]
    fingerprint: str
    """sha256 over split, label and content of every readable file."""
    left_out: tuple[LeftOut, ...] = ()
    """What was seen and not used, by place, kind and reason."""
    notes: tuple[str, ...] = ()
    """What may be a mistake in the names of classes and in the splits."""
    fingerprints: dict[str, str] = {}
    """The same of each split alone."""
    thorough: bool = False
    """Whether each image was measured, and near duplicates looked for inside of splits too."""
    truncated: tuple[str, ...] = ()
    """Those of the unreadable files whose end is missing."""
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    """Groups of images that look the same: encoded anew, resized, cropped a little. Without
    `thorough` only those with files in more than one split."""
    near_leaks: tuple[tuple[str, ...], ...] = ()
    """Those of them with files in more than one split."""
    near_label_conflicts: tuple[tuple[str, ...], ...] = ()
    """Those of them whose files have different classes."""
    imbalance: float | None = None
    """Training images of the largest class for each of the smallest; None where that has none."""
    missing_classes: dict[str, tuple[str, ...]] = {}
    """Split → the classes that it has no readable image of."""
    findings: tuple[FileFinding, ...] = ()
    """What is wrong with, or unusual about, single readable files; only of a `thorough` audit."""
    sizes: dict[str, dict[str, tuple[int, int, int]]] = {}
    """class → split → least, median and largest short side in pixels; only if `thorough`."""
    train_digests: tuple[str, ...] = ()
    """In the run folder only: the first 12 hex digits of the sha256 of each training image."""

    @property
    def problems(self) -> list[str]:
        """What spoils training or its figures, a few words for each kind; empty where nothing does.

        `rtl data check` exits with 10 for them. All else that an audit finds may be as it should.
        """
        counts = (
            (len(self.unreadable), "file that can't be read", "files that can't be read"),
            (len(self.leaks), "image in more than one split", "images in more than one split"),
            (
                len(self.label_conflicts),
                "image with different classes",
                "images with different classes",
            ),
        )
        return [
            f"{count:,} {several if count > 1 else one}" for count, one, several in counts if count
        ]

    def blocks(self) -> list[Block]:
        """Return the images of each class, the files that something is wrong with, and counts."""
        return audit_blocks(self)
