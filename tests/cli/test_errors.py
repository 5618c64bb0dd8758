"""Every class of error on the command line: one line, a hint and its exit status."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.conftest import ROOT, Rtl, draw_stripes, tree_digest
from toolchain.cli.main import _logged_tracebacks

Done = subprocess.CompletedProcess[str]


def assert_one_line(done: Done, status: int, *words: str) -> None:
    """Assert the exit status, one `error:` line, the words in it or its hint, and no traceback."""
    assert done.returncode == status, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert len(message.strip().splitlines()) <= 2, message
    for word in words:
        assert word in message


def test_wrong_data_path(rtl_here: Rtl) -> None:
    assert_one_line(rtl_here("finetune", "nowhere"), 3, "nowhere: no such folder", "hint: DATA is")


def test_empty_folder(rtl_here: Rtl, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_one_line(rtl_here("finetune", "empty"), 3, "empty: no images found")
    assert not (tmp_path / "runs").exists()


def test_one_class(rtl_here: Rtl, tmp_path: Path) -> None:
    draw_stripes(tmp_path / "data" / "down" / "1.jpg", "down", 1)
    assert_one_line(rtl_here("data", "check", "data"), 3, "only one class, 'down'")


def test_class_without_a_readable_image_leaves_the_folder_unchanged(
    rtl_here: Rtl, tmp_path: Path
) -> None:
    for label in ("across", "down"):
        for split in ("train", "val"):
            draw_stripes(tmp_path / "data" / split / label / "1.jpg", label, 1)
    (tmp_path / "data" / "train" / "down" / "1.jpg").write_bytes(b"")
    before = tree_digest(tmp_path / "data")
    done = rtl_here("finetune", "data", "--weights", "none")
    assert_one_line(done, 3, "no readable training image in down", "rtl data check data")
    assert tree_digest(tmp_path / "data") == before
    assert not (tmp_path / "runs").exists()


def test_unreadable_image(rtl_here: Rtl, model: Path, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    assert_one_line(rtl_here("predict", model, "page.jpg"), 4, "page.jpg: a web page, not an image")
    assert_one_line(rtl_here("predict", model, "gone.jpg"), 4, "gone.jpg: no such file")


def test_some_images_of_a_batch(rtl_here: Rtl, model: Path, stripes: Path, tmp_path: Path) -> None:
    shutil.copytree(stripes / "val" / "down", tmp_path / "mixed")
    (tmp_path / "mixed" / "bad.jpg").write_bytes(b"")
    done = rtl_here("predict", model, "mixed")
    assert_one_line(done, 7, "1 of 9 images can't be read", "bad.jpg: empty file")
    assert len(done.stdout.splitlines()) == 9


def foreign(path: Path) -> Path:
    """Write a valid ONNX file that was not exported by rtl."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "foreign", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("command", ["predict", "verify", "inspect"])
def test_foreign_onnx(rtl_here: Rtl, tmp_path: Path, command: str) -> None:
    foreign(tmp_path / "foreign.onnx")
    words = ["foreign.onnx"] + (["x.jpg"] if command == "predict" else [])
    assert_one_line(rtl_here(command, *words), 5, "foreign.onnx has no rtl card")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_model(rtl_here: Rtl, model: Path, tmp_path: Path, share: float) -> None:
    data = model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
    assert_one_line(rtl_here("inspect", "cut.onnx"), 5, "cut.onnx can't be opened")


def test_missing_model_and_a_folder_in_its_place(rtl_here: Rtl, stripes: Path) -> None:
    assert_one_line(rtl_here("predict", "gone.onnx", "x.jpg"), 5, "gone.onnx: no such file")
    assert_one_line(rtl_here("inspect", stripes), 5, "is a folder", "rtl export")


def test_changed_model(rtl_here: Rtl, model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    bias = next(i for i in proto.graph.initializer if len(i.dims) == 1 and i.dims[0] == 3)
    values = numpy_helper.to_array(bias) + 0.5
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    done = rtl_here("verify", "changed.onnx")
    assert_one_line(done, 6, "changed.onnx: numbers against the card failed", "the rule is")
    assert "FAILED" in done.stdout


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("quantum", ("provider 'quantum' is not available", "has: ")),
        ("cuda", ("provider 'cuda' is not available", "rtl-toolchain[gpu]")),
        ("AzureExecutionProvider", ("can't run every layer",)),
    ],
)
def test_provider_that_is_missing_or_falls_back(
    rtl_here: Rtl, model: Path, provider: str, words: tuple[str, ...]
) -> None:
    assert_one_line(rtl_here("predict", model, "x.jpg", "--provider", provider), 8, *words)


