"""A run of rtl as a run of Weights & Biases, online or offline as the user has set up wandb."""

from __future__ import annotations

import os
import uuid
from typing import Any

from toolchain.errors import TrainingError
from toolchain.extras import import_extra
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.trackers.identity import read_identity, write_identity
from toolchain.training.trackers.tracker import Outcome, flat_settings, not_usable, numbers, scalars

DEFAULT_PROJECT = "rtl"
OFFLINE = "WANDB_MODE=offline keeps it on this machine, for `wandb sync` later"


class Wandb:
    """Writes settings, the metrics of each epoch and the summary to a W&B run."""

    title = "W&B"

    def __init__(self, run: RunFolder, settings: FinetuneSettings) -> None:
        """Begin a W&B run, or go on with the one of a resumed run."""
        wandb = require_wandb()
        run_id = read_identity(run, "wandb") or uuid.uuid4().hex
        try:
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
                name=run.path.absolute().name,
                dir=str(run.path),
                id=run_id,
                resume="allow",
                config=flat_settings(settings),
                # Its lines on the screen would break the progress bar.
                settings=wandb.Settings(silent=True, console="off"),
            )
        except Exception as error:  # the network raises errors of many kinds
            raise not_usable("W&B", error, OFFLINE) from error
        write_identity(run, "wandb", run_id)

    def write(self, row: dict[str, Any]) -> None:
        """Write the scalars of one line of metrics.jsonl."""
        self.run.log(dict(scalars(row)), step=row["epoch"])

    def close(self, outcome: Outcome, summary: dict[str, Any]) -> None:
        """Write the summary and end the W&B run."""
        self.run.summary.update(numbers(summary))
        self.run.finish(exit_code=0 if outcome == "finished" else 1)


def require_wandb() -> Any:
    """Return the module; raise MissingExtraError without it, TrainingError without a login."""
    wandb = import_extra("wandb")
    online = os.environ.get("WANDB_MODE", "online") not in ("offline", "disabled", "dryrun")
    try:
        logged_in = not online or (wandb.Api is not None and wandb.api.api_key is not None)
    except Exception as error:
        raise not_usable("W&B", error, OFFLINE) from error
    if not logged_in:
        raise TrainingError("W&B is not logged in on this machine", hint=f"wandb login; {OFFLINE}")
    return wandb
