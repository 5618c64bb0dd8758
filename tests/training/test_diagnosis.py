from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest

from toolchain.training.diagnosis import Finding, diagnose
from toolchain.training.settings import FinetuneSettings

# Recorded from real runs of ResNet-18 at 64 pixels, rounded. Heads are trained on features of three
# augmented views, or of the clean one where labels are wrong.
#   SOUND                     head on ten foods (500 images), adam, rate 0.005
#   BATCHES_OF_FOUR           the same, four images a step
#   TWELVE_VALIDATION_IMAGES  head on ants and bees, rate 0.005
#   TWENTY_VALIDATION_IMAGES  the same with dropout 0.5, rate 0.01
#   STRONG_MIXUP              head on three foods, MixUp 1.0, label smoothing 0.1
#   FROM_SCRATCH              all layers, six kinds of steel surface, rate 0.001
#   PARTIAL                   layer4 and head, ants and bees
#   WRONG_LABELS              head on three foods, 40 % of the labels drawn anew, rate 0.02
#   SIXTY_IMAGES              head on 60 ants and bees, rate 0.02
#   SGD_AT_1                  head on ants and bees, sgd with momentum 0.9, rate 1.0
#   ADAM_AT_01                all layers, three foods, rate 0.1
#   HEAD_AT_1E4, HEAD_AT_1E6  head on ants and bees, rate 1e-4; head on steel, rate 1e-6
#   FULL_AT_1E6               all layers, ants and bees, rate 1e-6
#   WRONG_MEAN                head on ants and bees, mean and std of the input far off
RUNS: dict[str, dict[str, list[float]]] = json.loads(
    """
{
"SOUND": {
  "train_loss": [2.189, 1.695, 1.447, 1.265, 1.14, 1.058, 0.995, 0.919, 0.885, 0.832, 0.781,
    0.762, 0.729, 0.7, 0.669],
  "val_loss": [1.912, 1.609, 1.419, 1.342, 1.292, 1.25, 1.222, 1.193, 1.176, 1.166, 1.148,
    1.152, 1.159, 1.129, 1.165],
  "train_accuracy": [0.23, 0.52, 0.62, 0.65, 0.68, 0.71, 0.72, 0.74, 0.75, 0.77, 0.79, 0.8,
    0.81, 0.79, 0.83],
  "val_accuracy": [0.34, 0.52, 0.56, 0.56, 0.57, 0.59, 0.63, 0.61, 0.63, 0.63, 0.62, 0.64, 0.61,
    0.66, 0.62],
  "train_loss_start": [2.329, 2.261, 2.261, 2.603, 2.444, 2.168, 2.175, 2.127, 2.124, 2.05,
    2.141, 2.156, 2.029, 2.151, 1.842, 2.14]
},
"BATCHES_OF_FOUR": {
  "train_loss": [1.984, 1.317, 1.133, 0.925, 0.819, 0.771, 0.665, 0.6, 0.579, 0.531, 0.474,
    0.422],
  "val_loss": [1.584, 1.333, 1.281, 1.233, 1.31, 1.237, 1.169, 1.236, 1.181, 1.22, 1.196, 1.168],
  "train_accuracy": [0.33, 0.57, 0.63, 0.7, 0.75, 0.75, 0.81, 0.82, 0.83, 0.85, 0.85, 0.9],
  "val_accuracy": [0.47, 0.56, 0.57, 0.59, 0.6, 0.62, 0.64, 0.61, 0.62, 0.61, 0.62, 0.65],
  "train_loss_start": [2.161, 2.668, 2.819, 2.602, 2.379, 2.179, 2.366, 1.817, 2.331, 2.299,
    2.564, 2.037, 1.809, 2.588, 2.293, 4.091, 4.192, 2.299, 2.672, 1.876]
},
"TWELVE_VALIDATION_IMAGES": {
  "train_loss": [0.611, 0.475, 0.393, 0.334, 0.312, 0.304, 0.271, 0.269, 0.277, 0.25, 0.248,
    0.261, 0.239, 0.24, 0.251, 0.232, 0.235, 0.247, 0.228, 0.231],
  "val_loss": [0.619, 0.363, 0.356, 0.415, 0.317, 0.374, 0.333, 0.351, 0.338, 0.37, 0.391,
    0.371, 0.353, 0.34, 0.344, 0.344, 0.36, 0.365, 0.358, 0.359],
  "train_accuracy": [0.65, 0.78, 0.82, 0.88, 0.9, 0.9, 0.91, 0.91, 0.9, 0.91, 0.9, 0.92, 0.91,
    0.91, 0.91, 0.92, 0.91, 0.93, 0.91, 0.91],
  "val_accuracy": [0.58, 1, 0.92, 0.75, 0.92, 0.83, 0.83, 0.83, 0.83, 0.83, 0.83, 0.83, 0.83,
    0.83, 0.83, 0.83, 0.83, 0.83, 0.83, 0.83],
  "train_loss_start": [0.708, 0.688, 0.58, 0.637, 0.651, 0.562, 0.51, 0.511]
},
"TWENTY_VALIDATION_IMAGES": {
  "train_loss": [0.582, 0.485, 0.367, 0.33, 0.314, 0.324, 0.283, 0.338, 0.362, 0.261, 0.292,
    0.312, 0.269, 0.313, 0.302, 0.217, 0.266, 0.294, 0.277, 0.232, 0.232, 0.196, 0.268, 0.286,
    0.257, 0.252, 0.271, 0.29, 0.29, 0.293, 0.269, 0.304, 0.235, 0.21, 0.243, 0.257, 0.234,
    0.263, 0.289, 0.228],
  "val_loss": [0.711, 0.365, 0.42, 0.362, 0.395, 0.347, 0.324, 0.445, 0.328, 0.434, 0.319,
    0.349, 0.278, 0.369, 0.326, 0.375, 0.394, 0.396, 0.371, 0.471, 0.393, 0.511, 0.373, 0.436,
    0.381, 0.455, 0.38, 0.462, 0.374, 0.348, 0.405, 0.394, 0.361, 0.333, 0.366, 0.342, 0.334,
    0.374, 0.384, 0.384],
  "train_accuracy": [0.67, 0.77, 0.84, 0.86, 0.85, 0.84, 0.87, 0.84, 0.83, 0.9, 0.86, 0.87,
    0.89, 0.85, 0.84, 0.93, 0.87, 0.86, 0.89, 0.91, 0.91, 0.93, 0.89, 0.88, 0.89, 0.87, 0.88,
    0.89, 0.87, 0.88, 0.9, 0.87, 0.89, 0.89, 0.89, 0.89, 0.91, 0.89, 0.88, 0.9],
  "val_accuracy": [0.55, 0.9, 0.7, 0.8, 0.7, 0.8, 0.9, 0.75, 0.85, 0.75, 0.85, 0.8, 0.95, 0.75,
    0.85, 0.8, 0.8, 0.75, 0.8, 0.75, 0.75, 0.65, 0.8, 0.7, 0.8, 0.75, 0.8, 0.75, 0.7, 0.8, 0.75,
    0.75, 0.8, 0.8, 0.85, 0.85, 0.8, 0.75, 0.75, 0.8],
  "train_loss_start": [0.755, 0.668, 0.551, 0.608, 0.687, 0.507, 0.396, 0.43]
},
"STRONG_MIXUP": {
  "train_loss": [1.077, 1.016, 0.92, 0.878, 0.856, 0.792, 0.847, 0.847, 0.705, 0.767, 0.768,
    0.734, 0.753, 0.747, 0.768, 0.73, 0.68, 0.74, 0.751, 0.678],
  "val_loss": [0.893, 0.763, 0.715, 0.652, 0.615, 0.589, 0.569, 0.572, 0.543, 0.545, 0.539,
    0.522, 0.529, 0.517, 0.519, 0.514, 0.513, 0.511, 0.508, 0.507],
  "train_accuracy": [0.39, 0.48, 0.39, 0.57, 0.53, 0.75, 0.57, 0.51, 0.66, 0.82, 0.55, 0.59,
    0.61, 0.51, 0.74, 0.59, 0.65, 0.54, 0.91, 0.67],
  "val_accuracy": [0.7, 0.74, 0.74, 0.76, 0.78, 0.82, 0.82, 0.79, 0.83, 0.82, 0.81, 0.82, 0.82,
    0.82, 0.82, 0.82, 0.81, 0.82, 0.82, 0.82],
  "train_loss_start": [1.079, 1.187, 1.069, 1.001, 1.04]
},
"FROM_SCRATCH": {
  "train_loss": [1.496, 1.037, 0.917, 0.856, 0.756, 0.888, 0.731, 0.695, 0.643, 0.713],
  "val_loss": [5.9, 11.849, 4.122, 1.156, 1.095, 1.803, 0.912, 0.753, 0.652, 0.807],
  "train_accuracy": [0.44, 0.64, 0.7, 0.69, 0.72, 0.7, 0.74, 0.76, 0.77, 0.74],
  "val_accuracy": [0.18, 0.17, 0.32, 0.63, 0.7, 0.47, 0.71, 0.71, 0.79, 0.76],
  "train_loss_start": [1.862, 1.516, 2.309, 1.414, 1.099, 0.966, 1.469, 1.176]
},
"PARTIAL": {
  "train_loss": [0.68, 0.601, 0.536, 0.464, 0.394, 0.335, 0.289, 0.238, 0.198, 0.178, 0.146,
    0.116],
  "val_loss": [0.623, 0.578, 0.536, 0.493, 0.466, 0.436, 0.413, 0.404, 0.386, 0.364, 0.363,
    0.36],
  "train_accuracy": [0.6, 0.83, 0.85, 0.9, 0.9, 0.9, 0.93, 0.94, 0.96, 0.98, 0.97, 0.97],
  "val_accuracy": [0.78, 0.78, 0.77, 0.78, 0.79, 0.8, 0.82, 0.82, 0.83, 0.84, 0.84, 0.84],
  "train_loss_start": [0.716, 0.692, 0.678, 0.678, 0.668, 0.676, 0.672, 0.643]
},
"WRONG_LABELS": {
  "train_loss": [1.429, 1.131, 0.986, 0.709, 0.618, 0.561, 0.454, 0.424, 0.373, 0.324, 0.308,
    0.285, 0.249, 0.231, 0.209, 0.192, 0.178, 0.166, 0.153, 0.145, 0.134, 0.127, 0.121, 0.113],
  "val_loss": [1.171, 0.903, 0.691, 0.593, 0.67, 0.717, 0.639, 0.69, 0.724, 0.671, 0.695, 0.725,
    0.679, 0.751, 0.74, 0.726, 0.779, 0.757, 0.767, 0.803, 0.785, 0.794, 0.823, 0.774],
  "train_accuracy": [0.33, 0.49, 0.55, 0.71, 0.77, 0.79, 0.85, 0.86, 0.9, 0.93, 0.95, 0.96,
    0.96, 0.97, 0.98, 0.99, 1, 1, 1, 1, 1, 1, 1, 1],
  "val_accuracy": [0.39, 0.61, 0.7, 0.76, 0.68, 0.67, 0.78, 0.68, 0.67, 0.71, 0.68, 0.65, 0.72,
    0.65, 0.67, 0.69, 0.65, 0.68, 0.67, 0.65, 0.67, 0.66, 0.66, 0.68],
  "train_loss_start": [1.113, 2.055, 1.32, 1.342, 1.266]
},
"SIXTY_IMAGES": {
  "train_loss": [0.933, 0.435, 0.518, 0.29, 0.316, 0.264, 0.169, 0.169, 0.154, 0.109, 0.091,
    0.084, 0.073, 0.058, 0.049, 0.048, 0.045, 0.039, 0.034, 0.031, 0.03, 0.028, 0.026, 0.024,
    0.023, 0.021, 0.021, 0.02, 0.019, 0.018],
  "val_loss": [0.628, 0.707, 0.525, 0.542, 0.584, 0.5, 0.51, 0.539, 0.512, 0.507, 0.536, 0.55,
    0.543, 0.538, 0.546, 0.557, 0.564, 0.572, 0.586, 0.604, 0.617, 0.622, 0.623, 0.623, 0.624,
    0.628, 0.633, 0.639, 0.646, 0.653],
  "train_accuracy": [0.45, 0.85, 0.67, 0.85, 0.85, 0.9, 0.97, 0.95, 0.95, 0.97, 0.98, 0.98,
    0.98, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
  "val_accuracy": [0.69, 0.56, 0.73, 0.76, 0.76, 0.8, 0.75, 0.76, 0.78, 0.82, 0.79, 0.78, 0.79,
    0.82, 0.8, 0.8, 0.81, 0.79, 0.79, 0.8, 0.79, 0.8, 0.79, 0.78, 0.79, 0.79, 0.79, 0.79, 0.79,
    0.78],
  "train_loss_start": [0.763, 1.128]
},
"SGD_AT_1": {
  "train_loss": [3.057, 1.602, 2.031, 1.113, 0.716, 1.288, 0.825, 0.912, 0.888, 1.395, 0.711,
    0.391, 0.416, 0.256, 0.261],
  "val_loss": [1.994, 2.173, 2.116, 2.19, 3.098, 3.373, 4.334, 2.562, 4.063, 2.827, 2.026,
    2.553, 1.989, 2.065, 2.312],
  "train_accuracy": [0.61, 0.82, 0.83, 0.89, 0.91, 0.89, 0.89, 0.88, 0.91, 0.88, 0.92, 0.94,
    0.93, 0.95, 0.93],
  "val_accuracy": [0.8, 0.8, 0.83, 0.84, 0.82, 0.81, 0.8, 0.82, 0.75, 0.81, 0.81, 0.76, 0.81,
    0.84, 0.79],
  "train_loss_start": [0.708, 1.847, 9.35, 1.935, 3.547, 2.403, 2.514, 1.608]
},
"ADAM_AT_01": {
  "train_loss": [4.112, 2.655, 1.412, 1.251, 1.228, 1.27, 1.214, 1.103],
  "val_loss": [1.29858e+07, 1926.23, 1692.48, 130.534, 13.947, 1.143, 1.152, 1.273],
  "train_accuracy": [0.29, 0.38, 0.35, 0.37, 0.37, 0.33, 0.35, 0.39],
  "val_accuracy": [0.33, 0.33, 0.33, 0.33, 0.37, 0.3, 0.33, 0.33],
  "train_loss_start": [1.091, 1.981, 6.494, 7.194, 3.658]
},
"HEAD_AT_1E4": {
  "train_loss": [0.712, 0.696, 0.695, 0.685, 0.673, 0.673, 0.663, 0.653, 0.655, 0.644, 0.635,
    0.638, 0.626, 0.618, 0.622, 0.609, 0.603, 0.607, 0.594, 0.588, 0.593, 0.58, 0.574, 0.581,
    0.569],
  "val_loss": [0.711, 0.702, 0.693, 0.686, 0.678, 0.672, 0.666, 0.66, 0.654, 0.649, 0.645,
    0.641, 0.637, 0.632, 0.627, 0.623, 0.619, 0.614, 0.61, 0.607, 0.604, 0.6, 0.596, 0.595,
    0.593],
  "train_accuracy": [0.48, 0.48, 0.5, 0.54, 0.59, 0.59, 0.66, 0.68, 0.68, 0.72, 0.74, 0.72,
    0.77, 0.77, 0.74, 0.76, 0.77, 0.75, 0.78, 0.81, 0.77, 0.79, 0.82, 0.78, 0.8],
  "val_accuracy": [0.46, 0.49, 0.52, 0.52, 0.56, 0.59, 0.63, 0.66, 0.68, 0.7, 0.7, 0.72, 0.72,
    0.73, 0.76, 0.76, 0.77, 0.78, 0.78, 0.78, 0.78, 0.78, 0.77, 0.76, 0.77],
  "train_loss_start": [0.708, 0.73, 0.76, 0.747, 0.664, 0.694, 0.696, 0.689]
},
"FULL_AT_1E6": {
  "train_loss": [0.695, 0.697, 0.692, 0.694, 0.689, 0.69, 0.693, 0.689],
  "val_loss": [0.701, 0.696, 0.695, 0.695, 0.695, 0.694, 0.694, 0.694],
  "train_accuracy": [0.49, 0.45, 0.53, 0.49, 0.56, 0.55, 0.51, 0.57],
  "val_accuracy": [0.48, 0.49, 0.5, 0.5, 0.48, 0.5, 0.49, 0.5],
  "train_loss_start": [0.706, 0.681, 0.692, 0.703, 0.692, 0.704, 0.686, 0.696]
},
"HEAD_AT_1E6": {
  "train_loss": [1.807, 1.809, 1.801, 1.806, 1.809, 1.801, 1.806, 1.809, 1.8, 1.806, 1.808, 1.8],
  "val_loss": [1.801, 1.801, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8],
  "train_accuracy": [0.14, 0.17, 0.17, 0.14, 0.17, 0.17, 0.14, 0.17, 0.17, 0.14, 0.17, 0.17],
  "val_accuracy": [0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17, 0.17],
  "train_loss_start": [1.816, 1.829, 1.79, 1.803, 1.802, 1.796, 1.813, 1.8]
},
"WRONG_MEAN": {
  "train_loss": [7.266, 3.37, 1.818, 1.176, 1.077, 1.171, 0.947, 0.96, 0.849, 0.713, 0.737,
    0.758, 0.762, 0.74, 0.706, 0.7, 0.7, 0.704, 0.701, 0.693, 0.707, 0.747, 0.754, 0.679, 0.711],
  "val_loss": [0.783, 1.273, 0.99, 0.651, 1.007, 1.195, 1.019, 0.808, 0.642, 0.82, 0.668, 0.639,
    0.706, 0.679, 0.641, 0.651, 0.662, 0.639, 0.734, 0.651, 0.639, 0.871, 0.642, 0.651, 0.639],
  "train_accuracy": [0.44, 0.48, 0.49, 0.46, 0.56, 0.49, 0.51, 0.46, 0.56, 0.59, 0.55, 0.52,
    0.6, 0.56, 0.54, 0.59, 0.57, 0.57, 0.58, 0.59, 0.53, 0.55, 0.51, 0.58, 0.52],
  "val_accuracy": [0.5, 0.54, 0.46, 0.64, 0.54, 0.46, 0.54, 0.54, 0.63, 0.5, 0.54, 0.64, 0.55,
    0.53, 0.66, 0.65, 0.52, 0.65, 0.52, 0.56, 0.64, 0.46, 0.65, 0.63, 0.67],
  "train_loss_start": [5.352, 7.845, 10.249, 1.418, 7.448, 9.15, 9.954, 6.384]
}
}"""
)
CLASSES = {
    "SOUND": 10,
    "BATCHES_OF_FOUR": 10,
    "FROM_SCRATCH": 6,
    "HEAD_AT_1E6": 6,
    "STRONG_MIXUP": 3,
    "WRONG_LABELS": 3,
    "ADAM_AT_01": 3,
}
HEALTHY = [
    "SOUND",
    "BATCHES_OF_FOUR",
    "TWELVE_VALIDATION_IMAGES",
    "TWENTY_VALIDATION_IMAGES",
    "STRONG_MIXUP",
    "FROM_SCRATCH",
    "PARTIAL",
]


