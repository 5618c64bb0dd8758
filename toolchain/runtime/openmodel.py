"""An open model file, through what may happen to its process: closing, forking, copying.

onnxruntime's threads do not come along when a process forks, so a session of the parent is left
alone in the child and the file is opened there again, when it is first needed.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.session import open_session, session_card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OpenModel:
    """A model file with a card, opened; the arguments are those of `open_session`."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str,
        threads: int | None,
        spin: bool,
        cache: bool,
    ) -> None:
        self.model = os.fspath(model)
        # Where it is opened again, the working folder may be another.
        self.path = Path(model).absolute()
        self.options: dict[str, Any] = {
            "provider": provider,
            "threads": threads,
            "spin": spin,
            "cache": cache,
        }
        self._closed = False
        self._session: InferenceSession | None = open_session(model, **self.options)
        self.card: Card = session_card(self._session, model)
        _OPEN.add(self)

    @property
    def session(self) -> InferenceSession:
        """The session; ValueError when it is closed, ModelFileError where the file has changed."""
        self.require_open()
        session = self._session
        return self._opened_again() if session is None else session

    def require_open(self) -> None:
        """Raise ValueError when it is closed."""
        if self._closed:
            raise ValueError("this predictor is closed")

    def close(self) -> None:
        """Let go of the session; it is freed when the last thread that computes has done so."""
        self._closed = True
        self._session = None

    def _opened_again(self) -> InferenceSession:
        session = open_session(self.path, **self.options)
        if session_card(session, self.model) != self.card:
            raise ModelFileError(
                f"{self.model} has changed since it was opened", hint="make a new Predictor of it"
            )
        self._session = session
        return session

    def _leave_to_parent(self) -> None:
        """Forget the session without freeing it, which would wait for threads that are not here."""
        if self._session is not None:
            _OF_THE_PARENT.append(self._session)
            self._session = None


_OPEN: weakref.WeakSet[OpenModel] = weakref.WeakSet()
_OF_THE_PARENT: list[InferenceSession] = []


def _forked() -> None:
    for model in list(_OPEN):
        model._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
