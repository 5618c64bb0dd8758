"""`rtl predict --ray`: the same predictor as actors of Ray Data, for more than a machine's images.

An actor on each core opens the model and reads the images itself, so both must be found under the
same path on every machine; images may also come as bytes in Parquet files. Only answers travel
back, in order, and they are written here as ever.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext

from toolchain.errors import DataError, ImageError
from toolchain.prediction.inputs import Found
from toolchain.prediction.rows import Result
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.predictor import Predictor

ADDRESS = "RAY_ADDRESS"
"""Where a cluster is to be joined; without it one is started on this machine."""
CHUNK = 1_000_000
"""Names that are handed to Ray at once."""
FILES, IMAGES = 256, 32
"""What an actor takes at once: paths, or the bytes of images."""
WHOLE, HALF = 1.0, 0.5
"""Cores that an actor asks for. Where Ray reads Parquet files, some must be left for that."""
BYTES, NAMES = "bytes", ("file", "path")
"""Columns of Parquet files: an image, and what it is called."""

Rows = Generator[tuple[str, Result], None, None]


class PredictorActor:
    """What an actor does: opens the model once, and answers for tables of images."""

    def __init__(self, model: str, options: dict[str, Any], batch_size: int, name: str) -> None:
        self.predictor = Predictor(model, **options)
        self.batch_size = batch_size
        self.name = name

    def __call__(self, images: pa.Table) -> pa.Table:
        """Return name, outputs and error of each image of a table with `bytes`, or else `path`."""
        if BYTES in images.column_names:
            sources: list[Any] = images[BYTES].to_pylist()
        else:
            sources = [Path(os.fsdecode(path)) for path in images["path"].to_pylist()]
        results = list(
            self.predictor.predict_many(
                (b"" if source is None else source for source in sources),
                batch_size=self.batch_size,
                workers=1,
            )
        )
        given = [None if isinstance(result, ImageError) else result for result in results]
        errors = [str(result) if isinstance(result, ImageError) else None for result in results]
        floats = pa.list_(pa.float32())
        return pa.table(
            {
                "name": images[self.name],
                "probabilities": pa.array([r and r.probabilities for r in given], floats),
                "logits": pa.array([r and r.logits for r in given], floats),
                "error": pa.array(errors, pa.string()),
            }
        )


class Cluster:
    """Ray, joined or started, with `workers` actors, by default one on each core or GPU.

    It is stopped at the end where it was started here.
    """

    def __init__(
        self,
        model: str,
        card: Card,
        *,
        options: dict[str, Any],
        batch_size: int,
        workers: int | None,
    ) -> None:
        self.card = card
        on_gpu = options["provider"].lower() != "cpu"
        self._start()
        resource = "GPU" if on_gpu else "CPU"
        self._actors = workers or max(1, int(ray.cluster_resources().get(resource, 1)))
        self._constructor = {
            "model": str(Path(model).resolve()),
            "options": {**options, "threads": options["threads"] or 1},
            "batch_size": batch_size,
        }
        self._on_gpu = on_gpu

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            ray.shutdown()

    def label(self, found: Iterable[Found]) -> Rows:
        """Yield name and prediction or error of each file, in order."""
        remaining = iter(found)
        while chunk := list(islice(remaining, CHUNK)):
            images = {
                "name": [os.fsencode(item.name) for item in chunk],
                "path": [os.fsencode(_place(item)) for item in chunk],
            }
            blocks = min(len(chunk), max(2 * self._actors, len(chunk) // FILES))
            table = ray.data.from_arrow(pa.table(images), override_num_blocks=blocks)
            yield from self._answers(table, "name", FILES, WHOLE)

    def label_parquet(self, files: Sequence[str], found: Iterable[Found] = ()) -> Rows:
        """Yield the same of images that lie in Parquet files as bytes, with their names beside."""
        # Ray's workers are in another folder.
        places = [file if "://" in file else str(Path(file).absolute()) for file in files]
        try:
            columns = ray.data.read_parquet(places).schema().names
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{files[0]}: {str(error).splitlines()[0]}") from error
        name = next((name for name in NAMES if name in columns), None)
        if BYTES not in columns or name is None:
            raise DataError(
                f"{files[0]} has the columns {', '.join(sorted(columns))}",
                hint=f"expected `{BYTES}` with the image and `file` with its name",
            )
        images = ray.data.read_parquet(places, columns=[name, BYTES])
        yield from self._answers(images, name, IMAGES, HALF)

    def _answers(self, images: Any, name: str, at_once: int, cores: float) -> Rows:
        answers = images.map_batches(
            PredictorActor,
            fn_constructor_kwargs=self._constructor | {"name": name},
            batch_format="pyarrow",
            batch_size=at_once,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._actors),
            **({"num_gpus": 1} if self._on_gpu else {"num_cpus": cores}),
        )
        for table in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in table.to_pylist():
                raw = row["name"]
                named = os.fsdecode(raw) if isinstance(raw, bytes) else str(raw)
                yield named, self._result(named, row)

    def _result(self, name: str, row: dict[str, Any]) -> Result:
        if row["error"] is not None:
            place = str(Path(name).absolute())
            reason = row["error"].removeprefix(place).removeprefix("image")
            return ImageError(f"{name}{reason}")
        card = self.card
        p, logits = (np.asarray(row[key], np.float32) for key in ("probabilities", "logits"))
        return Prediction(card.classes, p, logits, card.threshold, card.task)

    def _start(self) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised
            address = os.environ.get(ADDRESS)
            local: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(2, usable_cores())}
            with _silent_stderr():
                ray.init(
                    address=address or "local",
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **({} if address else local),
                )
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="ray")
        context = DataContext.get_current()
        context.enable_progress_bars = False  # there is one already
        context.execution_options.preserve_order = True


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what Ray's engine says of its own settings from standard error; failures are raised."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _place(found: Found) -> str:
    if isinstance(found.source, bytes):
        raise DataError("standard input is one image; --ray is for many")
    return str(found.source.absolute())