def settings(**given: Any) -> FinetuneSettings:
    return FinetuneSettings(**given)


def history(
    train: Any, val: Any, accuracy: Any = 0.7, start: list[float] | None = None
) -> list[dict[str, Any]]:
    """Rows with these losses; one accuracy stands for all epochs."""
    accuracies = [accuracy] * len(train) if isinstance(accuracy, float) else list(accuracy)
    rows: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            "train_loss": a,
            "val_loss": b,
            "train_accuracy": c,
            "val_accuracy": c,
            "learning_rates": [5e-3],
            "seconds": 1.0,
        }
        for epoch, (a, b, c) in enumerate(zip(train, val, accuracies, strict=True), 1)
    ]
    if start:
        rows[0]["train_loss_start"] = start
    return rows


def recorded(name: str, *, start: bool = True) -> list[dict[str, Any]]:
    run = RUNS[name]
    rows = history(run["train_loss"], run["val_loss"])
    for row, train, val in zip(rows, run["train_accuracy"], run["val_accuracy"], strict=True):
        row["train_accuracy"], row["val_accuracy"] = train, val
    if start:
        rows[0]["train_loss_start"] = run["train_loss_start"]
    return rows


def names(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings]


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("known", [True, False], ids=["all known", "losses only"])
def test_a_real_sound_run_is_met_with_silence(name: str, known: bool) -> None:
    classes = CLASSES.get(name, 2) if known else None
    assert diagnose(recorded(name, start=known), settings(), classes) == []


