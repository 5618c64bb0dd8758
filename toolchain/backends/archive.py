"""The card of a TorchScript or .pt2 file, read from the zip archive that such a file is."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.onnxfile.scan import MAX_CARD_BYTES


def archived_card(path: Path) -> bytes:
    """Return the card of a TorchScript or .pt2 file as JSON text; torch is not needed for this.

    Raises ModelFileError for an archive that is damaged, without a card, or with one too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [i for i in archive.infolist() if i.filename.endswith(f"/extra/{CARD_KEY}")]
            if not found:
                raise ModelFileError(
                    f"{path} has no rtl card: it was not exported by rtl",
                    hint="rtl export RUN makes a model file; rtl finetune --weights takes weights",
                )
            if found[0].file_size > MAX_CARD_BYTES:
                raise ModelFileError(
                    f"{path} has a card of {found[0].file_size:,} bytes; "
                    f"{MAX_CARD_BYTES:,} are allowed",
                    hint="no file of rtl has such a thing; export the model again",
                )
            return archive.read(found[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} can't be opened: {error}",
            hint="it is truncated or damaged; copy or export it again",
        ) from error
