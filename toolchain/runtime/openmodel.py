"""An open model file that survives a fork of its process, and can be closed.

A forked process does not have the threads of onnxruntime. So the child does not touch the parent's
session, and opens the file again when it is first needed.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.option_checks import (
    count_option,
    path_option,
    switch_option,
    text_option,
)
from toolchain.runtime.session import open_session, session_card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OpenModel:
    """A model file with a card, opened; the arguments are those of `open_session`.

    Raises TypeError or ValueError for an argument of another type or below its bound.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str,
        threads: int | None,
        spin: bool,
        cache: bool,
    ) -> None:
        self.model = path_option("model", model)
        # The working folder may be another when the file is opened again.
        self.path = Path(model).absolute()
        self.options: dict[str, Any] = {
            "provider": text_option("provider", provider),
            "threads": None if threads is None else count_option("threads", threads),
            "spin": switch_option("spin", spin),
            "cache": switch_option("cache", cache),
        }
        self._closed = False
        self._session: InferenceSession | None = open_session(model, **self.options)
        self.card: Card = session_card(self._session, model)
        _OPEN_MODELS.add(self)

    @property
    def session(self) -> InferenceSession:
        """The onnxruntime session; in a forked process a new one.

        Raises ValueError when the model is closed, and ModelFileError where the file has another
        card than when it was first opened.
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

    def _reopened(self) -> InferenceSession:
        session = open_session(self.path, **self.options)
        if session_card(session, self.model) != self.card:
            raise ModelFileError(
                f"{self.model} has changed since it was opened", hint="make a new Predictor of it"
            )
        self._session = session
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
