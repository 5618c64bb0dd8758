"""The choice of an engine, kept in the user's cache for the next process.

    <cache>/engines/choices/<key>.json    the key and the choice

A file that is damaged or of another key is not used: the engines are measured again. Where the
folder can't be written, each process measures.
"""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import msgspec

from toolchain.errors import ModelFileError
from toolchain.files import UNREADABLE, write_bytes
from toolchain.runtime.cachefolder import record_bytes
from toolchain.runtime.modelcache import store
from toolchain.runtime.modelcache.digests import noted_sha256, state_of
from toolchain.runtime.modelfile import ModelFile
from toolchain.runtime.stored_outputs import references_file

SCHEMA = 1
"""Part of each key. Raise it when engines are accepted or measured in another way."""


class MeasuredEngine(msgspec.Struct, frozen=True):
    """One engine: refused with a reason, or accepted and timed."""

    provider: str
    refused: str | None
    """Why it does not answer as the file's references say; None where it does."""
    latency_ms: float | None = None
    """Median of one image; None where it was not timed."""
    ratio: float | None = None
    """How many times as fast as the CPU provider it is."""
    failed: bool = False
    """Whether it ended with an error of its own, which the next process may not meet."""


class EngineChoice(msgspec.Struct, frozen=True):
    """The engine that `provider="auto"` took, and why."""

    provider: str
    reason: str
    engines: tuple[MeasuredEngine, ...] = ()
    """What was measured; nothing where no other engine is installed."""
    kept: bool = False
    """Whether it was measured by an earlier process."""

    def __str__(self) -> str:
        return f"{self.provider}: {self.reason}"

    def of(self, provider: str) -> MeasuredEngine | None:
        """Return what was measured of a provider."""
        return next((engine for engine in self.engines if engine.provider == provider), None)


class ChoiceKey(msgspec.Struct, frozen=True):
    """Everything that a choice depends on."""

    model_sha256: str
    references: tuple[int, int] | None
    """Size and modification time of the reference outputs beside the file."""
    engines: tuple[tuple[str, str], ...]
    """Name and version of each engine that is installed."""
    processor: str
    cores: int
    threads: int
    spin: bool
    schema: int = SCHEMA


class KeptChoice(msgspec.Struct, frozen=True):
    """The content of a file."""

    key: ChoiceKey
    choice: EngineChoice


class Choices:
    """The folder of the choices. Raises OSError where it can't be used."""

    def __init__(self) -> None:
        self._held = store.private_folder()

    def sha256(self, file: ModelFile) -> str:
        """Return the digest of a model file, computed or noted; OSError where it can't be read."""
        digest, state = noted_sha256(file.path, self._held.place / store.NOTES)
        if file.sha256 is None and state == state_of(file.path):
            with contextlib.suppress(ModelFileError):
                file.require_unchanged()
                file.sha256 = digest
        return digest

    def get(self, key: ChoiceKey) -> EngineChoice | None:
        """Return the choice of a key; None where there is none or it can't be used."""
        try:
            kept = msgspec.json.decode(record_bytes(self._file(key)), type=KeptChoice)
        except UNREADABLE:
            return None
        possible = {name for name, _ in key.engines}
        if kept.key != key or kept.choice.provider not in possible:
            return None
        return msgspec.structs.replace(kept.choice, kept=True)

    def keep(self, key: ChoiceKey, choice: EngineChoice) -> None:
        """Keep a choice, where that is possible; the longest unused ones are removed."""
        with contextlib.suppress(OSError):
            file = self._file(key)
            write_bytes(file, msgspec.json.encode(KeptChoice(key, choice)), private=True)
            store.remove_old_notes(file.parent)

    def _file(self, key: ChoiceKey) -> Path:
        checksum = zlib.crc32(msgspec.json.encode(key))
        return self._held.place / store.CHOICES / f"{key.model_sha256[:24]}-{checksum:08x}.json"


def references_state(model: Path) -> tuple[int, int] | None:
    """Return size and modification time of the reference outputs beside a file; None without."""
    try:
        found = references_file(model).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
