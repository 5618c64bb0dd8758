"""`rtl demo`: its steps, in order, with what each leaves."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from toolchain.benchmarking.bench import bench
from toolchain.cli.main import run_command
from toolchain.demo import demo as module
from toolchain.demo.parts import draw_parts
from toolchain.errors import TrainingError

RESULTS = {
    "data": r"98 images; left out 2 unreadable",
    "finetune": r"resnet18: \d+\.\d % on validation, epoch 1 of 1",
    "evaluate": r"\d+\.\d % of \d+ test images \(95 % interval \d+\.\d % to \d+\.\d %\)",
    "export": r"onnx 44\.\d MB, torchscript 44\.\d MB",
    "verify": r"(\d+) of \1 levels passed: outputs within \de-\d\d of torch, "
    r"0 of \d+ labels differ",
    "bench": r"batch 1, median: torch eager \d.* ms, model\.onnx \d.* ms, "
    r"model\.torchscript\.pt \d.* ms",
    "predict": r"crack/part_\d+\.jpg → \w+ \(\d+\.\d %\), as in the evaluation: yes",
    "report": r"\d\.\d MB, \d+ pictures",
}


@pytest.mark.usefixtures("quickly")
def test_demo_prints_each_step_and_where_its_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {**module.SCRATCH, "size": 32, "epochs": 1, "warmup_epochs": 0}
    monkeypatch.setattr(module, "SCRATCH", few)
    monkeypatch.setattr(module, "draw_parts", partial(draw_parts, images_per_class=16))
    monkeypatch.setattr(module, "bench", lambda *a, **o: bench(*a, **{**o, "seconds": 0.1}))
    output = tmp_path / "out"
    assert run_command(["demo", "-o", str(output), "--weights", "none"]) == 0
    printed = capsys.readouterr()
    announced = re.findall(r"^── (\w+) ─+$", printed.err, re.MULTILINE)
    assert announced == list(RESULTS)
    lines = printed.out.splitlines()
    for name, result in RESULTS.items():
        assert [line for line in lines if re.fullmatch(rf"{name}\s+{result}\s+\d+", line)], name
    assert f"benchmark  {output}/run/bench/cpu.json" in lines
    assert [line.split()[1:3] for line in printed.err.splitlines()[-3:]] == [
        ["rtl", "predict"],
        ["rtl", "inspect"],
        ["rtl", "finetune"],
    ]
    assert {path.name for path in (output / "run" / "export").glob("model*")} >= {
        "model.onnx",
        "model.torchscript.pt",
    }
    assert (output / "run" / "bench" / "cpu.json").is_file()
    assert (output / "run" / "report.html").is_file()


class Messages:
    """Keeps the messages of a demo."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items, label, total):  # type: ignore[no-untyped-def]
        return iter(items)


def test_without_imagenet_weights_the_demo_says_so_and_trains_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(arch: str, progress: object) -> None:
        raise TrainingError(f"ImageNet weights of {arch} are not cached")

    monkeypatch.setattr(module, "imagenet_state", missing)
    messages = Messages()
    demo = module.Demo(tmp_path, progress=messages)
    assert demo._start_from(None) == module.SCRATCH
    [text] = messages.lines
    assert text.startswith("ImageNet weights of resnet18 are not cached.\nSo this demo trains")
    assert "rtl demo --weights FILE, or put resnet18-f37072fd.pth into " in text


def test_given_weights_are_those_to_start_from(tmp_path: Path) -> None:
    demo = module.Demo(tmp_path)
    assert demo._start_from("w.pth") == {"weights": "w.pth", **module.PRETRAINED}
    assert demo._start_from("none")["weights"] == "none"


def test_each_demo_has_a_run_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    demo = module.Demo(tmp_path)
    assert (demo.run.path, demo.data) == (tmp_path / "run-2", tmp_path / "parts")
