"""An open model file that survives a fork of its process, and can be closed.

A forked process does not have the threads of onnxruntime. So the child does not touch the parent's
session, and opens the file again when it is first needed.
"""

from __future__ import annotations

import os
import weakref
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.modelfile import (
    CHANGED_HINT,
    ModelFile,
    checked_digest,
    require_digest,
)
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.option_checks import (
    path_option,
    switch_option,
    text_option,
    threads_option,
)
from toolchain.runtime.provider_names import AUTO, MEASURED_PROVIDERS
from toolchain.runtime.session import (
    existing_model,
    open_session,
    provider_name,
    session_card,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from toolchain.runtime.engines.kept import EngineChoice


class OpenModel:
    """A model file with a card, opened; the arguments are those of `open_session`.

    `sha256` is the digest that the file must have. Raises TypeError or ValueError for an argument
    of another type or out of its bounds.
    """

    asked: str
    """The provider that was asked for; `options` has the one that computes."""
    choice: EngineChoice | None = None
    """What was chosen where `auto` was asked for."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str,
        threads: int | None,
        spin: bool,
        cache: bool,
        sha256: str | None = None,
    ) -> None:
        self.model = path_option("model", model)
        self.options: dict[str, Any] = {
            "provider": text_option("provider", provider),
            "threads": None if threads is None else threads_option("threads", threads),
            "spin": switch_option("spin", spin),
            "cache": switch_option("cache", cache),
        }
        expected = None if sha256 is None else checked_digest(sha256)
        import_onnxruntime()
        self._closed = False
        self.file = ModelFile(existing_model(model))
        require_digest(self.file, expected)
        self.asked = provider
        self.choice = self._choose_engine()
        self._session: InferenceSession | None = open_session(model, **self.options, file=self.file)
        self.file.require_unchanged()
        self.card: Card = session_card(self._session, self.model)
        _OPEN_MODELS.add(self)

    def _choose_engine(self) -> EngineChoice | None:
        """Replace the provider `auto` by the engine that is chosen, and return the choice.

        A provider that rounds every layer has to be accepted for the file first.
        """
        provider = self.options["provider"].lower()
        if provider not in MEASURED_PROVIDERS:
            return None
        # Imported here: naming a provider must not pay for measuring several.
        from toolchain.runtime.engines.choice import choose_engine, require_accepted

        how = {name: self.options[name] for name in ("threads", "spin", "cache")}
        if provider != AUTO:
            provider_name(provider)  # where it can't run at all, that is the error
            require_accepted(provider, self.file, **how)
            return None
        choice = choose_engine(self.file, **how)
        self.options["provider"] = choice.provider
        return choice

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return self.file.path

    @property
    def session(self) -> InferenceSession:
        """The onnxruntime session; in a forked process a new one, of the same bytes.

        Raises ValueError when the model is closed, and ModelFileError where the bytes that were
        opened are no longer there.
        """
        self.require_open()
        session = self._session
        return self._reopened() if session is None else session

    def require_open(self) -> None:
        """Raise ValueError when the model is closed."""
        if self._closed:
            raise ValueError("this predictor is closed")

    def close(self) -> None:
        """Release the session; it is freed when no thread computes with it any more."""
        self._closed = True
        self._session = None
        self.file.close()

    def with_threads(self, threads: int) -> OpenModel:
        """Return the same bytes, opened on another number of threads.

        Raises ModelFileError where they are no longer there.
        """
        other = copy(self)
        other.options = {**self.options, "threads": threads}
        other._session = other._new_session()
        _OPEN_MODELS.add(other)
        return other

    def _reopened(self) -> InferenceSession:
        self._session = self._new_session()
        return self._session

    def _new_session(self) -> InferenceSession:
        path = self.file.same_bytes()
        # By its descriptor a file has no name, which the cache needs.
        options = self.options if path == self.path else {**self.options, "cache": False}
        session = open_session(path, **options, file=self.file)
        if self.file.same_bytes() != path or session_card(session, self.model) != self.card:
            raise ModelFileError(f"{self.model} has changed since it was opened", hint=CHANGED_HINT)
        return session

    def _drop_session(self) -> None:
        """Drop the session without freeing it: freeing would wait for threads of the parent."""
        if self._session is not None:
            _SESSIONS_OF_PARENT.append(self._session)
            self._session = None


_OPEN_MODELS: weakref.WeakSet[OpenModel] = weakref.WeakSet()
_SESSIONS_OF_PARENT: list[InferenceSession] = []


def _drop_sessions_after_fork() -> None:
    for model in list(_OPEN_MODELS):
        model._drop_session()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_sessions_after_fork)
