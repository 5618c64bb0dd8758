"""`rtl cache`: what rtl keeps on the disk between runs and between predictors, and its removal."""

from __future__ import annotations

import msgspec

from toolchain.runtime.modelcache import store as models
from toolchain.select import searches
from toolchain.training.features import store as features


class FeaturesEntry(msgspec.Struct, frozen=True):
    """Features of one data set before one layer of one network."""

    data: str
    arch: str
    boundary: str
    """The first part of the network that is trained from the features."""
    view: str
    """`clean`, or the augmentation preset and its seed."""
    rows: int
    bytes: int


class EngineEntry(msgspec.Struct, frozen=True):
    """A model as onnxruntime has optimised it."""

    model: str
    """The path of the model file; empty for a damaged entry."""
    bytes: int


class EngineCache(msgspec.Struct, frozen=True):
    """The folder of the kept models."""

    folder: str
    entries: list[EngineEntry]
    """The longest unused first."""


class SearchCache(msgspec.Struct, frozen=True):
    """The folder of searches that were stopped, each with its finished trainings."""

    folder: str
    searches: int
    bytes: int


class Caches(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept; as JSON it is the output of `rtl cache --json`."""

    version: int = 1
    folder: str
    """The folder of the kept features."""
    entries: list[FeaturesEntry]
    """The longest unused first."""
    engines: EngineCache
    searches: SearchCache


class ClearedCache(msgspec.Struct, frozen=True):
    """A folder that was removed."""

    folder: str
    bytes: int
    """What the entries took that are gone."""
    left: int
    """What those take that could not be removed."""
    reason: str | None
    """Why something is left; None where nothing is."""


def list_caches() -> Caches:
    """Return what is kept: features, models as onnxruntime has optimised them, stopped searches.

    They lie in the user's cache folder, or in RTL_CACHE_DIR.
    """
    stopped = searches.entries()
    return Caches(
        folder=str(features.features_folder()),
        entries=[
            FeaturesEntry(
                data=entry.key.data,
                arch=entry.key.arch,
                boundary=entry.key.boundary,
                view=entry.key.view,
                rows=entry.rows,
                bytes=entry.bytes,
            )
            for entry in features.entries()
        ],
        engines=EngineCache(
            folder=str(models.engines_folder()),
            entries=[EngineEntry(entry.model, entry.bytes) for entry in models.entries()],
        ),
        searches=SearchCache(
            folder=str(searches.searches_folder()),
            searches=len(stopped),
            bytes=sum(entry.bytes for entry in stopped),
        ),
    )


def clear_caches() -> list[ClearedCache]:
    """Remove all that is kept; the next run and the next predictor make it again."""
    removed = [
        (features.features_folder(), features.clear()),
        (models.engines_folder(), models.clear()),
        (searches.searches_folder(), searches.clear()),
    ]
    return [ClearedCache(str(folder), *msgspec.structs.astuple(one)) for folder, one in removed]
