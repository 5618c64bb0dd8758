"""A machine with a second engine, for the choice between engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from toolchain.runtime.engines import choice, timing
from toolchain.runtime.engines.timing import Timing
from toolchain.runtime.provider_names import SHORT_NAMES

FAST = {"cpu": Timing(20.0, 1.0, 0), "spare": Timing(10.0, 2.0, timing.ROUNDS)}
SLOW = {"cpu": Timing(20.0, 1.0, 0), "spare": Timing(21.0, 0.95, 2)}


class Machine:
    """A machine with a second engine, which is onnxruntime on the CPU under another name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = FAST
        self.measured = 0
        self.engines = {"cpu": "1.31.1", "spare": "1.8.1"}
        monkeypatch.setitem(SHORT_NAMES, "spare", SHORT_NAMES["cpu"])
        monkeypatch.setattr(choice, "installed_engines", lambda: self.engines)
        monkeypatch.setattr(choice, "timings", self._timings)

    def _timings(self, calls: dict[str, Callable[[], object]]) -> dict[str, Timing]:
        self.measured += 1
        for call in calls.values():
            call()
        return {name: time for name, time in self.times.items() if name in calls}