def test_unknown_names_are_errors_that_name_the_nearest(rtl_here: Rtl, tmp_path: Path) -> None:
    assert_one_line(rtl_here("fintune"), 2, "did you mean 'finetune'?")
    assert_one_line(rtl_here("finetune", "data", "--lr-haed", "1"), 2, "--lr-head")
    assert_one_line(rtl_here("finetune", "data", "--arch", "resnet19"), 2, "resnet18")
    (tmp_path / "my.toml").write_text("epoch = 3\n")
    done = rtl_here("finetune", "data", "--config", "my.toml")
    assert_one_line(done, 2, "unknown setting 'epoch'; did you mean 'epochs'?")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("train", "finetune"), ("check", "data check"), ("TEST", "evaluate"), ("classify", "predict")],
)
def test_other_tools_names_of_commands_lead_to_the_command(
    rtl_here: Rtl, typed: str, meant: str
) -> None:
    assert_one_line(rtl_here(typed, "photos"), 2, f"no command '{typed}'; did you mean '{meant}'?")


def test_a_folder_in_the_place_of_check_leads_to_check(rtl_here: Rtl, tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    assert_one_line(rtl_here("data", "my photos"), 2, "did you mean rtl data check 'my photos'?")
    assert_one_line(rtl_here("data", "chek"), 2, "did you mean rtl data check?")


def test_missing_extra_is_an_error_with_its_install_command(rtl: Rtl, tmp_path: Path) -> None:
    """A module that raises ModuleNotFoundError takes the place of a missing package."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    hidden = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = rtl("finetune", "data", env=hidden)
    assert_one_line(done, 9, "torch is not installed", 'pip install "rtl-toolchain[train]"')
    (tmp_path / "torch.py").unlink()
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError(name='onnxruntime')\n")
    done = rtl("predict", "m.onnx", "x.jpg", env=hidden)
    assert_one_line(done, 9, "onnxruntime is not installed", 'pip install "rtl-toolchain[cpu]"')


def test_benchmark_of_different_models(rtl_here: Rtl, model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    bias = next(i for i in proto.graph.initializer if len(i.dims) == 1 and i.dims[0] == 3)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(proto, tmp_path / "other.onnx")
    done = rtl_here("bench", model, "other.onnx", "--no-eager", "--seconds", "0.1")
    assert_one_line(done, 10, "give different answers")


def test_missing_weights_and_a_run_folder_in_use(
    rtl_here: Rtl, stripes: Path, run_folder: Path
) -> None:
    done = rtl_here("finetune", stripes, "--weights", "gone.pth")
    assert_one_line(done, 11, "gone.pth: no such weights file")
    done = rtl_here("finetune", stripes, "--weights", "none", "-o", run_folder)
    assert_one_line(done, 11, "is not empty", "-o")


def test_not_a_run_folder(rtl_here: Rtl, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert_one_line(rtl_here("evaluate", "notes"), 3, "notes is not a finished run")
    assert_one_line(rtl_here("export", "nowhere"), 3, "nowhere: no such run folder")


def test_interrupted_training_keeps_the_best_epoch_and_prints_the_command_to_resume(
    stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    start = ["--weights", str(random_weights)]
    command = ["finetune", str(stripes), *start, "--epochs", "500", "-o", "run"]
    quick = ["--strategy", "head", "--augment", "none", "--size", "32", "--workers", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolchain", *command, *quick],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell starts background jobs, as this suite may be, with SIGINT ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "error: interrupted; the best of " in stderr
    assert "hint: rtl finetune --resume run" in stderr
    assert (tmp_path / "run" / "curves.png").is_file()


def test_traceback_shows_the_whole_error(rtl: Rtl) -> None:
    assert "Traceback" in rtl("inspect", "gone.onnx", "--traceback").stderr


def test_a_file_name_with_a_dash_is_no_option(rtl_here: Rtl, model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 80)).save(tmp_path / "-rf.jpg")
    assert rtl_here("predict", model, "--", "-rf.jpg").returncode == 0


def test_traceback_shows_errors_that_were_handled(capsys: pytest.CaptureFixture[str]) -> None:
    with _logged_tracebacks():
        logging.getLogger("toolchain.x").debug("a level failed", exc_info=KeyError("weight"))
    logging.getLogger("toolchain.x").debug("afterwards")
    shown = capsys.readouterr().err
    assert "a level failed" in shown
    assert "KeyError: 'weight'" in shown
    assert "afterwards" not in shown