@pytest.mark.parametrize("name", HEALTHY)
def test_a_sound_run_that_is_cut_short_is_met_with_silence_too(name: str) -> None:
    rows = recorded(name)
    for epochs in range(1, len(rows)):
        assert diagnose(rows[:epochs], settings(), CLASSES.get(name, 2)) == []


@pytest.mark.parametrize("known", [True, False], ids=["all known", "losses only"])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("WRONG_LABELS", "over-fitting"),
        ("SIXTY_IMAGES", "over-fitting"),
        ("SGD_AT_1", "unstable start"),
        ("HEAD_AT_1E4", "slow convergence"),
        ("HEAD_AT_1E6", "slow convergence"),
        ("FULL_AT_1E6", "slow convergence"),
    ],
)
def test_a_real_spoilt_run_is_told(name: str, found: str, known: bool) -> None:
    classes = CLASSES.get(name, 2) if known else None
    assert names(diagnose(recorded(name, start=known), settings(), classes)) == [found]


def test_a_start_far_above_guessing_needs_the_number_of_classes_or_the_first_steps() -> None:
    for start, classes in ((True, None), (False, 3)):
        assert names(diagnose(recorded("ADAM_AT_01", start=start), settings(), classes)) == [
            "unstable start"
        ]


def test_the_evidence_of_over_fitting_stands_in_the_history() -> None:
    rows = recorded("WRONG_LABELS")
    (finding,) = diagnose(rows, settings(), 3)
    found = re.fullmatch(
        r"validation loss rose from (.+) \(epoch (\d+)\) to (.+) \(epoch (\d+)\) "
        r"while training loss fell from (.+) to (.+)",
        finding.evidence,
    )
    assert found
    low, best, high, last, before, after = (float(figure) for figure in found.groups())
    assert (rows[int(best) - 1]["val_loss"], rows[int(last) - 1]["val_loss"]) == (low, high)
    assert (rows[int(best) - 1]["train_loss"], rows[int(last) - 1]["train_loss"]) == (before, after)
    assert low < 0.7 < 0.78 < high


