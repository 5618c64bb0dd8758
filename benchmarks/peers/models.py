"""One trained model in the form of each tool: made once in the scratch folder, not timed.

rtl trains a head; timm, torchvision, onnxruntime, transformers and Optimum get its weights, so that
all have to give the same labels. Ultralytics' network has a head of its own and gets only the
starting weights: its labels mean nothing, its times do.

    python -m benchmarks.peers.models KIND RUN FILE     a step of that, in the peers' environment
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.environment import CanNotRunError
from benchmarks.peers.labellers.images import CLASSES, PIXELS, RESIZED
from benchmarks.peers.material import rtl_finetune

if TYPE_CHECKING:
    from benchmarks.peers.session import Session

RTL, PLAIN, ONNX = "rtl/export/model.onnx", "plain.pth", "plain.onnx"
TRANSFORMERS, OPTIMUM = "transformers", "optimum"
ULTRALYTICS, ULTRALYTICS_ONNX = "ultralytics/model.pt", "ultralytics/model.onnx"
EPOCHS = 20


def make_models(session: Session) -> dict[str, str]:
    """Make the models that are not there yet; return model → reason of those that can't be made."""
    material = session.material
    run = material.models / "rtl"
    reasons: dict[str, str] = {}
    try:
        if not (material.models / RTL).is_file():
            material.models.mkdir(exist_ok=True)
            shutil.rmtree(run, ignore_errors=True)
            session.process(rtl_finetune(material, "photos-head", run, seed=0, epochs=EPOCHS))
            session.process(["rtl", "export", str(run), "--quiet"])
    except CanNotRunError as error:
        return dict.fromkeys((RTL, *STEPS), str(error))
    for name in STEPS:
        file = material.models / name
        if file.exists():
            continue
        command = ["python", "-m", "benchmarks.peers.models", name, str(run), str(file)]
        try:
            session.process(command, source_tree=True)
        except CanNotRunError as error:
            reasons[name] = str(error)
    return reasons


def plain(run: Path, file: Path) -> None:
    """Write torchvision's state dict of the run."""
    import torch
    from safetensors.torch import load_file

    state = load_file(run / "model.safetensors")
    prefix = "network."
    found = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    torch.save(found, file)


def _state(file: Path) -> dict[str, Any]:
    import torch

    state: dict[str, Any] = torch.load(file.with_name(PLAIN))
    return state


def onnx(run: Path, file: Path) -> None:
    """Write torchvision's network as torch exports it, with normalised input."""
    import torch
    from torchvision.models import resnet18

    network = resnet18(num_classes=len(CLASSES)).eval()
    network.load_state_dict(_state(file))
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, PIXELS, PIXELS),),
        file,
        input_names=["input"],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
    )


def transformers(run: Path, file: Path) -> None:
    """Write the folder of transformers' model, with the processor of its images."""
    from transformers import ConvNextImageProcessor

    from benchmarks.peers.trainers.transformers_names import transformers_model

    transformers_model(_state(file), CLASSES).save_pretrained(file)
    processor = ConvNextImageProcessor(
        size={"shortest_edge": PIXELS},
        crop_pct=PIXELS / RESIZED,
        resample=2,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    processor.save_pretrained(file)


def optimum(run: Path, file: Path) -> None:
    """Write the folder of Optimum's export."""
    from optimum.onnxruntime import ORTModelForImageClassification
    from transformers import AutoImageProcessor

    source = file.with_name(TRANSFORMERS)
    ORTModelForImageClassification.from_pretrained(source, export=True).save_pretrained(file)
    AutoImageProcessor.from_pretrained(source).save_pretrained(file)


def ultralytics(run: Path, file: Path) -> None:
    """Write Ultralytics' network with the starting weights."""
    from benchmarks.peers.trainers.ultralytics_classify import network

    file.parent.mkdir(exist_ok=True)
    model = network(file.parent)
    model.model.names = dict(enumerate(CLASSES))
    model.save(file)


def ultralytics_onnx(run: Path, file: Path) -> None:
    """Write Ultralytics' own export of it; `simplify` would need a package that it installs."""
    from ultralytics import YOLO

    YOLO(file.with_suffix(".pt")).export(format="onnx", imgsz=PIXELS, simplify=False)


STEPS = {
    PLAIN: plain,
    ONNX: onnx,
    TRANSFORMERS: transformers,
    OPTIMUM: optimum,
    ULTRALYTICS: ultralytics,
    ULTRALYTICS_ONNX: ultralytics_onnx,
}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
