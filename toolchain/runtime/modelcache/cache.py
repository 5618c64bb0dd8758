"""A model file as onnxruntime has optimised it, kept so that the next process opens it at once.

onnxruntime rewrites the graph and packs the weights anew in each process. Here the result is kept
in the user's cache folder, with the weights in a file of their own that is mapped into memory
(`enginestore.py`). An entry follows from the digest of the model file, the processor, and the
versions of onnxruntime and rtl. It is made only from a file that was looked over and has a card,
and kept only if it opens and answers as the model itself does. Nothing here fails: without a cache
a model only opens more slowly.
"""

from __future__ import annotations

import contextlib
import os
import platform
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from toolchain.runtime.modelcache import store
from toolchain.runtime.modelcache.background import BackgroundTask
from toolchain.runtime.modelcache.digests import State, noted_sha256, state_of
from toolchain.runtime.modelcache.store import GRAPH, NOTES, RECORD, WEIGHTS, Source
from toolchain.version import __version__

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SAVING = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}
ROOM = 4
"""So many times a model's size has to be free on the disk: fp16 is kept as fp32, twice as large."""
TOLERANCE = 1e-3
ABOUT_PROCESSOR = (
    "vendor_id",
    "cpu family",
    "model\t",
    "model name",
    "flags",
    "CPU implementer",
    "CPU part",
    "Features",
)

Options = Callable[[], Any]
"""Gives new session options on each call."""
Open = Callable[[Path, Any], "InferenceSession"]
"""Opens a model file with session options."""


class Engine(msgspec.Struct, frozen=True):
    """The place of a model file's entry."""

    model: Path
    state: State
    """Of the model file, when its digest was taken."""
    source: Source
    folder: Path
    """Of all entries."""

    @property
    def entry(self) -> Path:
        """The folder of the entry."""
        # The record in it holds the whole source, so that a name may stand for two.
        others = zlib.crc32(msgspec.json.encode(self.source))
        return self.folder / f"{self.source.model_sha256[:24]}-{others:08x}"

    def kept(self, options: Options, open_file: Open) -> InferenceSession | None:
        """Open the entry; None where there is none, or it is not whole."""
        record = store.openable_record(self.entry, self.source)
        if record is None:
            return None
        # Summing up the weights takes as long as opening them, and neither needs Python's lock.
        weights = BackgroundTask(partial(store.weights_hold, self.entry, record))
        try:
            session = _open_entry(self.entry, options, open_file)
        except Exception:  # whatever is wrong with it, the model itself is at hand
            return None
        finally:
            whole = weights.result()
        if not whole:
            return None
        with contextlib.suppress(OSError):  # a cache that can only be read serves as well
            os.utime(self.entry / RECORD)  # for the order in which entries are removed
        return session

    def made(self, options: Options, open_file: Open) -> InferenceSession:
        """Open the model itself, and leave what onnxruntime made of it as the entry."""
        import shutil

        try:
            if shutil.disk_usage(self.folder).free < self.state.bytes * ROOM:
                raise OSError("the disk is nearly full")
            made = store.begin(self.folder)
        except OSError:
            return open_file(self.model, options())
        try:
            return self._made_in(made, options, open_file)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # there where it did not become the entry

    def _made_in(self, made: Path, options: Options, open_file: Open) -> InferenceSession:
        saving = options()
        saving.optimized_model_filepath = str(made / GRAPH)
        for name, value in SAVING.items():
            saving.add_session_config_entry(name, value)
        try:
            session = open_file(self.model, saving)
        except Exception:
            # Saving may be what failed (a full disk); if not, this raises the model's own error.
            return open_file(self.model, options())
        with contextlib.suppress(Exception):  # the model is open; the next process tries again
            alike = _alike(session, _open_entry(made, options, open_file))
            # Of a file that has changed in the meantime it is not known what was opened.
            if alike and state_of(self.model) == self.state:
                store.put(made, self.entry, self.source, self.model.absolute())
                store.make_room(self.folder)
        return session


def engine_of(model: Path, cache: Path | None = None) -> Engine | None:
    """Return the place of a model file's entry; None where there is no place to keep one.

    `cache` is a folder in place of the user's.
    """
    import onnxruntime

    try:
        folder = store.private_folder(cache)
        sha256, state = noted_sha256(model, folder / NOTES)
    except (OSError, RuntimeError):  # RuntimeError: a home that can't be found
        return None
    if state.bytes * 2 > store.MOST_BYTES:
        return None
    source = Source(sha256, onnxruntime.__version__, processor(), __version__)
    return Engine(model, state, source, folder)


def processor() -> str:
    """Describe the processor as far as it decides how weights are packed."""
    about = [platform.machine(), platform.system()]
    if os.name == "nt":
        about.append(platform.processor())
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        # The first processor stands for all; on a large machine the file is long.
        first = file.read(1 << 14).decode(errors="replace").split("\n\n")[0]
        about += [line for line in first.splitlines() if line.startswith(ABOUT_PROCESSOR)]
    return "\n".join(about)


def _open_entry(entry: Path, options: Options, open_file: Open) -> InferenceSession:
    import onnxruntime

    given = options()
    # It is optimised already.
    given.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_file(entry / GRAPH, given)


def _alike(one: InferenceSession, other: InferenceSession) -> bool:
    """Say whether two sessions answer an input of theirs alike."""
    (takes,) = one.get_inputs()
    batched = len(takes.shape) == 4
    shape = [side if isinstance(side, int) else 1 if batched else 64 for side in takes.shape]
    values = np.arange(np.prod(shape)).reshape(shape) * 7 % 251
    given = values.astype(np.uint8) if "uint8" in takes.type else (values / 125 - 1).astype("f4")
    answers = (session.run(None, {takes.name: given}) for session in (one, other))
    return all(
        np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE) for a, b in zip(*answers, strict=True)
    )
