"""Combine settings at random, and fail where one is neither refused in a line nor can be trained.

    python tests/slow/settings_fuzzing.py [--combinations 2000] [--train 40] [--seed 0]

Values are ordinary, extreme (zero, negative, huge, nan, inf) and of wrong types, given as options
or as arguments in Python. Each combination is judged in this process as `rtl finetune` does, by the
rules without data and by those with the sizes of a small data set. Of those that are accepted,
`--train` are trained for one to three epochs at 32 or 64 pixels, in this process too. An exception
that is no ToolchainError, a message of more than one line, and an error of training other than a
loss that is not finite are printed with the number of the combination; the exit status is 1 then.
`--only NUMBER` repeats one.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from toolchain.data.layouts import Dataset, read_dataset  # noqa: E402
from toolchain.errors import DataError, SettingsError, ToolchainError, TrainingError  # noqa: E402
from toolchain.progress import SilentReporter  # noqa: E402
from toolchain.runs.settings import FinetuneSettings  # noqa: E402
from toolchain.runs.settings_file import gather_settings  # noqa: E402
from toolchain.training.feasible import require_device_fits, require_feasible  # noqa: E402
from toolchain.training.finetune import finetune  # noqa: E402

CPU = torch.device("cpu")
FIXED = ("data", "weights", "task", "device", "tensorboard", "compile")
ODD = (0, 1, -1, 2, 3, 7, 10**6, 10**12, 2**63, 2**64, 10**400)
ODD_RATES = (0.0, 1e-320, 1e-12, 1e-4, 0.1, 0.5, 0.999, 1.0, 7.0, 1e3, 1e30, 1e308)
NO_NUMBERS = (math.nan, math.inf, -math.inf)
WRONG: tuple[Any, ...] = ("", "three", True, [], {}, "5", 2.5, None)


def main() -> int:
    """Judge the combinations, train some of them, and print how many were refused and why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--combinations", type=int, default=2000)
    parser.add_argument("--train", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    numbers = range(asked.combinations) if asked.only is None else [asked.only]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RTL_CACHE_DIR"] = str(Path(folder) / "cache")
        data, weights = draw_data(Path(folder)), random_weights(Path(folder))
        dataset = read_dataset(data)
        for number in numbers:
            train = counts["trained"] + counts["not finite"] < asked.train
            given = combination(Random(f"{asked.seed}/{number}"), data, weights)
            place = Path(folder) / f"run-{number}"
            counts[outcome(number, given, dataset, place if train else None)] += 1
    print(", ".join(f"{name}: {count}" for name, count in counts.most_common()))
    return int(counts["FAILED"] > 0)


def draw_data(folder: Path) -> Path:
    """Write 24 images of two classes, 16 for training."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for label in ("a", "b"):
            place = folder / "data" / split / label
            place.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder / "data"


def random_weights(folder: Path) -> Path:
    """Write random weights of a ResNet-18."""
    from safetensors.torch import save_file

    from toolchain.networks.resnet import build_network

    save_file(build_network("resnet18", 2).state_dict(), folder / "start.safetensors")
    return folder / "start.safetensors"


def combination(random: Random, data: Path, weights: Path) -> dict[str, Any]:
    """Return some settings with values, most of them ordinary."""
    fields = [f for f in msgspec.structs.fields(FinetuneSettings) if f.name not in FIXED]
    given: dict[str, Any] = {"epochs": random.choice([1, 1, 2, 3]), "workers": 0}
    given["size"] = random.choice([32, 32, 64])
    for field in random.sample(fields, random.randint(1, 8)):
        given[field.name] = value_of(field, random)
    given |= {"data": str(data), "weights": random.choice(["none", str(weights), str(weights)])}
    return given


def value_of(field: msgspec.structs.FieldInfo, random: Random) -> Any:
    """Return a value for a setting: one of its choices, an odd number, or rarely a wrong type."""
    kind = get_args(field.type)[0]
    if random.random() < 0.03:
        return random.choice(WRONG + NO_NUMBERS)
    if get_origin(kind) is Literal:
        return random.choice(get_args(kind))
    if kind is bool:
        return random.random() < 0.5
    if kind is str:
        return random.choice(["layer1", "layer3", "third", "0", "5", "16", "17", "18", "-1", "x"])
    if random.random() < 0.5:
        return field.default
    if kind is int:
        return random.choice(ODD[: 6 if random.random() < 0.8 else None])
    return random.choice((*ODD_RATES, random.random()))


def outcome(number: int, given: dict[str, Any], dataset: Dataset, run: Path | None) -> str:
    """Return what became of a combination, which is trained where `run` is given."""
    try:
        found = gather_settings(None, given, options=number % 2 == 0)
        settings = found.settings
        with found.sources.named():
            require_device_fits(settings, CPU)
            require_feasible(settings, dataset, CPU, 1, SilentReporter())
        if run is None or settings.arch not in ("resnet18",) or settings.size > 64:
            return "accepted"
        outside = settings.mlflow or settings.wandb
        if (
            outside
            or settings.epochs > 3
            or settings.resize_size > 500
            or settings.workers not in (0, 1)
        ):
            return "accepted"
        finetune(settings, run)
        return "trained"
    except SettingsError as error:
        for change in error.instead:
            if refused_again(given | change, dataset, number) in (error.setting, *change):
                print(f"combination {number}: {error}; {change} does not help")
                return failed(number, given)
        one_line = "\n" not in str(error) and len(str(error)) < 400
        return "refused" if one_line else failed(number, given)
    except DataError as error:
        right = ("no table, so it has no column", "no such file or directory")  # of --exclude
        return "refused" if any(text in str(error) for text in right) else failed(number, given)
    except TrainingError as error:
        return "not finite" if "the loss became" in str(error) else failed(number, given)
    except ToolchainError:
        return failed(number, given)
    except Exception:  # what the script looks for
        return failed(number, given)


def refused_again(given: dict[str, Any], dataset: Dataset, number: int) -> str | None:
    """Return the setting that is refused after a change that an error proposed."""
    try:
        settings = gather_settings(None, given, options=number % 2 == 0).settings
        require_device_fits(settings, CPU)
        require_feasible(settings, dataset, CPU, 1, SilentReporter())
    except SettingsError as error:
        return error.setting
    return None


def failed(number: int, given: dict[str, Any]) -> str:
    """Print a combination that failed, with its traceback."""
    print(f"combination {number}: {given}")
    traceback.print_exc()
    return "FAILED"


if __name__ == "__main__":
    sys.exit(main())
