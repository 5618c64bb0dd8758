"""What `rtl data check` found: the figures, what of them is a problem, and how it is shown."""

from __future__ import annotations

from toolchain.data.audit_display import audit_blocks
from toolchain.data.audit_fields import AuditFields
from toolchain.data.audit_fields import Unreadable as Unreadable
from toolchain.display import Block, Displayed


class Audit(Displayed, AuditFields, frozen=True, kw_only=True):
    """The result of `audit_dataset`. Files are named relative to the data set's folder."""

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
