"""The model cache: a model as onnxruntime has optimised it, kept for the next process.

onnxruntime rewrites the graph and packs the weights anew in each process. The model cache keeps
the result in the user's cache folder, with the weights in a file of their own that is mapped into
memory (`store.py`). The key of an entry is the sha256 of the model file, the processor, the version
of onnxruntime and the schema of the cache. An entry is made only from a file that `scan_model`
accepts and that has a card, and kept only if it opens and its outputs agree with those of the model
file.

Nothing here raises an error of its own: where the cache can't be used, the model file is opened,
which only takes longer.
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

from toolchain.runtime.cachefolder import PrivateFolder
from toolchain.runtime.modelcache import store
from toolchain.runtime.modelcache.background import BackgroundTask
from toolchain.runtime.modelcache.digests import State, noted_sha256, state_of
from toolchain.runtime.modelcache.store import GRAPH, NOTES, RECORD, SCHEMA, WEIGHTS, EngineKey
from toolchain.runtime.onnxruntime_import import import_onnxruntime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SAVE_OPTIONS = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}
"""onnxruntime's options that save the weights in a file of their own, packed for the kernels."""
FREE_SPACE_RATIO = 4
"""The disk needs this many times the model's size: fp16 is kept as fp32, twice as large."""
OUTPUT_TOLERANCE = 1e-3
"""Largest difference (absolute or relative) of an output between an entry and its model."""
PROCESSOR_FIELDS = (
    "vendor_id",
    "cpu family",
    "model\t",
    "model name",
    "flags",
    "CPU implementer",
    "CPU part",
    "Features",
)
"""Lines of /proc/cpuinfo that describe the processor's instruction set."""

Options = Callable[[], Any]
"""Returns new session options on each call."""
Open = Callable[[Path, Any], "InferenceSession"]
"""Opens a model file with session options."""


class Engine(msgspec.Struct, frozen=True):
    """Where the optimised form of a model file is kept, or will be."""

    model: Path
    state: State
    """Of the model file, when its digest was taken."""
    key: EngineKey
    held: PrivateFolder
    """The folder of all entries."""

    @property
    def folder(self) -> Path:
        """The path by which the folder of all entries is used."""
        return self.held.place

    @property
    def entry(self) -> Path:
        """The folder of this model's entry."""
        # Two keys may share a name: the record in the entry holds the whole key and is compared.
        checksum = zlib.crc32(msgspec.json.encode(self.key))
        return self.folder / f"{self.key.model_sha256[:24]}-{checksum:08x}"

    def open_kept(self, options: Options, open_file: Open) -> InferenceSession | None:
        """Return a session of the entry; None where there is none, or it is damaged."""
        record = store.openable_record(self.entry, self.key)
        if record is None:
            return None
        # The checksum of the weights takes as long as opening them, and both release the GIL.
        checked = BackgroundTask(partial(store.weights_match, self.entry, record))
        try:
            session = _open_entry(self.entry, options, open_file)
        except Exception:  # whatever is wrong with the entry, the model file can be opened
            return None
        finally:
            intact = checked.result()
        if not intact:
            return None
        with contextlib.suppress(OSError):  # a read-only cache can still be read
            os.utime(self.entry / RECORD)  # for the order in which entries are removed
        return session

    def open_and_keep(self, options: Options, open_file: Open) -> InferenceSession:
        """Return a session of the model file, and keep its optimised form as the entry."""
        import shutil

        try:
            if shutil.disk_usage(self.folder).free < self.state.bytes * FREE_SPACE_RATIO:
                raise OSError("the disk is nearly full")
            made = store.new_entry_folder(self.folder)
        except OSError:
            return open_file(self.model, options())
        try:
            return self._open_and_save(made, options, open_file)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # still there if it did not become the entry

    def _open_and_save(self, made: Path, options: Options, open_file: Open) -> InferenceSession:
        saving = options()
        saving.optimized_model_filepath = str(made / GRAPH)
        for name, value in SAVE_OPTIONS.items():
            saving.add_session_config_entry(name, value)
        try:
            session = open_file(self.model, saving)
        except Exception:
            # Saving may be what failed (a full disk); if not, this raises the model's own error.
            return open_file(self.model, options())
        with contextlib.suppress(Exception):  # the model is open; the next process tries again
            agrees = _same_outputs(session, _open_entry(made, options, open_file))
            # If the file has changed meanwhile, the session may be of other bytes than the key.
            if agrees and state_of(self.model) == self.state:
                store.publish(made, self.entry, self.key, self.model.absolute())
                store.enforce_bounds(self.folder)
        return session


def engine_of(model: Path, cache: Path | None = None) -> Engine | None:
    """Return where a model file's optimised form is kept; None where it can't be kept.

    `cache` replaces the user's folder of all caches.
    """
    try:
        folder = store.private_folder(cache)
        sha256, state = noted_sha256(model, folder.place / NOTES)
    except OSError:
        return None
    if state.bytes * 2 > store.MOST_BYTES:
        return None
    key = EngineKey(sha256, import_onnxruntime().__version__, processor(), SCHEMA)
    return Engine(model, state, key, folder)


def processor() -> str:
    """Return a description of the processor, with all that the packing of weights depends on."""
    lines = [platform.machine(), platform.system()]
    if os.name == "nt":
        lines.append(platform.processor())
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        # Only the first processor is read; on a large machine the file is long.
        first = file.read(1 << 14).decode(errors="replace").split("\n\n")[0]
        lines += [line for line in first.splitlines() if line.startswith(PROCESSOR_FIELDS)]
    return "\n".join(lines)


def _open_entry(entry: Path, options: Options, open_file: Open) -> InferenceSession:
    entry_options = options()
    # The graph is optimised already.
    level = import_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    entry_options.graph_optimization_level = level
    return open_file(entry / GRAPH, entry_options)


def _same_outputs(one: InferenceSession, other: InferenceSession) -> bool:
    """Return whether two sessions compute the same outputs for one generated input."""
    (expected,) = one.get_inputs()
    batched = len(expected.shape) == 4
    shape = [side if isinstance(side, int) else 1 if batched else 64 for side in expected.shape]
    values = np.arange(np.prod(shape)).reshape(shape) * 7 % 251
    is_uint8 = "uint8" in expected.type
    example = values.astype(np.uint8) if is_uint8 else (values / 125 - 1).astype("f4")
    outputs = (session.run(None, {expected.name: example}) for session in (one, other))
    return all(
        np.allclose(a, b, rtol=OUTPUT_TOLERANCE, atol=OUTPUT_TOLERANCE)
        for a, b in zip(*outputs, strict=True)
    )
