"""What all tools get: photographs, starting weights, and a trained model in each tool's form.

Everything is copied into a scratch folder, because some tools write into folders that they read.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import environment
from benchmarks.peers.accuracy import photographs_of

SHARED = Path(os.environ.get("RTL_SHARED", environment.ROOT.parent / "shared"))
"""The folder with photographs and weights."""
WEIGHTS = SHARED / "weights" / "resnet18-imagenet-partial.safetensors"
DATA = "hymenoptera"
STARTING_WEIGHTS = "resnet18-f37072fd.pth"
"""The name under which torchvision looks for its ImageNet weights of ResNet-18."""
FOLDER_OF = 200
"""Photographs in the folder that is labelled."""


@dataclass(frozen=True)
class Material:
    """Paths in the scratch folder."""

    scratch: Path

    @property
    def photographs(self) -> Path:
        """A data set: train/ and val/, with a folder for each class."""
        return self.scratch / "photographs"

    @property
    def weights(self) -> Path:
        """The weights that training starts from, where torchvision looks for its own."""
        return self.scratch / "torch" / "hub" / "checkpoints" / STARTING_WEIGHTS

    @property
    def folder(self) -> Path:
        """The folder whose photographs are labelled."""
        return self.scratch / "folder"

    @property
    def models(self) -> Path:
        """One trained model in the form of each tool; models.py names the files."""
        return self.scratch / "models"


def lay_out(scratch: Path, environment_folder: Path) -> Material:
    """Copy photographs and weights into a folder, what is there already excepted."""
    material = Material(scratch)
    if not material.photographs.is_dir():
        for split in ("train", "val"):
            shutil.copytree(SHARED / "data" / DATA / split, material.photographs / split)
    if not material.folder.is_dir():
        material.folder.mkdir(parents=True)
        chosen = photographs_of(material.photographs)[:FOLDER_OF]
        for number, path in enumerate(chosen):
            shutil.copy(path, material.folder / f"{number:03d}_{path.name}")
    if not material.weights.is_file():
        material.weights.parent.mkdir(parents=True, exist_ok=True)
        code = (
            "import sys, torch; from safetensors.torch import load_file; "
            "torch.save({n: v.float() if v.is_floating_point() else v "
            "for n, v in load_file(sys.argv[1]).items()}, sys.argv[2])"
        )
        command = ["python", "-c", code, str(WEIGHTS), str(material.weights)]
        environment.run(environment_folder, command, scratch, source_tree=False)
    return material


def rtl_finetune(
    material: Material, recipe: str, run: Path, *, seed: int, epochs: int
) -> list[str]:
    """Return the command that trains a recipe of configs/ on the photographs."""
    config = environment.ROOT / "configs" / f"{recipe}.toml"
    words = ["rtl", "finetune", str(material.photographs), "--config", str(config)]
    return [*words, "-o", str(run), "--seed", str(seed), "--epochs", str(epochs), "--quiet"]