def test_a_swing_within_the_first_steps_is_told_with_its_peak() -> None:
    (finding,) = diagnose(recorded("SGD_AT_1"), settings(lr_head=1.0), 2)
    assert finding.evidence == (
        "training loss rose from 0.708 at the first step to 9.350 within the first 8"
    )
    assert "--lr-head 0.33, --warmup-epochs 3, --clip-norm 1.0" in finding.remedy


def test_rising_noise_of_a_small_validation_set_is_no_over_fitting() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train = np.geomspace(1.0, 0.05, 25)
        val = 0.4 + 0.6 * np.geomspace(1.0, 0.01, 25) + rng.normal(0, 0.06, 25)
        assert "over-fitting" not in names(diagnose(history(train, val), settings(), 3))


def test_over_fitting_is_told_through_the_same_noise() -> None:
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train = np.geomspace(1.0, 0.05, 25)
        val = 0.4 + np.abs(np.arange(25) - 6) * 0.03 + rng.normal(0, 0.03, 25)
        told += names(diagnose(history(train, val), settings(), 3)) == ["over-fitting"]
    assert told == 100


def test_validation_loss_near_zero_may_wiggle() -> None:
    train = [0.3, 0.05, 0.02, 0.01, 0.008, 0.006, 0.005, 0.004]
    val = [0.1, 0.02, 0.006, 0.004, 0.008, 0.012, 0.014, 0.016]
    assert diagnose(history(train, val, 0.99), settings(), 3) == []


