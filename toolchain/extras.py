"""Which packages each extra of rtl installs, as pyproject.toml declares them."""

from __future__ import annotations

EXTRAS = {
    "cpu": ("onnxruntime",),
    "train": (
        "torch",
        "torchvision",
        "onnx",
        "onnxscript",
        "safetensors",
        "matplotlib",
        "torchmetrics",
        "filelock",
    ),
    "heif": ("pillow_heif",),
    "ray": ("ray", "pyarrow"),
}
"""Extra → modules that are imported from its packages; pyarrow comes with ray[data].

`gpu` brings the same module as `cpu`, which is the one to name where it is missing.
"""
EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}
"""Module → the extra that brings it."""
