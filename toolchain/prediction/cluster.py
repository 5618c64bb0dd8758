"""`rtl predict --ray`: the predictor as actors of Ray Data, for more images than one machine does.

An actor on each core opens the model and reads the images itself, so both must be found under the
same path on every machine; images may also come as bytes in Parquet files. Only the results travel
back, in order, and this process writes them.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
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
from toolchain.files import real_path
from toolchain.prediction.inputs import InputImage
from toolchain.prediction.rows import PredictionOrError, PredictionRows
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.prediction import Prediction, nonfinite_error
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.provider_names import AUTO, computes_on_processor

ADDRESS_VARIABLE = "RAY_ADDRESS"
"""The environment variable with the cluster to join; without it one is started on this machine."""
PATHS_PER_DATASET = 1_000_000
"""Paths that are handed to Ray at once."""
PATHS_PER_CALL, IMAGES_PER_CALL = 256, 32
"""How many paths, or images as bytes, an actor takes in one call."""
CORES_PER_ACTOR, CORES_BESIDE_PARQUET = 1.0, 0.5
"""Cores that Ray reserves for an actor; where it reads Parquet files too, half is left for that."""
BYTES_COLUMN, NAME_COLUMNS = "bytes", ("file", "path")
"""Columns of Parquet files: the encoded image, and its name under one of two headings."""


class PredictorActor:
    """An actor of Ray: opens the model once and predicts tables of images."""

    def __init__(self, model: str, options: dict[str, Any], batch_size: int, name: str) -> None:
        self.predictor = Predictor(model, **options)
        self.batch_size = batch_size
        self.name = name

    def __call__(self, images: pa.Table) -> pa.Table:
        """Return a table of name, outputs and error of each image.

        The images are the column `bytes` where there is one, else the files in the column `path`.
        """
        if BYTES_COLUMN in images.column_names:
            sources: list[Any] = images[BYTES_COLUMN].to_pylist()
        else:
            sources = [Path(os.fsdecode(path)) for path in images["path"].to_pylist()]
        results = list(
            self.predictor.predict_many(
                (b"" if source is None else source for source in sources),
                batch_size=self.batch_size,
                workers=1,
            )
        )
        predictions = [None if isinstance(result, ImageError) else result for result in results]
        errors = [str(result) if isinstance(result, ImageError) else None for result in results]
        floats = pa.list_(pa.float32())
        return pa.table(
            {
                "name": images[self.name],
                "probabilities": pa.array([r and r.probabilities for r in predictions], floats),
                "logits": pa.array([r and r.logits for r in predictions], floats),
                "error": pa.array(errors, pa.string()),
            }
        )


class Cluster:
    """A Ray cluster with `workers` actors, by default one on each core or GPU.

    A cluster that runs already, or that RAY_ADDRESS names, is joined; otherwise one is started on
    this machine and stopped at the end.
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
        self._model = model
        self._keep = options.get("on_nonfinite") == "keep"
        provider = options["provider"]
        on_gpu = not (computes_on_processor(provider) or provider.lower() == AUTO)
        self._start()
        resource = "GPU" if on_gpu else "CPU"
        self._actors = workers or max(1, int(ray.cluster_resources().get(resource, 1)))
        self._constructor = {
            "model": str(real_path(model)),
            # Errors of an actor would arrive as Ray's: `_result` judges the outputs instead.
            "options": {**options, "threads": options["threads"] or 1, "on_nonfinite": "keep"},
            "batch_size": batch_size,
        }
        self._on_gpu = on_gpu

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started_here:
            ray.shutdown()

    def predict(self, images: Iterable[InputImage]) -> PredictionRows:
        """Yield the name and the prediction or error of each file, in order.

        Raises DataError for an image on standard input.
        """
        remaining = iter(images)
        while some := list(islice(remaining, PATHS_PER_DATASET)):
            columns = {
                "name": [os.fsencode(image.name) for image in some],
                "path": [os.fsencode(_absolute_path(image)) for image in some],
            }
            blocks = min(len(some), max(2 * self._actors, len(some) // PATHS_PER_CALL))
            whole, step = pa.table(columns), -(-len(some) // blocks)
            # Ray makes a block of each table; before 2.43 it takes no number of blocks.
            parts = [whole.slice(start, step) for start in range(0, len(some), step)]
            yield from self._rows(
                ray.data.from_arrow(parts), "name", PATHS_PER_CALL, CORES_PER_ACTOR
            )

    def predict_parquet(
        self, files: Sequence[str], images: Iterable[InputImage] = ()
    ) -> PredictionRows:
        """Yield the same for images in Parquet files: their bytes and, beside them, their names.

        `images` is not used: there are no other inputs beside Parquet files. Raises DataError for
        files without the columns.
        """
        # Ray's workers run in another folder.
        places = [file if "://" in file else str(Path(file).absolute()) for file in files]
        try:
            columns = ray.data.read_parquet(places).schema().names
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{files[0]}: {str(error).splitlines()[0]}") from error
        name = next((name for name in NAME_COLUMNS if name in columns), None)
        if BYTES_COLUMN not in columns or name is None:
            raise DataError(
                f"{files[0]} has the columns {', '.join(sorted(columns))}",
                hint=f"expected `{BYTES_COLUMN}` with the image and `file` with its name",
            )
        table = ray.data.read_parquet(places, columns=[name, BYTES_COLUMN])
        yield from self._rows(table, name, IMAGES_PER_CALL, CORES_BESIDE_PARQUET)

    def _rows(self, table: Any, name: str, images_per_call: int, cores: float) -> PredictionRows:
        results = table.map_batches(
            PredictorActor,
            fn_constructor_kwargs=self._constructor | {"name": name},
            batch_format="pyarrow",
            batch_size=images_per_call,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._actors),
            **({"num_gpus": 1} if self._on_gpu else {"num_cpus": cores}),
        )
        for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                raw = row["name"]
                image = os.fsdecode(raw) if isinstance(raw, bytes) else str(raw)
                yield image, self._result(image, row)

    def _result(self, name: str, row: dict[str, Any]) -> PredictionOrError:
        if row["error"] is not None:
            path = str(Path(name).absolute())
            reason = row["error"].removeprefix(path).removeprefix("image")
            return ImageError(f"{name}{reason}")
        card = self.card
        p, logits = (np.asarray(row[key], np.float32) for key in ("probabilities", "logits"))
        prediction = Prediction(card.classes, p, logits, card.threshold, card.task)
        if prediction.finite or self._keep:
            return prediction
        raise nonfinite_error(self._model, name)

    def _start(self) -> None:
        self._started_here = not ray.is_initialized()
        if self._started_here:
            # Failures that matter are raised as exceptions.
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            address = os.environ.get(ADDRESS_VARIABLE)
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
        context.enable_progress_bars = False  # `rtl predict` draws its own
        context.execution_options.preserve_order = True


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep the messages of Ray's C++ core about its settings off standard error."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _absolute_path(image: InputImage) -> str:
    if isinstance(image.source, bytes):
        raise DataError("standard input is one image; --ray is for many")
    return str(image.source.absolute())