def test_a_rise_by_a_tenth_is_no_over_fitting() -> None:
    train = [1.0, 0.6, 0.4, 0.3, 0.25, 0.2, 0.18, 0.16, 0.14, 0.12]
    val = [1.5, 1.2, 1.0, 1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.1]
    assert diagnose(history(train, val), settings(), 10) == []


def test_where_both_losses_rise_it_is_not_over_fitting() -> None:
    train = [0.6, 0.5, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
    val = [0.6, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert diagnose(history(train, val), settings(), 3) == []


@pytest.mark.parametrize(("epochs", "bad"), [(8, 1), (12, 2)])
def test_one_or_two_bad_last_epochs_are_no_over_fitting(epochs: int, bad: int) -> None:
    train = [0.8**epoch for epoch in range(epochs)]
    val = [0.4 + 0.5 * loss for loss in train[:-bad]] + [1.5] * bad
    assert diagnose(history(train, val), settings(), 3) == []


def test_three_epochs_are_too_few_for_a_shape() -> None:
    rising = history([1.0, 0.5, 0.1], [0.5, 1.0, 2.0])
    assert diagnose(rising, settings(), 3) == []
    assert diagnose(history([1.0, 1.7, 1.6], [1.0, 1.0, 1.0]), settings(), 3) == []


def test_an_instability_beyond_doubt_is_told_after_one_epoch() -> None:
    start = [1.1, 3.9, 10.6, 13.0, 11.3, 9.0]
    (finding,) = diagnose(history([7.8], [1.8], start=start), settings(), 3)
    assert finding.name == "unstable start"
    (finding,) = diagnose(history([12.5], [1.8]), settings())
    assert finding.evidence == "training loss was 12.500 in epoch 1, far worse than guessing"


def test_a_first_epoch_far_above_the_untrained_network_is_told() -> None:
    losses = [1.8, 0.9, 0.6, 0.5]
    (finding,) = diagnose(history(losses, losses), settings(), 3)
    assert finding.evidence == (
        "training loss was 1.800 in epoch 1, far above the 1.099 of the untrained network"
    )
    assert diagnose(history([1.5, *losses[1:]], losses), settings(), 3) == []


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_loss_that_is_not_a_number_is_told_and_does_no_harm(value: float | None) -> None:
    rows = history([0.7, 0.6, 0.5, 0.4, 0.3], [0.7, value, 0.5, 0.4, 0.3])
    (finding,) = diagnose(rows, settings(), 2)
    assert finding.evidence == "the validation loss of epoch 2 is not a number"


def test_a_swing_between_early_epochs_is_told_and_a_later_one_is_not() -> None:
    calm = [1.0, 0.7, 0.5, 0.4, 0.35, 0.3, 0.28, 0.26, 0.25, 0.24]
    early, late = [1.0, 0.7, 1.3, *calm[3:]], [*calm[:8], 0.6, 0.24]
    (finding,) = diagnose(history(early, calm), settings(), 3)
    assert finding.evidence == "training loss rose from 0.700 (epoch 2) to 1.300 (epoch 3)"
    assert diagnose(history(late, calm), settings(), 3) == []


def test_swings_near_zero_are_no_instability() -> None:
    losses = [0.02, 0.01, 0.03, 0.01, 0.02, 0.05, 0.01]
    assert diagnose(history(losses, losses, 0.99), settings(), 3) == []


def test_losses_of_zero_are_no_trouble() -> None:
    assert diagnose(history([0.0] * 12, [0.0] * 12, 1.0), settings()) == []


def test_the_start_of_a_run_is_counted_from_the_end_of_its_warm_up() -> None:
    train = [1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 1.2, 0.5, 0.4]
    val = [1.0 - 0.05 * epoch for epoch in range(10)]
    assert diagnose(history(train, val), settings(), 3) == []
    assert names(diagnose(history(train, val), settings(warmup_epochs=3), 3)) == ["unstable start"]


def test_single_hard_batches_at_the_start_are_no_instability() -> None:
    start = [1.1, 1.0, 2.6, 0.9, 1.2, 0.8, 2.4, 0.7, 0.9, 1.0]
    train = [1.0, 0.7, 0.5, 0.4, 0.35, 0.3]
    assert diagnose(history(train, train, start=start), settings(), 3) == []


def test_the_swings_of_weighted_multi_label_loss_are_not_held_against_guessing() -> None:
    # With positive weights an untrained network starts at several times ln 2.
    train, val = [1.6, 1.1, 0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.28, 0.26, 0.25]
    weighted = settings(task="multi-label", class_weights=True)
    assert diagnose(history(train, val, 0.1), weighted, 20) == []


def test_multi_label_that_stands_at_even_chances_is_slow() -> None:
    losses = [0.693, 0.692, 0.691, 0.690, 0.690, 0.689]
    (finding,) = diagnose(history(losses, losses, 0.0), settings(task="multi-label"), 20)
    assert finding.name == "slow convergence"
    assert "hardly better than the 0.693 of guessing" in finding.evidence


def test_a_long_first_epoch_that_learned_most_is_not_slow() -> None:
    # Thousands of steps: what is left to fall is little, and it falls steadily.
    losses = [0.80 - 0.01 * epoch for epoch in range(10)]
    assert diagnose(history(losses, losses), settings(), 10) == []
    assert diagnose(history(losses, losses, start=[2.3, 2.2]), settings()) == []


def test_a_loss_that_stays_high_because_the_data_say_no_more_is_not_slow() -> None:
    losses = [0.69, 0.62, 0.595, 0.586, 0.583, 0.582, 0.581, 0.581, 0.58, 0.58]
    assert diagnose(history(losses, losses), settings(), 2) == []


def test_epochs_of_the_warm_up_do_not_make_a_run_slow() -> None:
    losses = [1.1, 1.1, 1.09, 1.08, 1.07, 1.06, 1.05]
    assert names(diagnose(history(losses, losses), settings(), 3)) == ["slow convergence"]
    assert diagnose(history(losses, losses), settings(warmup_epochs=3), 3) == []


def test_a_network_that_sees_the_wrong_mean_is_told_to_check_it() -> None:
    from_file = settings(weights="mine.safetensors", strategy="head")
    (finding,) = diagnose(recorded("WRONG_MEAN"), from_file, 2)
    assert finding.name == "slow convergence"
    assert finding.remedy.startswith("check mean and std of the preprocessing: ")
    assert "--strategy partial" in finding.remedy


def test_mean_and_std_are_not_doubted_with_imagenet_weights() -> None:
    (finding,) = diagnose(recorded("HEAD_AT_1E4"), settings(lr_head=1e-4), 2)
    assert finding.remedy == (
        "try --strategy partial, --lr-head 0.005 or the rates that "
        "`rtl finetune DATA --lr-find` suggests"
    )


def test_no_run_is_told_to_lower_the_rate_and_to_raise_it() -> None:
    rows = recorded("ADAM_AT_01")  # unstable, and at the level of guessing to the end
    assert names(diagnose(rows, settings(strategy="full"), 3)) == ["unstable start"]
    unstable, slow = diagnose(rows, settings(strategy="full", weights="mine.pth"), 3)
    assert "--lr-head 0.0017, --lr-backbone 3.3e-05" in unstable.remedy
    assert "--lr" not in slow.remedy


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (
            {},
            "--augment randaugment, --dropout 0.5, --weight-decay 0.001, --mixup 0.2, "
            "--early-stopping 5 or more training images",
        ),
        (
            {"strategy": "full", "augment": "none", "weight_decay": 0.0, "cutmix": 1.0},
            "--augment s3, --dropout 0.5, --weight-decay 0.001, --early-stopping 5, "
            "--strategy partial or more training images",
        ),
        (
            {
                "strategy": "partial",
                "freeze_until": "layer2",
                "augment": "trivialaugment",
                "dropout": 0.5,
                "weight_decay": 0.05,
                "mixup": 0.2,
                "early_stopping": 5,
            },
            "--freeze-until layer3 or more training images",
        ),
    ],
    ids=["defaults", "everything trained", "nearly everything used"],
)
def test_over_fitting_is_met_with_what_is_not_used_yet(given: dict[str, Any], remedy: str) -> None:
    (finding,) = diagnose(recorded("WRONG_LABELS"), settings(**given), 3)
    assert finding.remedy == f"try {remedy}"


