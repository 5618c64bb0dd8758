"""A run of rtl as a run of MLflow, on the tracking server that MLflow itself is configured for."""

from __future__ import annotations

import os
import time
from typing import Any

from toolchain.extras import import_extra
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.trackers.identity import read_identity, write_identity
from toolchain.training.trackers.tracker import Outcome, flat_settings, not_usable, numbers, scalars

DEFAULT_EXPERIMENT = "rtl"
SERVER = "set MLFLOW_TRACKING_URI to a tracking server, such as http://localhost:5000"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that does not answer is tried twice and not for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Set unless the user has set it: MLflow sends no usage figures, and does not wait for long."""
STATUS: dict[Outcome, str] = {
    "finished": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


class MLflow:
    """Writes settings, the metrics of each epoch and the summary to an MLflow run."""

    title = "MLflow"

    def __init__(self, run: RunFolder, settings: FinetuneSettings) -> None:
        """Begin an MLflow run, or go on with the one of a resumed run."""
        self.client, experiment = open_mlflow()
        try:
            self.run_id = self._known(read_identity(run, "mlflow"))
            if self.run_id is None:
                self.run_id = self._begin(run, settings, experiment)
                write_identity(run, "mlflow", self.run_id)
        except Exception as error:  # its stores and the network raise errors of many kinds
            raise not_usable("MLflow", error, SERVER) from error

    def _known(self, run_id: str | None) -> str | None:
        """Return a run's id where the server still has it, and mark it as running."""
        if run_id is None:
            return None
        try:
            self.client.update_run(run_id, status="RUNNING")
        except Exception:
            return None
        return run_id

    def _begin(self, run: RunFolder, settings: FinetuneSettings, experiment: str) -> str:
        from mlflow.entities import Param

        begun = self.client.create_run(experiment, run_name=run.path.absolute().name)
        parameters = [Param(name, str(value)) for name, value in flat_settings(settings).items()]
        self.client.log_batch(begun.info.run_id, params=parameters)
        return str(begun.info.run_id)

    def write(self, row: dict[str, Any]) -> None:
        """Write the scalars of one line of metrics.jsonl."""
        self._write(dict(scalars(row)), row["epoch"])

    def close(self, outcome: Outcome, summary: dict[str, Any]) -> None:
        """Write the summary and end the MLflow run."""
        if summary:
            self._write(numbers(summary), summary["epochs"])
        self.client.set_terminated(self.run_id, STATUS[outcome])

    def _write(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)


def open_mlflow() -> tuple[Any, str]:
    """Return a client and the id of the experiment; else MissingExtraError or TrainingError."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    tracking = import_extra("mlflow.tracking", what="mlflow")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    try:
        client = tracking.MlflowClient()
        found = client.get_experiment_by_name(name)
        return client, found.experiment_id if found else client.create_experiment(name)
    except Exception as error:
        raise not_usable("MLflow", error, SERVER) from error