def test_instability_is_met_with_what_is_not_used_yet() -> None:
    used = settings(
        strategy="partial", warmup_epochs=3, clip_norm=1.0, lr_head=0.3, lr_backbone=0.1
    )
    (finding,) = diagnose(recorded("SGD_AT_1"), used, 2)
    assert finding.remedy == (
        "try --lr-head 0.1, --lr-backbone 0.033 or the rates that "
        "`rtl finetune DATA --lr-find` suggests"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"strategy": "partial"}, "--freeze-until layer3"),
        ({"strategy": "two-stage", "freeze_until": "layer3"}, "--freeze-until layer2"),
        ({"strategy": "partial", "freeze_until": "100"}, "--freeze-until layer1"),
        ({"strategy": "progressive"}, "--strategy partial --freeze-until layer3"),
        ({"strategy": "full", "weights": "none"}, "--weights imagenet"),
        ({"strategy": "full", "lr_backbone": 1e-3}, "--lr-backbone 0.003"),
    ],
)
def test_slowness_is_met_with_more_layers_and_higher_rates(
    given: dict[str, Any], expected: str
) -> None:
    (finding,) = diagnose(recorded("HEAD_AT_1E4"), settings(**given), 2)
    assert expected in finding.remedy


def test_every_option_that_a_remedy_names_is_a_setting() -> None:
    known = {f"--{name.replace('_', '-')}" for name in FinetuneSettings.__struct_fields__}
    for strategy in ("head", "partial", "full", "two-stage", "progressive"):
        for weights in ("none", "imagenet", "mine.pth"):
            given = settings(strategy=strategy, weights=weights, augment="none")
            for name in ("WRONG_LABELS", "SGD_AT_1", "HEAD_AT_1E4"):
                for finding in diagnose(recorded(name), given, CLASSES.get(name, 2)):
                    options = set(re.findall(r"--[a-z-]+", finding.remedy))
                    assert options <= known | {"--lr-find"}
                    assert options


def test_a_finding_stays_as_it_is() -> None:
    (finding,) = diagnose(recorded("WRONG_LABELS"), settings(), 3)
    with pytest.raises(AttributeError):
        finding.name = "slow convergence"  # type: ignore[misc]
